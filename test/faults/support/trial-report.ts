export const VICTIMS = ['worker', 'gateway', 'postgres', 'temporal'] as const;
export type Victim = (typeof VICTIMS)[number];

export interface Trial {
  number: number;
  victim: Victim;
  /** Steps that ran when the victim died. None: the trial does not count. */
  steps: string[];
  /** From the kill to the end of the last job. */
  recoverySeconds: number;
  violations: string[];
}

const STEPS = [
  'inspect',
  'ingest',
  'verify',
  'identify-os',
  'publish',
  'meter',
  'undo:ingest',
  'undo:publish',
  'undo:meter',
];

/** The counted trials as a page: victim by running step, failures with their seeds, recovery. */
export function trialReport(trials: readonly Trial[], seed: string, about: { startedAt: Date; node: string }): string {
  const counted = trials.filter(({ steps }) => steps.length > 0);
  const hits = (of: readonly Trial[], step: string): number => of.filter(({ steps }) => steps.includes(step)).length;
  const row = (name: string, of: readonly Trial[]): string =>
    `| ${[name, of.length, ...STEPS.map((step) => hits(of, step)), of.filter(failed).length, recovery(of)].join(' | ')} |`;
  const failures = trials.filter(failed);
  return `# Random victims under load

Report of \`npm run test:faults -- --trials ${counted.length} --seed ${seed}\`, ${about.startedAt.toISOString()}, Node ${about.node}. Each trial runs two or
three imports and sometimes a cancellation, kills one part with SIGKILL, starts it again, waits for every job to end and checks I1 to I5, I8 and I12
(fault-matrix). A trial counts when a step was running at the kill; ${trials.length - counted.length} more did not meet one. No failure in n trials
means a failure probability below about 3/n (95 %).

| victim | trials | ${STEPS.join(' | ')} | failures | recovery p50 / max, s |
| --- | --- | ${STEPS.map(() => '---').join(' | ')} | --- | --- |
${VICTIMS.map((victim) =>
  row(
    victim,
    counted.filter((trial) => trial.victim === victim),
  ),
).join('\n')}
${row('**all**', counted)}

Columns of steps count trials in which that step ran at the kill; several may run at once. Recovery is the time from the kill until the last job
had ended, work that was still to be done included; a killed worker's step is given up after a heartbeat timeout of 12 s.

## Failures

${failures.length === 0 ? 'None.' : failures.map((trial) => `- trial ${trial.number}, ${trial.victim} during ${trial.steps.join(', ')}: ${trial.violations.join('; ')}; again with \`npm run test:faults -- --seed ${seed} --only ${trial.number}\``).join('\n')}
`;
}

const failed = ({ violations }: Trial): boolean => violations.length > 0;

function recovery(of: readonly Trial[]): string {
  const sorted = of.map(({ recoverySeconds }) => recoverySeconds).toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  return median === undefined ? '-' : `${median.toFixed(1)} / ${(sorted.at(-1) ?? median).toFixed(1)}`;
}
