import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '@ims/db';
import { KillablePostgres, KillableTemporal, temporaryDirectory, TestStack, waitFor } from '@ims/testing';
import { faultConfig } from './config';
import { RegionUnderFault, type RunningStep, type Source } from './support/region-under-fault';
import { SeededRandom } from './support/seeded-random';
import { type Trial, trialReport, type Victim, VICTIMS } from './support/trial-report';

// Steps of milliseconds are met only by waiting for them; the large ones by their bytes.
const SHORT_STEPS = ['inspect', 'verify', 'identify-os', 'publish', 'meter', 'undo:ingest'] as const;
// Of all moments, this share is taken by bytes: that is where an import spends its time.
const SHARE_BY_BYTES = 0.6;
const MOMENT_DEADLINE_MS = 30_000;
// A trial that never meets a running step is drawn again; so many in a row would mean that nothing runs at all.
const MOST_MISSES = 3;
const { trials, seed, only, reportPath } = faultConfig();

interface Accepted {
  id: string;
  source: Source;
}

describe(`random victims, seed ${seed}`, () => {
  let postgres: KillablePostgres;
  let temporal: KillableTemporal;
  let region: RegionUnderFault;
  const startedAt = systemClock.now();

  beforeAll(async () => {
    [postgres, temporal] = await Promise.all([
      KillablePostgres.start(await temporaryDirectory()),
      KillableTemporal.start(await temporaryDirectory()),
    ]);
    region = RegionUnderFault.watch(await TestStack.start({ database: postgres, temporal }), temporal);
  });
  afterAll(async () => {
    await region.stop();
    await temporal.stop();
  });

  const kill = async (victim: Victim): Promise<void> => {
    switch (victim) {
      case 'worker':
      case 'gateway':
        return region.stack.kill(victim);
      case 'postgres':
        return postgres.kill();
      case 'temporal':
        return temporal.kill();
      default:
        return victim satisfies never;
    }
  };
  const revive = async (victim: Victim): Promise<void> => {
    switch (victim) {
      case 'worker':
      case 'gateway':
        return region.stack.run(victim);
      case 'postgres':
        return postgres.run();
      case 'temporal':
        return temporal.run();
      default:
        return victim satisfies never;
    }
  };

  /** Resolves at the drawn moment, or when all jobs have ended before it came. */
  const moment = async (random: SeededRandom, jobs: readonly Accepted[]): Promise<RunningStep[]> => {
    const byBytes = random.next() < SHARE_BY_BYTES;
    const share = random.next();
    const step = random.pick(SHORT_STEPS);
    const total = jobs.reduce((sum, { source }) => sum + source.dataBytes, 0);
    return waitFor(
      async () => {
        const running = await region.running();
        const isDone = async (): Promise<boolean> =>
          (await Promise.all(jobs.map(({ id }) => region.job(id)))).every((job) => job.outcome !== null);
        if (byBytes) {
          const packs = await Promise.all(jobs.map(({ id }) => region.packs(id)));
          const written = packs.flat().reduce((sum, pack) => sum + pack.fileBytes, 0);
          if (running.length > 0 && written >= share * total) return running;
        } else if (running.some((run) => run.step === step)) return running;
        return (await isDone()) ? [] : undefined;
      },
      { deadlineMs: MOMENT_DEADLINE_MS, what: 'the moment of the kill', everyMs: 1 },
    );
  };

  /** Looks at jobs through the API until told to stop; what goes back or changes after its end is a violation (I12). */
  const watch = (jobs: readonly Accepted[]): { stop(): Promise<string[]> } => {
    const found: string[] = [];
    const last = new Map<string, { status: string; percent: number }>();
    let isStopped = false;
    const look = async (): Promise<boolean> => {
      for (const { id } of jobs) {
        const path = `/v1/${region.stack.identity.projectId}/jobs/${id}`;
        const answer = await region.stack.call('GET', path).catch(() => undefined);
        // While a part is dead there may be no answer, or one that says so.
        if (answer === undefined || answer.status >= 500) continue;
        if (answer.status !== 200) {
          found.push(`job ${id}: an accepted job answers ${answer.status}`);
          continue;
        }
        // The contract's own shape (JobDocument).
        const job = answer.json as { status: string; entities: { process_percent: number } };
        const before = last.get(id);
        const percent = job.entities.process_percent;
        if (before && percent < before.percent) found.push(`job ${id}: progress from ${before.percent} to ${percent}`);
        if (before && ['SUCCESS', 'FAIL'].includes(before.status) && job.status !== before.status)
          found.push(`job ${id}: ${before.status} became ${job.status}`);
        last.set(id, { status: job.status, percent });
      }
      return isStopped;
    };
    const ended = waitFor(look, { deadlineMs: 600_000, what: 'the watch is called off', everyMs: 100 });
    return {
      stop: async () => {
        isStopped = true;
        await ended;
        return found;
      },
    };
  };

  const trial = async (number: number, miss: number): Promise<Trial> => {
    const random = new SeededRandom(`${seed}:${number}:${miss}`);
    const victim = random.pick(VICTIMS);
    const name = (n: number): string => `t-${number}-${miss}-${n}`;
    const jobs: Accepted[] = [];
    for (let n = 0; n < random.between(2, 3); n++) {
      const source = await region.putNoise(`${name(n)}.raw`, random.between(8, 120));
      jobs.push({ id: await region.submit(source, name(n)), source });
    }
    const cancelled = random.next() < 0.4 ? random.pick([0, 1]) : undefined;
    const watching = watch(jobs);
    if (cancelled !== undefined) {
      const id = jobs[cancelled]?.id ?? '';
      // Asked at some point of that import; the answer may be that it has ended already.
      await region.reaches(id, random.next() * (jobs[cancelled]?.source.dataBytes ?? 0));
      await region.cancel(id);
    }
    const running = await moment(random, jobs);
    // One more submission meets the kill; if it was answered, its job exists (I1).
    const racing =
      victim === 'gateway' && jobs[0]
        ? region.submit(jobs[0].source, name(9)).then(
            (id) => ({ id, source: jobs[0]?.source }),
            () => undefined,
          )
        : undefined;
    await kill(victim);
    const killedAt = systemClock.now().getTime();
    // Of a dead worker only what it had begun and could no longer end was met.
    const met = victim === 'worker' ? await region.begunBy(running) : running;
    await revive(victim);
    const raced = await racing;
    if (raced?.source) jobs.push({ id: raced.id, source: raced.source });
    const violations: string[] = [];
    const inTables = await region.db
      .selectFrom('job')
      .select(['id', 'image_name'])
      .where('image_name', 'like', `t-${number}-${miss}-%`)
      .execute();
    const ids = inTables.map(({ id }) => id);
    for (const { id } of jobs) if (!ids.includes(id)) violations.push(`job ${id}: was answered and does not exist`);
    if (new Set(inTables.map((job) => job.image_name)).size !== ids.length)
      violations.push('a submission has two jobs');
    try {
      await region.settle(ids);
    } catch (error) {
      violations.push(String(error));
    }
    const recoverySeconds = (systemClock.now().getTime() - killedAt) / 1000;
    violations.push(...(await watching.stop()));
    for (const { id, source } of jobs) {
      const { outcome } = await region.job(id);
      if (outcome === 'succeeded' && (await region.guestSha256(id)) !== source.sha256)
        violations.push(`job ${id}: its image has other bytes than its source`);
      if (outcome !== 'succeeded' && !(outcome === 'cancelled' && id === jobs[cancelled ?? -1]?.id))
        violations.push(`job ${id}: ${outcome ?? 'never ended'}, and nobody asked for that`);
    }
    violations.push(...(await region.violations(ids)));
    await tidy(ids, jobs);
    return { number, victim, steps: [...new Set(met.map(({ step }) => step))], recoverySeconds, violations };
  };

  /** Bytes of earlier trials go, so that a thousand of them fit on a disk. */
  const tidy = async (ids: readonly string[], jobs: readonly Accepted[]): Promise<void> => {
    for (const id of ids) {
      const job = await region.job(id);
      if (job.outcome === 'succeeded') await region.stack.call('DELETE', `/v2/images/${job.image_id}`);
    }
    for (const { source } of jobs) await rm(join(region.stack.bucketDirectory, source.key), { force: true });
  };

  it(
    'kills parts at random and finds everything in order (P1, P6, P8, P10, C5)',
    async () => {
      const done: Trial[] = [];
      const numbers = only === undefined ? Array.from({ length: trials }, (_, index) => index + 1) : [only];
      for (const number of numbers) {
        for (let miss = 0; miss <= MOST_MISSES; miss++) {
          const result = await trial(number, miss);
          done.push(result);
          const verdict = result.violations.length === 0 ? 'ok' : `FAILED: ${result.violations.join('; ')}`;
          process.stderr.write(
            `trial ${number} seed ${seed}: ${result.victim} killed during ${result.steps.join(', ') || 'nothing (not counted)'}, ` +
              `over after ${result.recoverySeconds.toFixed(1)} s: ${verdict}; again: npm run test:faults -- --seed ${seed} --only ${number}\n`,
          );
          if (reportPath !== undefined) {
            await writeFile(reportPath, trialReport(done, seed, { startedAt, node: process.version }));
          }
          if (result.steps.length > 0) break;
        }
      }
      expect(done.flatMap(({ number, violations }) => violations.map((what) => `trial ${number}: ${what}`))).toEqual(
        [],
      );
      expect(done.filter(({ steps }) => steps.length > 0)).toHaveLength(numbers.length);
    },
    // A worker's kill costs a heartbeat timeout and the rest of the work; twice that on a busy machine.
    (only === undefined ? trials : 1) * 90_000,
  );
});
