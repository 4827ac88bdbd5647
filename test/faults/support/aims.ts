import type { Workload } from './fault-bench';
import type { SeededRandom } from './seeded-random';
import type { Aim, Trial } from './trial';
import { placeOf, type Victim, VICTIMS } from './victims';

// So many meet a kill together with the work aimed at, on two processors without any of them coming to a halt.
const BESIDE = 3;

/** As text it names a trial again: `image-delete/drop-staged/worker+image-export+volume-create`. */
export const nameOfAim = ({ workload, step, victim, beside }: Aim): string =>
  [`${workload.name}/${step}/${victim}`, ...beside.map(({ name }) => name)].join('+');

export function parseAim(text: string, workloads: readonly Workload[]): Aim {
  const [target = '', ...others] = text.split('+');
  const [name, step, victim] = target.split('/');
  const workload = workloads.find((each) => each.name === name);
  const known = VICTIMS.find((each) => each === victim);
  const beside = others.map((other) => workloads.find((each) => each.name === other));
  if (workload === undefined || step === undefined || !workload.steps.includes(step) || known === undefined)
    throw new Error(`${text} names no workload, step and victim, as in "image-delete/drop-staged/worker"`);
  if (!mayKill(known, workload)) throw new Error(`${workload.name} has nothing to do with ${known}`);
  return {
    workload,
    step,
    victim: known,
    beside: beside.map((each, index) => {
      if (each === undefined) throw new Error(`there is no workload ${others[index]}`);
      return each;
    }),
  };
}

/** What is short of hits so far: the part that was killed least, then a workload that it serves, then its step; beside it, what is next. */
export function nextAim(workloads: readonly Workload[], done: readonly Trial[], random: SeededRandom): Aim {
  const hits = done.flatMap(({ victim, met }) => met.map((hit) => ({ ...hit, victim })));
  const met = (name: string, victim?: Victim): number =>
    hits.filter((hit) => hit.workload === name && (victim === undefined || hit.victim === victim)).length;
  const victim = fewest(VICTIMS, (each) => killed(done, each), random);
  const served = workloads.filter((each) => mayKill(victim, each));
  const workload = fewest(served, ({ name }) => met(name) + met(name, victim), random);
  const own = hits.filter((hit) => hit.workload === workload.name);
  // A step that was aimed at in vain counts half: one of milliseconds must not take all the turns.
  const tried = (step: string): number =>
    done.filter(({ aim }) => aim.workload.name === workload.name && aim.step === step).length;
  const step = fewest(
    workload.steps,
    (each) => own.filter((hit) => hit.step === each).length + tried(each) / 2,
    random,
  );
  const beside: Workload[] = [];
  while (beside.length < BESIDE) {
    const left = served.filter((each) => each.name !== workload.name && !beside.includes(each));
    if (left.length === 0) break;
    beside.push(fewest(left, ({ name }) => met(name), random));
  }
  return { workload, step, victim, beside };
}

/** Turns that a victim had: one that met nothing counts half. The second region serves few workloads and gets half as many. */
function killed(done: readonly Trial[], victim: Victim): number {
  const own = done.filter((trial) => trial.victim === victim);
  const turns = own.reduce((sum, { met }) => sum + (met.length > 0 ? 1 : 0.5), 0);
  return placeOf(victim).region === 1 ? turns : turns * 2;
}

/** A part of the other region is nothing to work that never asks for it. */
const mayKill = (victim: Victim, { isBetweenRegions }: Workload): boolean =>
  placeOf(victim).region === 1 || isBetweenRegions === true;

/** One of those with the lowest count. */
function fewest<T>(from: readonly T[], count: (each: T) => number, random: SeededRandom): T {
  const counts = from.map(count);
  const lowest = Math.min(...counts);
  const [first, ...others] = from.filter((_, index) => counts[index] === lowest);
  if (first === undefined) throw new Error('nothing to choose from');
  return random.pick([first, ...others]);
}
