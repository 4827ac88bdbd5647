import type { Database } from '@ims/db';
import type { Kysely } from 'kysely';
import type { AzObject, AzStore } from '../placement/az-store.port';

/** Compares what lies in the AZ with the rows that explain it (fault-matrix I4). Names are those of the AZ's objects. */
export async function audit(
  db: Kysely<Database>,
  az: AzStore,
): Promise<{ unknownObjects: string[]; missingObjects: string[] }> {
  // Rows are written before objects and removed after them: listing objects first and rows after it never takes a new object for an
  // unknown one, and rows that were there before the listing as well are the only ones whose objects can be missing.
  const before = await explainedBy(db);
  const found = new Set<string>();
  const candidates: { name: string; row: string }[] = [];
  for await (const object of az.list()) {
    const row = rowOf(object);
    if (object.kind === 'pack' || object.kind === 'manifest') found.add(row);
    candidates.push({ name: object.name, row });
  }
  const after = await explainedBy(db);
  return {
    unknownObjects: candidates
      .filter(({ row }) => !after.known.has(row) && !before.known.has(row))
      .map(({ name }) => name),
    missingObjects: [...before.required].filter((row) => after.required.has(row) && !found.has(row)).toSorted(),
  };
}

/** Names the row that explains an object. */
export function rowOf(object: AzObject): string {
  switch (object.kind) {
    case 'pack':
    case 'open-pack':
      return `pack ${object.packId}`;
    case 'manifest':
    case 'open-manifest':
      return `manifest ${object.domainId}/${object.hash}`;
    case 'other':
      return `other ${object.name}`;
    default:
      return object satisfies never;
  }
}

/** Rows that explain objects, and those whose object has to be there. */
export async function explainedBy(db: Kysely<Database>): Promise<{ known: Set<string>; required: Set<string> }> {
  const known = new Set<string>();
  const required = new Set<string>();
  for (const { id, state } of await db.selectFrom('pack').select(['id', 'state']).execute()) {
    known.add(`pack ${id}`);
    if (state === 'sealed') required.add(`pack ${id}`);
  }
  for (const { domain_id: domainId, hash, published } of await db
    .selectFrom('manifest')
    .select(['domain_id', 'hash', 'published'])
    .execute()) {
    known.add(`manifest ${domainId}/${hash}`);
    if (published) required.add(`manifest ${domainId}/${hash}`);
  }
  return { known, required };
}
