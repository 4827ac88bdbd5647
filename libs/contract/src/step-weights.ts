/**
 * What share of a job each step is, by the time it takes on a disk of some gigabytes: reading and writing it is most, reading it back
 * the rest, everything else moments.
 */
export const STEP_WEIGHTS: Readonly<Record<string, number>> = {
  ingest: 70,
  receive: 70,
  fetch: 70,
  disks: 70,
  checkpoint: 70,
  'copy-disk': 70,
  'derive-disk': 70,
  export: 70,
  verify: 20,
  'check-object': 20,
  // Both on the other side.
  'await-receive': 90,
};

/** Steps not named there count like a moment. */
export const WEIGHT_OF_A_MOMENT = 2;

export const stepWeight = (step: string): number => STEP_WEIGHTS[step] ?? WEIGHT_OF_A_MOMENT;
