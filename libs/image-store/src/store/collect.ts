import { randomUUID } from 'node:crypto';
import { type Database, inTransaction } from '@ims/db';
import { type Kysely, sql } from 'kysely';
import { CollectorBusyError, StoredBytesDamagedError } from '../errors';
import type { CollectedBytes, CollectOptions } from '../image-store.port';
import { frameChecksum } from '../layout/frame';
import { type PackedSegment, storedBytesOf } from '../layout/pack-format';
import type { AzObject, AzStore } from '../placement/az-store.port';
import { BlockBuffer, PackReader } from '../placement/pack-reader';
import { PackWriter } from '../placement/pack-writer';
import { explainedBy, rowOf } from './audit';
import { lockOpenPack, type SegmentIndex, sealPackRow } from './segment-index';

export interface CollectRules {
  /** How long what no live image needs stays for readers that are under way. */
  graceMs: number;
  /** A pack whose live share of bytes fell below this is rewritten. */
  rewriteBelow: number;
}

// Segments of one transaction: locks are held for a few milliseconds, so look-ups hardly ever wait.
const BATCH = 1000;

/** Removes what neither a running job nor a live image needs. One collector runs at a time; a second one is refused. */
export class Collector {
  private segmentsRemoved = 0;
  private packsRemoved = 0;
  private bytesRemoved = 0;
  private at = '';

  constructor(
    private readonly db: Kysely<Database>,
    private readonly az: AzStore,
    private readonly index: SegmentIndex,
    private readonly options: CollectRules & CollectOptions,
  ) {}

  /** @throws CollectorBusyError while another one runs */
  async run(): Promise<CollectedBytes> {
    await this.db.connection().execute(async (connection) => {
      // Of the session, so that a collector that dies sets it free.
      const { rows } = await sql<{ mine: boolean }>`
        select pg_try_advisory_lock(hashtextextended('image-store.collect:' || current_database() || current_schema(), 0)) as mine`.execute(
        connection,
      );
      if (rows[0]?.mine !== true) throw new CollectorBusyError();
      try {
        await this.part('leftovers of ended jobs', () => this.dropLeftovers());
        await this.part('manifests', () => this.dropManifests());
        await this.part('segments', () => this.dropSegments());
        await this.part('empty packs', () => this.retireEmptyPacks());
        await this.part('sparse packs', () => this.rewriteSparsePacks());
        await this.part('retired packs', () => this.removeRetiredPacks());
      } finally {
        await sql`select pg_advisory_unlock(hashtextextended('image-store.collect:' || current_database() || current_schema(), 0))`.execute(
          connection,
        );
      }
    });
    return this.soFar();
  }

  private async part(name: string, work: () => Promise<void>): Promise<void> {
    this.at = name;
    this.goOn();
    await work();
  }

  /** Between two objects: says how far the pass is, and ends it when it was called off. */
  private goOn(): void {
    this.options.signal?.throwIfAborted();
    this.options.onProgress?.(this.at, this.soFar());
  }

  private soFar(): CollectedBytes {
    const { segmentsRemoved, packsRemoved, bytesRemoved } = this;
    return { segmentsRemoved, packsRemoved, bytesRemoved };
  }

  /** Holds and open packs of jobs that have ended: what a late attempt took after its job was undone. */
  private async dropLeftovers(): Promise<void> {
    await sql`
      delete from segment_hold h
      where not exists (select from job j where j.id = h.job_id and j.outcome is null)`.execute(this.db);
    // A holder that is no job id (a disk that still reads from the image) ends its hold itself, whatever became of any job.
    await sql`
      delete from manifest_hold h
      where h.job_id ~ '^[0-9a-f]{32}$'
        and not exists (select from job j where j.id = h.job_id and j.outcome is null)`.execute(this.db);
    const { rows } = await sql<{ id: string }>`
      select p.id from pack p
      where p.state = 'open'
        and (p.job_id is null or not exists (select from job j where j.id = p.job_id and j.outcome is null))`.execute(
      this.db,
    );
    for (const { id } of rows) {
      this.goOn();
      const removed = await inTransaction(this.db, async (trx) => {
        const open = await trx
          .selectFrom('pack')
          .select('id')
          .where('id', '=', id)
          .where('state', '=', 'open')
          .forUpdate()
          .skipLocked()
          .executeTakeFirst();
        if (open === undefined) return undefined;
        const bytes = await this.az.removePack(id);
        await trx.deleteFrom('pack').where('id', '=', id).execute();
        return bytes;
      });
      this.countPack(removed);
    }
    await this.removeUnknownOpen();
  }

  /**
   * What an attempt began to write after its rows had been taken from it. Rows come before objects, so an object without a row has lost it.
   * Sealed packs without a row are never removed: after the database was restored from an older backup they may be all there is.
   */
  private async removeUnknownOpen(): Promise<void> {
    const open: AzObject[] = [];
    for await (const object of this.az.listOpen()) open.push(object);
    if (open.length === 0) return;
    const { known } = await explainedBy(this.db);
    for (const object of open) {
      if (known.has(rowOf(object))) continue;
      this.bytesRemoved += await this.az.removeOpen(object.name);
    }
  }

  /** Manifests that no live image uses and no job holds, and their references. */
  private async dropManifests(): Promise<void> {
    const candidates = await this.db
      .selectFrom('manifest')
      .select(['domain_id as domainId', 'hash'])
      .where('published', '=', false)
      .where((eb) => eb.or([eb('released_at', 'is', null), eb('released_at', '<=', this.graceEnd())]))
      .execute();
    for (const { domainId, hash } of candidates) {
      this.goOn();
      const bytes = await inTransaction(this.db, async (trx) => {
        const locked = await trx
          .selectFrom('manifest')
          .select('hash')
          .where('domain_id', '=', domainId)
          .where('hash', '=', hash)
          .where('published', '=', false)
          .where((eb) => eb.or([eb('released_at', 'is', null), eb('released_at', '<=', this.graceEnd())]))
          .forUpdate()
          .skipLocked()
          .executeTakeFirst();
        if (locked === undefined) return 0;
        // Asked after the lock: a hold taken while it was awaited is seen by this statement only.
        const hold = await trx
          .selectFrom('manifest_hold')
          .select('job_id')
          .where('domain_id', '=', domainId)
          .where('hash', '=', hash)
          .limit(1)
          .executeTakeFirst();
        if (hold !== undefined) return 0;
        await trx
          .deleteFrom('manifest_segment')
          .where('domain_id', '=', domainId)
          .where('manifest_hash', '=', hash)
          .execute();
        await trx.deleteFrom('manifest').where('domain_id', '=', domainId).where('hash', '=', hash).execute();
        // Before the commit: a job that makes the same manifest waits for the row and then writes its object anew.
        return this.az.removeManifest(domainId, hash);
      });
      this.bytesRemoved += bytes;
    }
  }

  /** Segments with neither hold nor reference. */
  private async dropSegments(): Promise<void> {
    for (let after: { domainId: string; key: Buffer } | undefined; ;) {
      const page = await inTransaction(this.db, async (trx) => {
        const { rows } = await sql<{ domain_id: string; key: Buffer }>`
          select s.domain_id, s.key from segment s
          where ${after === undefined ? sql`true` : sql`(s.domain_id, s.key) > (${after.domainId}::uuid, ${after.key}::bytea)`}
            and not exists (select from segment_hold h where h.domain_id = s.domain_id and h.key = s.key)
            and not exists (select from manifest_segment m where m.domain_id = s.domain_id and m.key = s.key)
          order by s.domain_id, s.key
          limit ${BATCH}
          for update of s skip locked`.execute(trx);
        if (rows.length === 0) return undefined;
        // The row locks keep look-ups out from here on; a hold taken before them is visible to this second statement, not to the first.
        const deleted = await sql<{ removed: number }>`
          with dead as (
            delete from segment s
            using unnest(${rows.map((row) => row.domain_id)}::uuid[], ${rows.map((row) => row.key)}::bytea[]) as locked (domain_id, key)
            where s.domain_id = locked.domain_id and s.key = locked.key
              and not exists (select from segment_hold h where h.domain_id = s.domain_id and h.key = s.key)
              and not exists (select from manifest_segment m where m.domain_id = s.domain_id and m.key = s.key)
            returning s.pack_id, s.stored_bytes
          ), freed as (
            update pack p set live_bytes = p.live_bytes - d.bytes
            from (select pack_id, sum(stored_bytes) as bytes from dead group by pack_id) d
            where p.id = d.pack_id
          )
          select count(*)::integer as removed from dead`.execute(trx);
        return { last: rows.at(-1), removed: deleted.rows[0]?.removed ?? 0 };
      });
      if (page?.last === undefined) return;
      this.segmentsRemoved += page.removed;
      this.goOn();
      after = { domainId: page.last.domain_id, key: page.last.key };
    }
  }

  private async retireEmptyPacks(): Promise<void> {
    // Cut, not rounded: the column keeps milliseconds, and a time rounded up lies in the future of the next statement.
    await sql`
      update pack p set state = 'retired', retired_at = date_trunc('milliseconds', now())
      where p.state = 'sealed' and p.live_bytes::double precision / p.size_bytes <= 0
        and not exists (select from segment s where s.pack_id = p.id)`.execute(this.db);
  }

  /** Copies the live frames of packs that are mostly dead, as they are: frames never change once stored. */
  private async rewriteSparsePacks(): Promise<void> {
    const { rows } = await sql<{ id: string; domain_id: string }>`
      select id, domain_id from pack
      where state = 'sealed' and live_bytes::double precision / size_bytes < ${this.options.rewriteBelow} and live_bytes > 0
      order by domain_id, id`.execute(this.db);
    for (const [domainId, packs] of Map.groupBy(rows, (row) => row.domain_id)) {
      await this.rewritePacks(
        domainId,
        packs.map(({ id }) => id),
      );
    }
  }

  private async rewritePacks(domainId: string, packIds: readonly string[]): Promise<void> {
    let target: { writer: PackWriter; from: Map<string, string> } | undefined;
    const buffer = new BlockBuffer();
    try {
      for (const packId of packIds) {
        this.goOn();
        const live = await this.db.selectFrom('segment').select('key').where('pack_id', '=', packId).execute();
        const source = await PackReader.open(this.az, packId);
        if (source === undefined) throw new StoredBytesDamagedError(`pack ${packId}: is missing`);
        try {
          const segments = live
            .map(({ key }) => source.find(key))
            .filter((segment) => segment !== undefined)
            .toSorted((a, b) => a.offset - b.offset);
          if (segments.length !== live.length)
            throw new StoredBytesDamagedError(`pack ${packId}: index and footer disagree`);
          for (const segment of segments) {
            if (target !== undefined && !target.writer.hasRoomFor(storedBytesOf(segment.frameLengths))) {
              await this.finishRewrite(domainId, target);
              target = undefined;
            }
            if (target === undefined) {
              const id = randomUUID();
              await this.index.createPack(id, domainId, null);
              target = { writer: await PackWriter.create(this.az, id, domainId, source.isSealed), from: new Map() };
            }
            await target.writer.addSegment(
              segment.key,
              segment.leaves,
              framesOf(await source.readChecked(segment, buffer), segment, packId),
              segment.frameNonces,
            );
            target.from.set(segment.key.toString('latin1'), packId);
          }
        } finally {
          await source.close();
        }
      }
      if (target !== undefined) await this.finishRewrite(domainId, target);
    } catch (error) {
      await target?.writer.abandon();
      throw error;
    }
    await this.retireEmptyPacks();
  }

  /** Seals the new pack and points the segments to it, unless they died or moved in the meantime. */
  private async finishRewrite(
    domainId: string,
    { writer, from }: { writer: PackWriter; from: Map<string, string> },
  ): Promise<void> {
    const written = writer.written.map((segment) => ({
      ...segment,
      oldPack: from.get(segment.key.toString('latin1')) ?? '',
    }));
    const sizeBytes = await writer.seal();
    await inTransaction(this.db, async (trx) => {
      await lockOpenPack(trx, writer.packId);
      const { rows } = await sql<{ pack_id: string; bytes: string }>`
        with moved as (
          update segment s set pack_id = ${writer.packId}, pack_offset = w.pack_offset
          from unnest(
            ${written.map(({ key }) => key)}::bytea[],
            ${written.map(({ offset }) => offset)}::bigint[],
            ${written.map(({ oldPack }) => oldPack)}::text[]
          ) as w (key, pack_offset, old_pack)
          where s.domain_id = ${domainId} and s.key = w.key and s.pack_id = w.old_pack
          returning w.old_pack, s.stored_bytes
        )
        select old_pack as pack_id, sum(stored_bytes) as bytes from moved group by old_pack`.execute(trx);
      let liveBytes = 0;
      for (const { pack_id: packId, bytes } of rows) {
        liveBytes += Number(bytes);
        await trx
          .updateTable('pack')
          .set({ live_bytes: sql`live_bytes - ${Number(bytes)}` })
          .where('id', '=', packId)
          .execute();
      }
      await sealPackRow(trx, writer.packId, sizeBytes, liveBytes);
    });
  }

  private async removeRetiredPacks(): Promise<void> {
    const retired = await this.db
      .selectFrom('pack')
      .select('id')
      .where('state', '=', 'retired')
      .where('retired_at', '<=', this.graceEnd())
      .execute();
    for (const { id } of retired) {
      this.goOn();
      // The row last: as long as there is a file there is a row that explains it. No segment ever points to a retired pack again.
      const bytes = await this.az.removePack(id);
      await this.db.deleteFrom('pack').where('id', '=', id).where('state', '=', 'retired').execute();
      this.countPack(bytes);
    }
  }

  private countPack(bytes: number | undefined): void {
    if (bytes === undefined) return;
    this.packsRemoved += 1;
    this.bytesRemoved += bytes;
  }

  // The database's clock, which also wrote the times it is compared with.
  private graceEnd() {
    return sql<Date>`now() - ${this.options.graceMs} * interval '1 millisecond'`;
  }
}

function framesOf(stored: Buffer, { frameLengths, frameChecksums }: PackedSegment, packId: string): Buffer[] {
  let at = 0;
  return frameLengths.map((length, frame) => {
    const bytes = stored.subarray(at, at + length);
    at += length;
    if (frameChecksum(bytes) !== frameChecksums[frame]) {
      throw new StoredBytesDamagedError(`pack ${packId}: frame ${frame} differs from its checksum`);
    }
    return bytes;
  });
}
