import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Database, inTransaction } from '@ims/db';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { CopiedDisk, QuiescedDisk } from '../backups.port';
import { KeyedTurns } from '../disk/gate';
import type { LayerFile } from '../disk/layer-file';
import { type ByteRange, isZero, type LayeredDisk } from '../disk/layered-disk';
import type { LayerStore } from '../disk/layer-store';
import { NeighbourError } from '../neighbour.errors';
import { derivedId, GIB } from '../records';
import type { Snapshot } from '../volumes.port';

/** The unit of an increment, the same as a segment of the image store. */
export const BLOCK_BYTES = 2 * 1024 * 1024;
// A restore reads through this many increments at most; then a full backup starts the next chain.
const MAX_CHAIN = 16;
// The maps are looked at for so much at a time: 512 blocks, so that lists stay short however large the disk is.
const WALK_BYTES = 2 ** 30;
// So much is copied again at most after a crash: less than a second's work, and one fsync for each.
const SAVE_BYTES = 64 * 1024 * 1024;

/** One disk of a moment, and what its backup may stand on. */
export interface DiskJob {
  checkpointId: string;
  backupId: string;
  projectId: string;
  serverId: string;
  /** `undefined` for the retired line, which has none. */
  vaultId: string | undefined;
  line: 'CBR' | 'CSBS';
  disk: QuiescedDisk;
  /** Absent when the moment has been let go, which is after all disks were copied. */
  snapshot: Snapshot | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((bytesDone: number) => void) | undefined;
}

/** A disk whose moment is still there. */
type FrozenDisk = DiskJob & { snapshot: Snapshot };

/** The content of the backup that an increment stands on, and of what disk content that was a copy. */
interface ParentLayer {
  layer_id: string;
  source_layer_id: string;
}

/** A copy under way: where it goes on after a crash. */
interface CopyUnderWay {
  file: LayerFile;
  positionBytes: number;
  bytesRead: number;
}

export interface DiskCopierOptions {
  db: Kysely<Database>;
  layers: LayerStore;
  layerOfSnapshot(projectId: string, snapshotId: string): Promise<string>;
}

export const diskBackupId = (checkpointId: string, volumeId: string): string =>
  derivedId(checkpointId, `disk ${volumeId}`);

/** Copies disks of a moment into layers of 2 MiB blocks: of each what the backup before does not have, going on where a dead copy stopped. */
export class DiskCopier {
  private readonly turns = new KeyedTurns<string>();

  constructor(private readonly options: DiskCopierOptions) {}

  /**
   * Stores one disk's increment, or tells what an earlier call made of it. The backup that it stands on may be deleted meanwhile, and with it what the
   * increment is one to: then it is made again, on the next older one or on none.
   *
   * @throws NeighbourError VAULT_FULL, WRONG_STATE when the checkpoint has been given up
   */
  copy(job: DiskJob): Promise<CopiedDisk> {
    // An attempt that was replaced may still be at it: both would write the same bytes, but each would count for itself.
    return this.turns.take(diskBackupId(job.checkpointId, job.disk.volumeId), async () => {
      for (;;) {
        job.signal?.throwIfAborted();
        const made = await this.made(job);
        if (made !== undefined) return made;
        const { snapshot } = job;
        if (snapshot === undefined) throw new NeighbourError('WRONG_STATE', `checkpoint ${job.checkpointId}`);
        const parent = await this.parentOf(job, snapshot);
        try {
          await this.copyOnto(parent, { ...job, snapshot });
        } catch (error) {
          if (parent === undefined || (await this.hasLayer(parent.layer_id))) throw error;
        }
      }
    });
  }

  /** Removes what copies of a checkpoint have written that did not get to their end. */
  async discard(checkpointId: string): Promise<void> {
    const gone = await this.options.db
      .deleteFrom('cloud.disk_copy')
      .where('checkpoint_id', '=', checkpointId)
      .returning('layer_id')
      .execute();
    for (const { layer_id } of gone) await this.options.layers.removeFile(layer_id);
  }

  private async made({ checkpointId, disk }: DiskJob): Promise<CopiedDisk | undefined> {
    const row = await this.options.db
      .selectFrom('cloud.disk_backup')
      .select(['id', 'is_incremental', 'stored_bytes', 'bytes_read'])
      .where('id', '=', diskBackupId(checkpointId, disk.volumeId))
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return {
      diskBackupId: row.id,
      volumeId: disk.volumeId,
      device: disk.device,
      isIncremental: row.is_incremental,
      segmentsChanged: row.stored_bytes / BLOCK_BYTES,
      bytesRead: row.bytes_read,
      bytesStored: row.stored_bytes,
    };
  }

  private async copyOnto(parent: ParentLayer | undefined, job: FrozenDisk): Promise<void> {
    const { layers } = this.options;
    const sourceLayerId = await this.options.layerOfSnapshot(job.projectId, job.snapshot.id);
    const source = await layers.openDisk(sourceLayerId, 'r');
    let base: LayeredDisk | undefined;
    let copy: CopyUnderWay | undefined;
    try {
      base = parent === undefined ? undefined : await layers.openDisk(parent.layer_id, 'r');
      const isIncremental = parent !== undefined && base !== undefined && base.depth < MAX_CHAIN;
      const against =
        isIncremental && base !== undefined ? { disk: base, copiedFrom: parent.source_layer_id } : undefined;
      const parentLayerId = isIncremental ? parent.layer_id : null;
      copy = await this.begin(job, source.sizeBytes, parentLayerId, await knownChangeBytes(source, against));
      await this.run(job, copy, source, against);
      await this.finish(job, copy, { parentLayerId, sourceLayerId });
    } finally {
      await copy?.file.close();
      await base?.close();
      await source.close();
    }
  }

  /** Goes on with what a dead attempt left, if that stands on the same backup; else begins, and takes room for what it will store at most. */
  private async begin(
    job: DiskJob,
    sizeBytes: number,
    parentLayerId: string | null,
    atMostBytes: number,
  ): Promise<CopyUnderWay> {
    const { db, layers } = this.options;
    const id = diskBackupId(job.checkpointId, job.disk.volumeId);
    const before = await db.selectFrom('cloud.disk_copy').selectAll().where('id', '=', id).executeTakeFirst();
    if (before !== undefined && before.parent_layer_id === parentLayerId) {
      const file = await layers.openFile({ id: before.layer_id, sizeBytes, granuleBytes: BLOCK_BYTES });
      if (file !== undefined) return { file, positionBytes: before.position_bytes, bytesRead: before.bytes_read };
    }
    if (before !== undefined) {
      await db.deleteFrom('cloud.disk_copy').where('id', '=', id).execute();
      await layers.removeFile(before.layer_id);
    }
    const file = await layers.createFile(sizeBytes, BLOCK_BYTES);
    try {
      await inTransaction(db, async (trx) => {
        await checkProtecting(trx, job.checkpointId);
        await this.checkRoom(trx, job, atMostBytes);
        await trx
          .insertInto('cloud.disk_copy')
          .values({
            id,
            checkpoint_id: job.checkpointId,
            layer_id: file.geometry.id,
            size_bytes: sizeBytes,
            parent_layer_id: parentLayerId,
            reserved_bytes: atMostBytes,
          })
          .execute();
      });
      return { file, positionBytes: 0, bytesRead: 0 };
    } catch (error) {
      await layers.discardFile(file);
      throw error;
    }
  }

  private async run(
    job: DiskJob,
    copy: CopyUnderWay,
    source: LayeredDisk,
    against: BackedUp | undefined,
  ): Promise<void> {
    const { signal, onProgress } = job;
    let saved = copy.file.heldBytes;
    const walk = changedBlocks(source, against, copy.positionBytes, (bytesDone) => {
      signal?.throwIfAborted();
      onProgress?.(bytesDone);
    });
    for await (const { at, bytesRead, bytes } of walk) {
      copy.bytesRead += bytesRead;
      if (bytes !== undefined) {
        await copy.file.write(at, bytes);
        copy.file.mark(at);
      }
      copy.positionBytes = at + bytesRead;
      if (copy.file.heldBytes - saved >= SAVE_BYTES) {
        await this.save(job, copy);
        saved = copy.file.heldBytes;
      }
    }
  }

  /** What is copied so far is durable, and is not copied again. */
  private async save(job: DiskJob, { file, positionBytes, bytesRead }: CopyUnderWay): Promise<void> {
    await file.flush();
    await inTransaction(this.options.db, async (trx) => {
      await checkProtecting(trx, job.checkpointId);
      await this.checkRoom(trx, job, file.heldBytes);
      await trx
        .updateTable('cloud.disk_copy')
        .set((eb) => ({
          position_bytes: positionBytes,
          bytes_read: bytesRead,
          reserved_bytes: eb.fn<number>('greatest', ['reserved_bytes', eb.val(file.heldBytes)]),
        }))
        .where('id', '=', diskBackupId(job.checkpointId, job.disk.volumeId))
        .execute();
    });
  }

  private async finish(
    job: FrozenDisk,
    { file, bytesRead }: CopyUnderWay,
    { parentLayerId, sourceLayerId }: { parentLayerId: string | null; sourceLayerId: string },
  ): Promise<void> {
    const { disk, snapshot } = job;
    const id = diskBackupId(job.checkpointId, disk.volumeId);
    await file.flush();
    await inTransaction(this.options.db, async (trx) => {
      await checkProtecting(trx, job.checkpointId);
      await this.checkRoom(trx, job, file.heldBytes);
      await this.options.layers.insert(trx, { file, baseLayerId: parentLayerId ?? undefined, sealed: true });
      await trx
        .insertInto('cloud.disk_backup')
        .values({
          id,
          backup_id: job.backupId,
          volume_id: disk.volumeId,
          size_gib: snapshot.sizeGib,
          device: disk.device,
          is_system_disk: disk.isSystemDisk,
          bootable: snapshot.bootable,
          key_id: snapshot.keyId,
          is_incremental: parentLayerId !== null,
          stored_bytes: file.heldBytes,
          bytes_read: bytesRead,
          layer_id: file.geometry.id,
          source_layer_id: sourceLayerId,
        })
        .execute();
      // From here on the layer's own row explains the file.
      await trx.deleteFrom('cloud.disk_copy').where('id', '=', id).execute();
    });
  }

  /** Under the vault's lock: disks that are copied side by side do not count on the same room. */
  private async checkRoom(trx: Transaction<Database>, job: DiskJob, bytes: number): Promise<void> {
    if (job.vaultId === undefined) return;
    const vault = await trx
      .selectFrom('cloud.vault')
      .select('size_gib')
      .where('id', '=', job.vaultId)
      .forUpdate()
      .executeTakeFirst();
    if (vault === undefined) throw new NeighbourError('NOT_FOUND', `vault ${job.vaultId}`);
    const others = await trx
      .selectFrom('cloud.disk_copy as copy')
      .innerJoin('cloud.checkpoint as checkpoint', 'checkpoint.id', 'copy.checkpoint_id')
      .select((eb) => eb.fn.coalesce(eb.fn.sum<string>('copy.reserved_bytes'), sql<string>`0`).as('bytes'))
      .where('checkpoint.vault_id', '=', job.vaultId)
      .where('copy.id', '<>', diskBackupId(job.checkpointId, job.disk.volumeId))
      .executeTakeFirstOrThrow();
    const room = vault.size_gib * GIB - (await usedBytes(trx, job.vaultId)) - Number(others.bytes);
    if (bytes > room) throw new NeighbourError('VAULT_FULL', `backup of disk ${job.disk.volumeId}`);
  }

  private async hasLayer(id: string): Promise<boolean> {
    const row = await this.options.db
      .selectFrom('cloud.disk_layer')
      .select('id')
      .where('id', '=', id)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** The newest finished backup of the same disk in the same vault. */
  private parentOf(job: DiskJob, snapshot: Snapshot): Promise<ParentLayer | undefined> {
    let query = this.options.db
      .selectFrom('cloud.disk_backup as child')
      .innerJoin('cloud.backup as backup', 'backup.id', 'child.backup_id')
      .select(['child.layer_id', 'child.source_layer_id'])
      .where('backup.project_id', '=', job.projectId)
      .where('backup.server_id', '=', job.serverId)
      .where('backup.line', '=', job.line)
      .where('backup.status', '=', 'available')
      .where('child.volume_id', '=', snapshot.volumeId)
      .where('child.size_gib', '=', snapshot.sizeGib)
      .orderBy('backup.created_at', 'desc')
      .orderBy('backup.id')
      .limit(1);
    query =
      job.vaultId === undefined
        ? query.where('backup.vault_id', 'is', null)
        : query.where('backup.vault_id', '=', job.vaultId);
    return query.executeTakeFirst();
  }
}

/** Bytes of all layers that the vault's backups stand on, each once: also what a deleted backup left below those that need it. */
export async function usedBytes(db: Kysely<Database>, vaultId: string): Promise<number> {
  const { rows } = await sql<{ bytes: string }>`
    with recursive needed as (
      select l.id, l.base_layer_id, l.held_bytes from cloud.disk_layer l
        join cloud.disk_backup d on d.layer_id = l.id join cloud.backup b on b.id = d.backup_id
        where b.vault_id = ${vaultId}
      union
      select l.id, l.base_layer_id, l.held_bytes from cloud.disk_layer l join needed n on l.id = n.base_layer_id
    )
    select coalesce(sum(held_bytes), 0)::text as bytes from needed`.execute(db);
  return Number(rows[0]?.bytes ?? 0);
}

/** What is made for a checkpoint that has been given up, or is complete, must not become part of it. */
async function checkProtecting(trx: Transaction<Database>, checkpointId: string): Promise<void> {
  const row = await trx
    .selectFrom('cloud.checkpoint')
    .select('status')
    .where('id', '=', checkpointId)
    .forShare()
    .executeTakeFirst();
  if (row?.status !== 'protecting')
    throw new NeighbourError('WRONG_STATE', `checkpoint ${checkpointId}, which is ${row?.status ?? 'gone'}`);
}

/** What of a disk may differ from an earlier backup of it that its content stands on; `undefined` where only a comparison can tell. */
export async function changesSince(disk: LayeredDisk, layerId: string): Promise<ByteRange[] | undefined> {
  const ranges: ByteRange[] = [];
  for (let from = 0; from < disk.sizeBytes; from += WALK_BYTES) {
    const found = disk.changedSince(layerId, from, Math.min(WALK_BYTES, disk.sizeBytes - from));
    if (found === undefined) return undefined;
    ranges.push(...found);
    await nextTurn();
  }
  return ranges;
}

interface BackedUp {
  disk: LayeredDisk;
  copiedFrom: string;
}

/**
 * Blocks of `source` from `begin` on that differ from the backup `against` (from zeros without one). `bytes` is absent for blocks that were read and are equal.
 */
async function* changedBlocks(
  source: LayeredDisk,
  against: BackedUp | undefined,
  begin: number,
  onProgress: (bytesDone: number) => void,
): AsyncIterable<{ at: number; bytesRead: number; bytes?: Uint8Array }> {
  const old = new Uint8Array(BLOCK_BYTES);
  for (let from = begin; from < source.sizeBytes; from += WALK_BYTES) {
    const end = Math.min(source.sizeBytes, from + WALK_BYTES);
    const changed = await changedRanges(source, against, from, end);
    // Where only a comparison can tell, all that holds data on either side.
    const ranges = changed ?? [
      ...(await dataOf(source, from, end)),
      ...(against === undefined ? [] : await dataOf(against.disk, from, end)),
    ];
    for (const at of blocksOf(ranges)) {
      const length = Math.min(BLOCK_BYTES, source.sizeBytes - at);
      const bytes = new Uint8Array(length);
      await source.read(at, bytes);
      let isEqual = isZero(bytes);
      if (against !== undefined) {
        await against.disk.read(at, old.subarray(0, length));
        isEqual = Buffer.compare(bytes, old.subarray(0, length)) === 0;
      }
      yield isEqual ? { at, bytesRead: length } : { at, bytesRead: length, bytes };
      onProgress(at + length);
    }
    onProgress(end);
    // Between holes nothing waits for a file, and a disk of many terabytes must not keep this process from everything else.
    await nextTurn();
  }
}

/**
 * What the increment takes at most, told without reading: a backup that may not fit is not begun. 0 where only a comparison can tell.
 */
async function knownChangeBytes(source: LayeredDisk, against: BackedUp | undefined): Promise<number> {
  let bytes = 0;
  for (let from = 0; from < source.sizeBytes; from += WALK_BYTES) {
    const ranges = await changedRanges(source, against, from, Math.min(source.sizeBytes, from + WALK_BYTES));
    if (ranges === undefined) return 0;
    bytes += blocksOf(ranges).length * BLOCK_BYTES;
    await nextTurn();
  }
  return bytes;
}

/** What may differ from the backup: what was written since, where the layer it was copied from is still below the source; else `undefined`. */
async function changedRanges(
  source: LayeredDisk,
  against: BackedUp | undefined,
  from: number,
  end: number,
): Promise<ByteRange[] | undefined> {
  return against === undefined ? dataOf(source, from, end) : source.changedSince(against.copiedFrom, from, end - from);
}

/** What of a range may hold data. */
async function dataOf(disk: LayeredDisk, from: number, end: number): Promise<ByteRange[]> {
  const ranges: ByteRange[] = [];
  let at = from;
  for (const { length, isData } of await disk.status(from, end - from)) {
    if (isData) ranges.push({ offset: at, length });
    at += length;
  }
  return ranges;
}

/** Addresses of the blocks that any of the ranges touches, ascending, each once. */
function blocksOf(ranges: readonly ByteRange[]): number[] {
  const touched = new Set<number>();
  for (const { offset, length } of ranges) {
    for (let at = offset - (offset % BLOCK_BYTES); at < offset + length; at += BLOCK_BYTES) touched.add(at);
  }
  return [...touched].sort((a, b) => a - b);
}
