import { type Database, inTransaction } from '@ims/db';
import { type Kysely, sql, type Transaction } from 'kysely';
import { StaleAttemptError } from '../errors';
import { type PackedSegment, storedBytesOf } from '../layout/pack-format';
import { NONCE_BYTES } from '../layout/seal';
import type { LookupEntry, SealedPack } from '../threads/thread-protocol';

// Rows of one multi-row insert: far below Postgres's 65,535 parameters and quick to compile.
const INSERT_ROWS = 500;

/** Whose holds: those of a job on one of its disks. */
export interface Holder {
  jobId: string;
  part: string;
}

/** Where a stored segment lies. */
export interface SegmentLocation {
  key: Buffer;
  packId: string;
  offset: number;
  frameLengths: number[];
  frameChecksums: number[];
  /** Of sealed frames. */
  frameNonces?: Buffer[];
}

/** Rows of packs, segments and holds (design 4, "Holds and collection"). */
export class SegmentIndex {
  constructor(private readonly db: Kysely<Database>) {}

  /** Makes a pack known before its first byte is written. */
  async createPack(packId: string, domainId: string, jobId: string | null): Promise<void> {
    await this.db
      .insertInto('pack')
      .values({ id: packId, domain_id: domainId, job_id: jobId, state: 'open' })
      .execute();
  }

  async openPacksOf(jobId: string): Promise<{ id: string; domainId: string }[]> {
    return this.db
      .selectFrom('pack')
      .select(['id', 'domain_id as domainId'])
      .where('job_id', '=', jobId)
      .where('state', '=', 'open')
      .execute();
  }

  /** Forgets open packs; a late attempt that still writes one can no longer register it. */
  async forgetOpenPacks(packIds: readonly string[]): Promise<void> {
    if (packIds.length === 0) return;
    await this.db.deleteFrom('pack').where('id', 'in', packIds).where('state', '=', 'open').execute();
  }

  /**
   * Looks segments up and takes the job's hold on those that are stored, in one statement: the key-share lock keeps the collector
   * (which locks for update) from a segment between the two. Resolves with the indexes that are held now.
   */
  async holdStored({ jobId, part }: Holder, domainId: string, entries: readonly LookupEntry[]): Promise<Set<number>> {
    if (entries.length === 0) return new Set();
    const { rows } = await sql<{ segment_index: number }>`
      with wanted as (
        select * from unnest(
          ${entries.map(({ index }) => index)}::integer[],
          ${entries.map(({ key }) => asBuffer(key))}::bytea[],
          ${entries.map(({ root }) => asBuffer(root))}::bytea[]
        ) as entry (segment_index, key, root)
      ), stored as (
        select key from segment where domain_id = ${domainId} and key in (select key from wanted) order by key for key share
      ), held as (
        insert into segment_hold (job_id, part, segment_index, domain_id, key, root)
        select ${jobId}, ${part}, segment_index, ${domainId}, key, root from wanted join stored using (key)
        on conflict do nothing
      )
      select segment_index from wanted join stored using (key)`.execute(this.db);
    return new Set(rows.map(({ segment_index }) => segment_index));
  }

  /**
   * Registers a sealed pack: pack state, segments, holds, in one transaction. A segment that another job registered first stays where it is
   * (our copy is left to the collector). Throws `StaleAttemptError` when the pack is no longer open.
   */
  async registerPack(pack: SealedPack, domainId: string, { jobId, part }: Holder): Promise<void> {
    await this.register(pack, domainId, async (trx, segments) => {
      await trx
        .insertInto('segment_hold')
        .values(
          segments.map(({ index, key, root, wireBytes = 0 }) => ({
            job_id: jobId,
            part,
            segment_index: index,
            domain_id: domainId,
            key: asBuffer(key),
            root: asBuffer(root),
            wire_bytes: wireBytes,
          })),
        )
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    });
  }

  /** As `registerPack` for a pack found sealed on disk: where its segments belong on a disk is not known, so nothing is held. */
  async adoptPack(
    pack: { packId: string; sizeBytes: number; segments: PackedSegment[] },
    domainId: string,
  ): Promise<void> {
    await this.register(pack, domainId, () => Promise.resolve());
  }

  private async register<S extends Placed>(
    pack: { packId: string; sizeBytes: number; segments: S[] },
    domainId: string,
    hold: (trx: Transaction<Database>, segments: S[]) => Promise<void>,
  ): Promise<void> {
    // Sorted, so that two jobs with the same content wait for each other instead of deadlocking.
    const sorted = pack.segments.toSorted((a, b) => Buffer.compare(asBuffer(a.key), asBuffer(b.key)));
    await inTransaction(this.db, async (trx) => {
      await lockOpenPack(trx, pack.packId);
      let liveBytes = 0;
      for (let from = 0; from < sorted.length; from += INSERT_ROWS) {
        const segments = sorted.slice(from, from + INSERT_ROWS);
        const rows = segments.map(({ key, offset, frameLengths, frameChecksums, frameNonces }) => ({
          domain_id: domainId,
          key: asBuffer(key),
          pack_id: pack.packId,
          pack_offset: offset,
          frame_lengths: frameLengths,
          frame_checksums: frameChecksums,
          frame_nonces: frameNonces === undefined ? null : Buffer.concat(frameNonces),
          stored_bytes: storedBytesOf(frameLengths),
        }));
        liveBytes += await insertSegments(trx, domainId, rows);
        await hold(trx, segments);
      }
      await sealPackRow(trx, pack.packId, pack.sizeBytes, liveBytes);
    });
  }

  /** Indexes the job holds already: the resume position of the disk's ingest. */
  async heldIndexes({ jobId, part }: Holder, domainId: string): Promise<Set<number>> {
    const rows = await this.db
      .selectFrom('segment_hold')
      .select('segment_index')
      .where('job_id', '=', jobId)
      .where('part', '=', part)
      .where('domain_id', '=', domainId)
      .execute();
    return new Set(rows.map(({ segment_index }) => segment_index));
  }

  /** The segments of the job's disk in the order of the disk, in pages. */
  async *heldSegments(
    { jobId, part }: Holder,
    domainId: string,
  ): AsyncGenerator<{ index: number; root: Buffer; key: Buffer; storedBytes: number }> {
    // A page of about 1 MiB.
    const page = 8192;
    for (let after = -1; ;) {
      const rows = await this.db
        .selectFrom('segment_hold as h')
        .innerJoin('segment as s', (join) => join.onRef('s.domain_id', '=', 'h.domain_id').onRef('s.key', '=', 'h.key'))
        .select(['h.segment_index as index', 'h.root', 'h.key', 's.stored_bytes as storedBytes'])
        .where('h.job_id', '=', jobId)
        .where('h.part', '=', part)
        .where('h.domain_id', '=', domainId)
        .where('h.segment_index', '>', after)
        .orderBy('h.segment_index')
        .limit(page)
        .execute();
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < page) return;
      after = last.index;
    }
  }

  /** Compressed bytes of what the job holds of the disk, each distinct segment once. */
  async heldStoredBytes({ jobId, part }: Holder, domainId: string): Promise<number> {
    const { bytes } = await this.db
      .selectFrom('segment')
      .select((eb) => eb.fn.coalesce(eb.fn.sum<string>('stored_bytes'), sql<string>`0`).as('bytes'))
      .where('domain_id', '=', domainId)
      .where('key', 'in', (eb) =>
        eb
          .selectFrom('segment_hold')
          .select('key')
          .where('job_id', '=', jobId)
          .where('part', '=', part)
          .where('domain_id', '=', domainId),
      )
      .executeTakeFirstOrThrow();
    return Number(bytes);
  }

  /** Bytes that other stores sent for what the job holds of the disk: of each segment once, however often it was asked for. */
  async heldWireBytes({ jobId, part }: Holder, domainId: string): Promise<number> {
    const { bytes } = await this.db
      .selectFrom('segment_hold')
      .select((eb) => eb.fn.coalesce(eb.fn.sum<string>('wire_bytes'), sql<string>`0`).as('bytes'))
      .where('job_id', '=', jobId)
      .where('part', '=', part)
      .where('domain_id', '=', domainId)
      .executeTakeFirstOrThrow();
    return Number(bytes);
  }

  /** Places of segments; those that are not stored are absent. Found by the primary key of `segment`. */
  async locate(domainId: string, keys: readonly Buffer[]): Promise<SegmentLocation[]> {
    if (keys.length === 0) return [];
    return this.db
      .selectFrom('segment')
      .select([
        'key',
        'pack_id as packId',
        'pack_offset as offset',
        'frame_lengths as frameLengths',
        'frame_checksums as frameChecksums',
        'frame_nonces as frameNonces',
      ])
      .where('domain_id', '=', domainId)
      .where('key', '=', sql<Buffer>`any(${keys}::bytea[])`)
      .execute()
      .then((rows) =>
        rows.map(({ frameNonces, ...row }) => ({
          ...row,
          frameChecksums: row.frameChecksums.map(Number),
          ...(frameNonces === null ? {} : { frameNonces: noncesOf(frameNonces) }),
        })),
      );
  }

  /** Makes a manifest object known, and held by the job, before it is written. */
  async holdManifest(
    { jobId, part }: Holder,
    manifest: { domainId: string; hash: string; virtualSizeBytes: number; segmentCount: number },
  ): Promise<void> {
    await inTransaction(this.db, async (trx) => {
      await trx
        .insertInto('manifest')
        .values({
          domain_id: manifest.domainId,
          hash: manifest.hash,
          virtual_size_bytes: manifest.virtualSizeBytes,
          segment_count: manifest.segmentCount,
        })
        // Locks the row of a manifest that is there already: the collector may be about to remove it.
        .onConflict((conflict) =>
          conflict.columns(['domain_id', 'hash']).doUpdateSet({ segment_count: manifest.segmentCount }),
        )
        .execute();
      await trx
        .insertInto('manifest_hold')
        .values({ job_id: jobId, part, domain_id: manifest.domainId, hash: manifest.hash })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    });
  }

  /** Drops everything the job holds, of all its disks. */
  async dropHolds(jobId: string): Promise<void> {
    await inTransaction(this.db, async (trx) => {
      await trx.deleteFrom('segment_hold').where('job_id', '=', jobId).execute();
      await trx.deleteFrom('manifest_hold').where('job_id', '=', jobId).execute();
    });
  }
}

/** Throws `StaleAttemptError` unless the pack is still open; nobody else can seal or forget it until the transaction ends. */
export async function lockOpenPack(trx: Transaction<Database>, packId: string): Promise<void> {
  const open = await trx
    .selectFrom('pack')
    .select('id')
    .where('id', '=', packId)
    .where('state', '=', 'open')
    .forUpdate()
    .executeTakeFirst();
  if (open === undefined) throw new StaleAttemptError(packId);
}

export async function sealPackRow(
  trx: Transaction<Database>,
  packId: string,
  sizeBytes: number,
  liveBytes: number,
): Promise<void> {
  await trx
    .updateTable('pack')
    .set({ state: 'sealed', size_bytes: sizeBytes, live_bytes: liveBytes, sealed_at: sql`now()` })
    .where('id', '=', packId)
    .execute();
}

type Placed = Pick<PackedSegment, 'offset' | 'frameLengths' | 'frameChecksums'> & {
  key: Uint8Array;
  frameNonces?: readonly Uint8Array[];
};

interface SegmentRow {
  domain_id: string;
  key: Buffer;
  pack_id: string;
  pack_offset: number;
  frame_lengths: number[];
  frame_checksums: number[];
  frame_nonces: Buffer | null;
  stored_bytes: number;
}

/** Inserts what is not stored yet and key-share locks all of it. Resolves with the stored bytes that now lie in this pack. */
async function insertSegments(trx: Transaction<Database>, domainId: string, rows: SegmentRow[]): Promise<number> {
  let liveBytes = 0;
  for (let missing = rows; missing.length > 0;) {
    const inserted = await trx
      .insertInto('segment')
      .values(missing)
      .onConflict((conflict) => conflict.doNothing())
      .returning('stored_bytes')
      .execute();
    liveBytes += inserted.reduce((sum, { stored_bytes }) => sum + stored_bytes, 0);
    // A row that was there is not locked by the insert: the collector may remove it until this lock is had. Then ours is inserted after all.
    const locked = await trx
      .selectFrom('segment')
      .select('key')
      .where('domain_id', '=', domainId)
      .where('key', '=', sql<Buffer>`any(${missing.map(({ key }) => key)}::bytea[])`)
      .orderBy('key')
      .forKeyShare()
      .execute();
    const present = new Set(locked.map(({ key }) => key.toString('latin1')));
    missing = missing.filter(({ key }) => !present.has(key.toString('latin1')));
  }
  return liveBytes;
}

const noncesOf = (joined: Buffer): Buffer[] =>
  Array.from({ length: joined.length / NONCE_BYTES }, (_, frame) =>
    joined.subarray(frame * NONCE_BYTES, (frame + 1) * NONCE_BYTES),
  );

// What has crossed from a thread is a plain Uint8Array, which the driver would not write as bytea.
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
