import { nameOfAim } from './aims';
import type { Workload } from './fault-bench';
import type { Trial } from './trial';
import { VICTIMS } from './victims';

/** How to see a trial again. The moment of the kill is found anew, so a rerun meets the same step, not the same instruction. */
export const rerunOf = ({ number, aim }: Pick<Trial, 'number' | 'aim'>, seed: string): string =>
  `npm run test:faults -- --seed ${seed} --only ${number} --aim '${nameOfAim(aim)}'`;

/** The counted trials as a page: workloads by victim, steps, failures with how to see them again, recovery. */
export function trialReport(
  trials: readonly Trial[],
  workloads: readonly Workload[],
  about: { seed: string; startedAt: Date; node: string },
): string {
  const counted = trials.filter(({ met }) => met.length > 0);
  const failures = trials.filter(failed);
  const metIn = (name: string): Trial[] => counted.filter(({ met }) => met.some(({ workload }) => workload === name));
  const stepsOf = ({ name, steps }: Workload): string => {
    const hits = counted.flatMap(({ met }) => met.filter(({ workload }) => workload === name).map(({ step }) => step));
    return [...new Set([...steps, ...hits])]
      .map((step) => `${step} ${hits.filter((hit) => hit === step).length}`)
      .join(', ');
  };
  const cells = (of: readonly Trial[]): (string | number)[] => [
    of.length,
    ...VICTIMS.map((victim) => of.filter((trial) => trial.victim === victim).length),
  ];
  return `# Random victims under load

Report of \`npm run test:faults -- --trials ${counted.length} --seed ${about.seed}\`, ${about.startedAt.toISOString()}, Node ${about.node}. Two
regions exchange images, each with a gateway, a worker, a Postgres and a Temporal of its own. A trial has two to four pieces of work under way, waits
until a step of the one that is short of hits runs, kills one part with SIGKILL, starts it again, waits for every job of both regions to end and
checks I1 to I5, I8 and I12 (fault-matrix) in both; \`temporal-database\` starts the engine again without its database, and \`-2\` is the second
region, whose parts are killed under work between the two. A trial counts when a step of such work was running at the kill;
${trials.length - counted.length} more did not meet one. No failure in n trials means a failure probability below about 3/n (95 %).

| workload | trials | ${VICTIMS.join(' | ')} | steps running at the kill |
| --- | --- | ${VICTIMS.map(() => '---').join(' | ')} | --- |
${workloads.map((workload) => `| ${[workload.name, ...cells(metIn(workload.name)), stepsOf(workload)].join(' | ')} |`).join('\n')}
| **all** | ${cells(counted).join(' | ')} | |

Several pieces of work may be met by one kill. Work without a door of its own is set off a moment before it, and again afterwards.

| victim | trials | failures | recovery p50 / max, s |
| --- | --- | --- | --- |
${VICTIMS.map((victim) => {
  const of = counted.filter((trial) => trial.victim === victim);
  return `| ${victim} | ${of.length} | ${of.filter(failed).length} | ${recovery(of)} |`;
}).join('\n')}

Recovery is the time from the kill until the last job had ended, work that was still to be done included; a killed worker's step is given up after
a heartbeat timeout of 12 s, and a job is taken for forgotten by the engine 5 s after it was accepted at the earliest.

## Failures

${failures.length === 0 ? 'None.' : failures.map((trial) => `- trial ${trial.number}, ${trial.victim} during ${describeHits(trial)}: ${trial.violations.join('; ')}; again with \`${rerunOf(trial, about.seed)}\``).join('\n')}
`;
}

export const describeHits = ({ met }: Pick<Trial, 'met'>): string =>
  met.map(({ workload, step }) => `${step} (${workload})`).join(', ') || 'nothing (not counted)';

const failed = ({ violations }: Trial): boolean => violations.length > 0;

function recovery(of: readonly Trial[]): string {
  const sorted = of.map(({ recoverySeconds }) => recoverySeconds).toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  return median === undefined ? '-' : `${median.toFixed(1)} / ${(sorted.at(-1) ?? median).toFixed(1)}`;
}
