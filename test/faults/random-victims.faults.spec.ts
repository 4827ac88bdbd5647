import { writeFile } from 'node:fs/promises';
import { systemClock } from '@ims/db';
import { KillablePostgres, KillableTemporal, temporaryDirectory, TestStack, waitFor } from '@ims/testing';
import { faultConfig } from './config';
import { type Aim, nextAim, parseAim } from './support/aims';
import { FaultBench, type Work, type Workload } from './support/fault-bench';
import { watchJobs } from './support/job-watch';
import { RegionUnderFault, type RunningStep } from './support/region-under-fault';
import { SeededRandom } from './support/seeded-random';
import { describeHits, type Hit, rerunOf, type Trial, trialReport, type Victim } from './support/trial-report';
import { WORKLOADS } from './workloads';
import { imageCreateFile, workOf } from './workloads/image-create-file';

const MOMENT_DEADLINE_MS = 30_000;
const END_DEADLINE_MS = 110_000;
// A trial that never meets a running step is drawn again; so many in a row would mean that nothing runs at all.
const MOST_MISSES = 5;
// What every workload of a long run must have been met by.
const HITS_EACH = 5;
const { trials, seed, only, aim: aimText, reportPath } = faultConfig();

interface Begun {
  workload: Workload;
  work: Work;
}

describe(`random victims, seed ${seed}`, () => {
  let postgres: KillablePostgres;
  let temporal: KillableTemporal;
  let region: RegionUnderFault;
  let bench: FaultBench;
  let joined: Awaited<ReturnType<typeof TestStack.startJoined>>;
  const startedAt = systemClock.now();

  beforeAll(async () => {
    [postgres, temporal] = await Promise.all([
      KillablePostgres.start(await temporaryDirectory()),
      KillableTemporal.start(await temporaryDirectory()),
    ]);
    // Without a grace the collector removes and moves at once: whatever it does wrong is seen at once, too.
    const env = { IMS_STORE_GRACE_SECONDS: '0' };
    joined = await TestStack.startJoined([{ database: postgres, temporal, env }, { env }]);
    region = RegionUnderFault.watch(joined.stacks[0], temporal, joined.stacks[1]);
    bench = await FaultBench.over(region);
  });
  afterAll(async () => {
    await bench.stop();
    await region.stop();
    await joined.stacks[1].stop();
    for (const link of joined.links) await link.close();
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
      case 'temporal-database':
        await temporal.kill();
        return temporal.deleteDatabase();
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
      case 'temporal-database':
        return temporal.run();
      default:
        return victim satisfies never;
    }
  };

  const runningOf = async ({ work }: Begun): Promise<RunningStep[]> =>
    work.running?.() ?? (await region.running()).filter(({ jobId }) => work.jobIds.includes(jobId));

  const isOver = async ({ work }: Begun): Promise<boolean> => {
    if (work.hasEnded !== undefined && !(await work.hasEnded())) return false;
    const ended = await region.db
      .selectFrom('job')
      .select('id')
      .where('id', 'in', ['none', ...work.jobIds])
      .where('outcome', 'is not', null)
      .execute();
    return work.jobIds.length > 0 && ended.length === new Set(work.jobIds).size;
  };

  /** Resolves with what runs when the step aimed at does, or when its work has ended before that was seen. */
  const moment = async ({ step }: Aim, target: Begun, share: number): Promise<void> => {
    const hasWritten = async (bytes: number): Promise<boolean> => {
      const packs = (await Promise.all(target.work.jobIds.map((id) => region.packs(id)))).flat();
      return packs.reduce((sum, pack) => sum + pack.fileBytes, 0) >= bytes;
    };
    await waitFor(
      async () => {
        const runs = (await runningOf(target)).some((run) => run.step === step);
        const { dataBytes } = target.work;
        // A transfer is met at any share of its bytes.
        if (runs && (step !== 'ingest' || dataBytes === undefined || (await hasWritten(share * dataBytes))))
          return true;
        return isOver(target);
      },
      { deadlineMs: MOMENT_DEADLINE_MS, what: `step ${step} of ${target.workload.name} runs`, everyMs: 1 },
    );
  };

  /** Of a dead worker only what it had begun and could no longer end was met. */
  const stillMet = async (begun: Begun, running: readonly RunningStep[]): Promise<RunningStep[]> => {
    const attempts = running.filter(({ attemptId }) => attemptId >= 0);
    const others = running.length === attempts.length ? [] : await runningOf(begun);
    return [...(await region.begunBy(attempts)), ...others.filter(({ attemptId }) => attemptId < 0)];
  };

  /** Everything that was accepted comes to its end, whoever ordered it; parts that gave up are started again, as a supervisor does. */
  const settle = async (all: readonly Begun[]): Promise<void> => {
    await waitFor(
      async () => {
        for (const part of ['worker', 'gateway'] as const)
          if (!region.stack.isAlive(part)) await region.stack.run(part);
        const open = await region.db.selectFrom('job').select('id').where('outcome', 'is', null).limit(1).execute();
        return open.length === 0 && (await Promise.all(all.map(isOver))).every(Boolean);
      },
      { deadlineMs: END_DEADLINE_MS, what: 'all work ends' },
    );
  };

  const trial = async (number: number, miss: number, aim: Aim): Promise<Trial> => {
    const random = new SeededRandom(`${seed}:${number}:${miss}`);
    const beganAt = systemClock.now();
    const { victim } = aim;
    const prefix = `t-${number}-${miss}-`;
    const all: Begun[] = [];
    const begin = async (workload: Workload): Promise<Begun> => {
      const begun = { workload, work: await workload.begin(bench, `${prefix}${all.length}`, random) };
      all.push(begun);
      return begun;
    };
    for (let n = random.between(1, 2); n > 0; n--) await begin(random.pick<Workload>(WORKLOADS));
    // Last, so that its first steps are not over before anybody looks.
    const target = await begin(aim.workload);
    const jobsSoFar = await region.db
      .selectFrom('job')
      .select('id')
      .where('id', 'in', ['none', ...all.flatMap(({ work }) => work.jobIds)])
      .execute();
    const small = await bench.smallFile();
    const watching = watchJobs(
      region,
      jobsSoFar.map(({ id }) => id),
    );
    // Whoever gets no answer asks again, below.
    const going = Promise.allSettled(all.map(async ({ work }) => work.go?.()));
    await moment(aim, target, random.next());
    const running = await Promise.all(all.map(runningOf));
    // One more submission meets the kill; if it was answered, its job exists (I1).
    const racing =
      victim === 'gateway'
        ? region.submit(small, `${prefix}raced`).then(
            (id) => ({ bench, id, source: small }),
            () => undefined,
          )
        : undefined;
    await kill(victim);
    const killedAt = systemClock.now().getTime();
    const met: Hit[] = [];
    for (const [index, begun] of all.slice(0, running.length).entries()) {
      const steps = running[index] ?? [];
      for (const { step } of victim === 'worker' ? await stillMet(begun, steps) : steps)
        if (!met.some((hit) => hit.workload === begun.workload.name && hit.step === step))
          met.push({ workload: begun.workload.name, step });
    }
    await revive(victim);
    await going;
    const raced = await racing;
    if (raced !== undefined) all.push({ workload: imageCreateFile, work: workOf(raced) });
    const violations: string[] = [];
    const note = (err: unknown): number => violations.push(String(err));
    for (const { work } of all) await work.go?.().catch(note);
    await settle(all).catch(note);
    const recoverySeconds = (systemClock.now().getTime() - killedAt) / 1000;
    violations.push(...(await watching.stop()));
    const named = await region.db
      .selectFrom('job')
      .select(['id', 'saga', 'image_name'])
      .where('image_name', 'like', `${prefix}%`)
      .execute();
    if (new Set(named.map((job) => `${job.saga} ${job.image_name}`)).size !== named.length)
      violations.push('a submission has two jobs');
    const recent = await region.db.selectFrom('job').select('id').where('end_at', '>=', beganAt).execute();
    const ids = recent.map(({ id }) => id);
    for (const id of all.flatMap(({ work }) => work.jobIds))
      if (!ids.includes(id)) violations.push(`job ${id}: was answered, and has not ended or does not exist`);
    await region.settle(ids).catch(note);
    for (const { work } of all) violations.push(...(await work.check().catch((err: unknown) => [String(err)])));
    violations.push(...(await region.violations(ids)));
    for (const { work } of all) await work.tidy?.().catch(note);
    return { number, aim, victim, met, recoverySeconds, violations };
  };

  it(
    'kills parts at random under every workload and finds everything in order (P1, P6, P8, P10, P11, C5)',
    async () => {
      const done: Trial[] = [];
      const numbers = only === undefined ? Array.from({ length: trials }, (_, index) => index + 1) : [only];
      for (const number of numbers) {
        for (let miss = 0; miss <= MOST_MISSES; miss++) {
          const random = new SeededRandom(`${seed}:${number}:${miss}:aim`);
          const aim = aimText === undefined ? nextAim(WORKLOADS, done, random) : parseAim(aimText, WORKLOADS);
          const result = await trial(number, miss, aim);
          done.push(result);
          const verdict = result.violations.length === 0 ? 'ok' : `FAILED: ${result.violations.join('; ')}`;
          process.stderr.write(
            `trial ${number} seed ${seed}: ${result.victim} killed during ${describeHits(result)}, ` +
              `over after ${result.recoverySeconds.toFixed(1)} s: ${verdict}; again: ${rerunOf(result, seed)}\n`,
          );
          if (reportPath !== undefined) {
            await writeFile(reportPath, trialReport(done, WORKLOADS, { seed, startedAt, node: process.version }));
          }
          if (result.met.length > 0) break;
        }
      }
      expect(done.flatMap(({ number, violations }) => violations.map((what) => `trial ${number}: ${what}`))).toEqual(
        [],
      );
      const counted = done.filter(({ met }) => met.length > 0);
      expect(counted).toHaveLength(numbers.length);
      const wanted = Math.min(HITS_EACH, Math.floor(numbers.length / WORKLOADS.length));
      const short = WORKLOADS.filter(
        ({ name }) => counted.filter(({ met }) => met.some(({ workload }) => workload === name)).length < wanted,
      );
      expect(short.map(({ name }) => name)).toEqual([]);
    },
    // A worker's kill costs a heartbeat timeout and the rest of the work, a lost engine its reconciliation; twice that on a busy machine.
    // Drawing one trial again and again takes a few minutes.
    (only === undefined ? trials : 1) * 120_000 + 300_000,
  );
});
