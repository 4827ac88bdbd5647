import { writeFile } from 'node:fs/promises';
import { systemClock } from '@ims/db';
import { waitFor } from '@ims/testing';
import { faultConfig } from './config';
import { nextAim, parseAim } from './support/aims';
import { FaultBench, type Work, type Workload } from './support/fault-bench';
import { watchJobs } from './support/job-watch';
import { KillableCell } from './support/killable-cell';
import type { RegionUnderFault, RunningStep } from './support/region-under-fault';
import { SeededRandom } from './support/seeded-random';
import type { Aim, Hit, Trial } from './support/trial';
import { describeHits, rerunOf, trialReport } from './support/trial-report';
import { placeOf, VICTIMS } from './support/victims';
import { WORKLOADS } from './workloads';
import { imageCreateFile, workOf } from './workloads/image-create-file';

const MOMENT_DEADLINE_MS = 30_000;
const END_DEADLINE_MS = 110_000;
// A trial that never meets a running step is drawn again; so many in a row would mean that nothing runs at all.
const MOST_MISSES = 5;
// What every workload of a long run must have been met by, and how many trials such a run takes for each of these hits.
const HITS_EACH = 5;
const TRIALS_PER_HIT = 10;
// Steps that are met at any share of their bytes.
const TRANSFERS: readonly string[] = ['ingest', 'receive'];
const { trials, seed, only, aim: aimText, reportPath } = faultConfig();

interface Begun {
  workload: Workload;
  work: Work;
}

/** Steps of one piece of work that run, in each of the regions. */
interface Running {
  here: RunningStep[];
  there: RunningStep[];
}

describe(`random victims, seed ${seed}`, () => {
  let cells: [KillableCell, KillableCell];
  let stop: () => Promise<void>;
  let region: RegionUnderFault;
  let bench: FaultBench;
  /** How long each workload took to begin, last time, in ms. */
  const preparation = new Map<string, number>();
  const startedAt = systemClock.now();

  beforeAll(async () => {
    // Without a grace the collector removes and moves at once: whatever it does wrong is seen at once, too.
    ({ cells, stop } = await KillableCell.startJoined({ IMS_STORE_GRACE_SECONDS: '0' }));
    region = cells[0].region;
    bench = await FaultBench.over(region);
  });
  afterAll(async () => {
    await bench.stop();
    await stop();
  });

  const jobsOf = ({ work }: Begun, of: RegionUnderFault): readonly string[] =>
    of === region ? work.jobIds : (work.jobIdsThere ?? []);

  const runningOf = async (begun: Begun): Promise<Running> => {
    const [here, there] = await Promise.all(
      cells.map(async ({ region: of }) => {
        const ids = jobsOf(begun, of);
        return ids.length === 0 ? [] : (await of.running()).filter(({ jobId }) => ids.includes(jobId));
      }),
    );
    return { here: (await begun.work.running?.()) ?? here ?? [], there: there ?? [] };
  };

  const isOver = async (begun: Begun): Promise<boolean> => {
    if (begun.work.hasEnded !== undefined && !(await begun.work.hasEnded())) return false;
    for (const { region: of } of cells) {
      const ids = new Set(jobsOf(begun, of));
      if (ids.size === 0) continue;
      const ended = await of.db
        .selectFrom('job')
        .select('id')
        .where('id', 'in', [...ids])
        .where('outcome', 'is not', null)
        .execute();
      if (ended.length !== ids.size) return false;
    }
    return begun.work.jobIds.length > 0;
  };

  /** Resolves when the step aimed at runs, or when its work has ended before that was seen. */
  const moment = async ({ step }: Aim, target: Begun, share: number): Promise<void> => {
    const hasWritten = async (bytes: number): Promise<boolean> => {
      const packs = await Promise.all(cells.flatMap(({ region: of }) => jobsOf(target, of).map((id) => of.packs(id))));
      return packs.flat().reduce((sum, pack) => sum + pack.fileBytes, 0) >= bytes;
    };
    await waitFor(
      async () => {
        const { here, there } = await runningOf(target);
        const runs = [...here, ...there].some((run) => run.step === step);
        const { dataBytes } = target.work;
        // A transfer is met at any share of its bytes.
        if (runs && (!TRANSFERS.includes(step) || dataBytes === undefined || (await hasWritten(share * dataBytes))))
          return true;
        return isOver(target);
      },
      { deadlineMs: MOMENT_DEADLINE_MS, what: `step ${step} of ${target.workload.name} runs`, everyMs: 1 },
    );
  };

  /** What a kill met of the steps that ran before it; of a dead worker only what it had begun and could no longer end. */
  const metOf = async ({ victim }: Aim, begun: Begun, running: Running): Promise<RunningStep[]> => {
    const { part, region: number } = placeOf(victim);
    // Of no concern to work of the first region alone.
    if (number === 2 && begun.workload.isBetweenRegions !== true) return [];
    if (part !== 'worker') return [...running.here, ...running.there];
    const [own, others] = number === 1 ? [running.here, running.there] : [running.there, running.here];
    const { region: of } = number === 1 ? cells[0] : cells[1];
    const attempts = own.filter(({ attemptId }) => attemptId >= 0);
    const unnumbered = own.length === attempts.length ? [] : (await runningOf(begun)).here;
    return [...(await of.begunBy(attempts)), ...unnumbered.filter(({ attemptId }) => attemptId < 0), ...others];
  };

  /** Everything that was accepted comes to its end, whoever ordered it; parts that gave up are started again, as a supervisor does. */
  const settle = async (all: readonly Begun[]): Promise<void> => {
    await waitFor(
      async () => {
        for (const { region: of } of cells) {
          for (const part of ['worker', 'gateway'] as const) if (!of.stack.isAlive(part)) await of.stack.run(part);
          const open = await of.db.selectFrom('job').select('id').where('outcome', 'is', null).limit(1).execute();
          if (open.length > 0) return false;
        }
        return (await Promise.all(all.map(isOver))).every(Boolean);
      },
      { deadlineMs: END_DEADLINE_MS, what: 'all work ends' },
    );
  };

  const trial = async (number: number, miss: number, aim: Aim): Promise<Trial> => {
    const random = new SeededRandom(`${seed}:${number}:${miss}`);
    const beganAt = systemClock.now();
    const { victim } = aim;
    const { part, region: where } = placeOf(victim);
    const cell = where === 1 ? cells[0] : cells[1];
    const prefix = `t-${number}-${miss}-`;
    const order = [...aim.beside, aim.workload];
    const longest = Math.max(...order.map(({ name }) => preparation.get(name) ?? 0));
    const begin = async (workload: Workload, index: number): Promise<Begun> => {
      // What takes long to prepare goes first, so that all of it is under way at the same time.
      const lead = longest - (preparation.get(workload.name) ?? 0);
      await waitFor(() => systemClock.now().getTime() - beganAt.getTime() >= lead, {
        deadlineMs: lead + MOMENT_DEADLINE_MS,
        what: `the turn of ${workload.name}`,
      });
      const since = systemClock.now().getTime();
      const choices = new SeededRandom(`${seed}:${number}:${miss}:${index}`);
      const work = await workload.begin(bench, `${prefix}${index}`, choices);
      preparation.set(workload.name, systemClock.now().getTime() - since);
      return { workload, work };
    };
    const all = await Promise.all(order.map(begin));
    const target = all.at(-1);
    if (target === undefined) throw new Error('nothing is under way');
    const small = await bench.smallFile();
    const watches = await Promise.all(
      cells.map(async ({ region: of }) => {
        const ids = ['none', ...all.flatMap((begun) => jobsOf(begun, of))];
        const soFar = await of.db.selectFrom('job').select('id').where('id', 'in', ids).execute();
        return watchJobs(
          of,
          soFar.map(({ id }) => id),
        );
      }),
    );
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
    await cell.kill(part);
    const killedAt = systemClock.now().getTime();
    const met: Hit[] = [];
    for (const [index, begun] of all.slice(0, running.length).entries()) {
      const steps = running[index] ?? { here: [], there: [] };
      for (const { step } of await metOf(aim, begun, steps))
        if (!met.some((hit) => hit.workload === begun.workload.name && hit.step === step))
          met.push({ workload: begun.workload.name, step });
    }
    await cell.revive(part);
    await going;
    const raced = await racing;
    if (raced !== undefined) all.push({ workload: imageCreateFile, work: workOf(raced) });
    const violations: string[] = [];
    const note = (err: unknown): number => violations.push(String(err));
    for (const { work } of all) await work.go?.().catch(note);
    await settle(all).catch(note);
    const recoverySeconds = (systemClock.now().getTime() - killedAt) / 1000;
    for (const watch of watches) violations.push(...(await watch.stop()));
    const recent: string[][] = [];
    for (const { region: of } of cells) {
      const named = await of.db
        .selectFrom('job')
        .select(['id', 'saga', 'image_name'])
        .where('image_name', 'like', `${prefix}%`)
        .execute();
      if (new Set(named.map((job) => `${job.saga} ${job.image_name}`)).size !== named.length)
        violations.push('a submission has two jobs');
      const ended = await of.db.selectFrom('job').select('id').where('end_at', '>=', beganAt).execute();
      const ids = ended.map(({ id }) => id);
      for (const id of all.flatMap((begun) => jobsOf(begun, of)))
        if (!ids.includes(id)) violations.push(`job ${id}: was answered, and has not ended or does not exist`);
      if (ids.length > 0) await of.settle(ids).catch(note);
      recent.push(ids);
    }
    for (const { work } of all) violations.push(...(await work.check().catch((err: unknown) => [String(err)])));
    for (const [index, { region: of }] of cells.entries()) {
      const found = await of.violations(recent[index] ?? []);
      violations.push(...(index === 0 ? found : found.map((what) => `second region: ${what}`)));
    }
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
      const wanted = Math.min(HITS_EACH, Math.floor(numbers.length / TRIALS_PER_HIT));
      const short = WORKLOADS.filter(
        ({ name }) => counted.filter(({ met }) => met.some(({ workload }) => workload === name)).length < wanted,
      );
      expect(short.map(({ name }) => name)).toEqual([]);
      const spared = VICTIMS.filter((victim) => !counted.some((each) => each.victim === victim));
      // An aim given by hand, or a short run, leaves most parts alone.
      expect(wanted === HITS_EACH && aimText === undefined ? spared : []).toEqual([]);
    },
    // A worker's kill costs a heartbeat timeout and the rest of the work, a lost engine its reconciliation; twice that on a busy machine.
    // Drawing one trial again and again takes a few minutes.
    (only === undefined ? trials : 1) * 120_000 + 300_000,
  );
});
