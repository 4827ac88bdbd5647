import type { Workload } from './fault-bench';
import type { SeededRandom } from './seeded-random';
import { type Trial, type Victim, VICTIMS } from './trial-report';

/** What a trial is out for: that this part dies while this step of this workload runs. */
export interface Aim {
  workload: Workload;
  step: string;
  victim: Victim;
}

/** As text it names a trial again: `image-delete/drop-staged/worker`. */
export const nameOfAim = ({ workload, step, victim }: Aim): string => `${workload.name}/${step}/${victim}`;

export function parseAim(text: string, workloads: readonly Workload[]): Aim {
  const [name, step, victim] = text.split('/');
  const workload = workloads.find((each) => each.name === name);
  const known = VICTIMS.find((each) => each === victim);
  if (workload === undefined || step === undefined || !workload.steps.includes(step) || known === undefined)
    throw new Error(`${text} names no workload, step and victim, as in "image-delete/drop-staged/worker"`);
  return { workload, step, victim: known };
}

/** What is short of hits so far: the workload first, then its step, then the part that was killed least under it. */
export function nextAim(workloads: readonly Workload[], done: readonly Trial[], random: SeededRandom): Aim {
  const hits = done.flatMap(({ victim, met }) => met.map((hit) => ({ ...hit, victim })));
  const workload = fewest(workloads, (each) => hits.filter((hit) => hit.workload === each.name).length, random);
  const own = hits.filter((hit) => hit.workload === workload.name);
  // A step that was aimed at in vain counts half: one of milliseconds must not take all the turns.
  const tried = (step: string): number =>
    done.filter(({ aim }) => aim.workload.name === workload.name && aim.step === step).length;
  const step = fewest(
    workload.steps,
    (each) => own.filter((hit) => hit.step === each).length + tried(each) / 2,
    random,
  );
  return { workload, step, victim: fewest(VICTIMS, (each) => own.filter((hit) => hit.victim === each).length, random) };
}

/** One of those with the lowest count. */
function fewest<T>(from: readonly T[], count: (each: T) => number, random: SeededRandom): T {
  const counts = from.map(count);
  const lowest = Math.min(...counts);
  const [first, ...others] = from.filter((_, index) => counts[index] === lowest);
  if (first === undefined) throw new Error('nothing to choose from');
  return random.pick([first, ...others]);
}
