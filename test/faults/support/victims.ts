/** Parts of a region that are killed; `temporal-database`: the engine is killed, its database deleted, and it starts with none. */
export const PARTS = ['worker', 'gateway', 'postgres', 'temporal', 'temporal-database'] as const;
export type VictimPart = (typeof PARTS)[number];

/** What a trial kills: a part of the region under test, or the one of that name in the region beside it. */
export const VICTIMS = [
  ...PARTS,
  'worker-2',
  'gateway-2',
  'postgres-2',
  'temporal-2',
  'temporal-database-2',
] as const satisfies readonly (VictimPart | `${VictimPart}-2`)[];
export type Victim = (typeof VICTIMS)[number];

/** Which part of which region (1 or 2) a victim is. */
export function placeOf(victim: Victim): { part: VictimPart; region: 1 | 2 } {
  const part = PARTS.find((each) => victim === each || victim === `${each}-2`);
  if (part === undefined) throw new Error(`${victim} is no part of a region`);
  return { part, region: victim === part ? 1 : 2 };
}
