import { type FileHandle, open } from 'node:fs/promises';
import { type Clock, type Database, inTransaction, sqlState } from '@ims/db';
import type { Kysely, Selectable, Transaction } from 'kysely';
import { z } from 'zod';
import type { ImageDiskSource } from '../disk-image.port';
import { GRANULE_BYTES, type LayerFile } from '../disk/layer-file';
import { isZero, type LayeredDisk } from '../disk/layered-disk';
import type { BaseImage, LayerStore } from '../disk/layer-store';
import type { HeldDisk, VolumeDisks } from '../disk/volume-disks';
import { NbdExport } from '../nbd/nbd-export';
import { NeighbourError } from '../neighbour.errors';
import type { RunningGuests } from '../qemu/running-guests';
import { checkId, checkSameRequest, GIB } from '../records';
import type { ImagingDisk, NewVolume, QuiescedBy, Snapshot, Volume, VolumeOrigin, VolumesPort } from '../volumes.port';

type VolumeRow = Selectable<Database['cloud.volume']>;

// Limits of EVS (backends E5), GiB.
const SIZES = { system: { least: 1, most: 1024 }, data: { least: 10, most: 32_768 } } as const;
const MAX_NAME_LENGTH = 255;
const UNIQUE_VIOLATION = '23505';
// One read of a disk file that is copied in.
const COPY_BYTES = 1024 * 1024;
// The stack a read looks through; beyond it a disk is made independent when its last snapshot goes. Keeps open files and map look-ups per disk bounded.
const MAX_DEPTH = 16;

const storedOrigin = z.discriminatedUnion('from', [
  z.object({ from: z.literal('blank') }),
  z.object({
    from: z.literal('image'),
    image: z.object({ imageId: z.string(), domainId: z.string(), manifestHash: z.string() }),
    role: z.enum(['system', 'data']),
  }),
  z.object({ from: z.literal('snapshot'), snapshotId: z.string() }),
  z.object({ from: z.literal('backup'), backupId: z.string() }),
  z.object({ from: z.literal('file'), path: z.string() }),
]);

/** What a new disk inherits from where it is made from. */
interface Source {
  baseLayerId?: string;
  baseImage?: BaseImage;
  /** Bytes of the source; the disk must hold them. */
  sizeBytes: number;
  use: 'system' | 'data';
  bootable: boolean;
  keyId: string | null;
}

export interface EmbeddedVolumesOptions {
  db: Kysely<Database>;
  layers: LayerStore;
  disks: VolumeDisks;
  images: ImageDiskSource;
  guests: RunningGuests;
  clock: Clock;
}

/**
 * Disks as stacks of layers in a directory, records in Postgres. A snapshot freezes the newest layer and puts an empty one on top: constant time
 * whatever the size, and the same moment for any number of disks, because all writes go through this process and can be held.
 */
export class EmbeddedVolumes implements VolumesPort {
  constructor(private readonly options: EmbeddedVolumesOptions) {}

  async get(projectId: string, volumeId: string): Promise<Volume | undefined> {
    const [volume] = await this.read(this.options.db, projectId, volumeId);
    return volume;
  }

  list(projectId: string): Promise<Volume[]> {
    return this.read(this.options.db, projectId);
  }

  async create(request: NewVolume): Promise<Volume> {
    checkId('disk id', request.id);
    checkRequest(request);
    const present = await this.existing(request);
    if (present !== undefined) return present;
    const source = await this.sourceOf(request.projectId, request.origin);
    const use = request.use ?? source.use;
    const sizeBytes = request.sizeGib * GIB;
    checkSize(request, use, source);
    const file = await this.options.layers.createFile(sizeBytes, GRANULE_BYTES);
    try {
      if (request.origin.from === 'file') await copyFileInto(request.origin.path, file);
      await inTransaction(this.options.db, async (trx) => {
        const { baseLayerId, baseImage } = source;
        await this.options.layers.insert(trx, { file, baseLayerId, baseImage, sealed: false });
        await trx
          .insertInto('cloud.volume')
          .values({
            id: request.id,
            project_id: request.projectId,
            name: request.name ?? request.id,
            availability_zone: request.availabilityZone ?? 'az1',
            size_gib: request.sizeGib,
            volume_type: request.volumeType ?? 'SSD',
            disk_use: use,
            bootable: source.bootable && use === 'system',
            key_id: request.keyId ?? source.keyId,
            shareable: request.shareable ?? false,
            pool: request.pool ?? 'evs',
            origin: JSON.stringify(request.origin),
            layer_id: file.geometry.id,
            request: JSON.stringify(request),
            created_at: this.options.clock.now(),
          })
          .execute();
      });
    } catch (error) {
      if ((await this.layerOf(request.id)) === file.geometry.id) {
        // The commit was made and only its answer was lost.
        await file.close();
        return this.require(request.projectId, request.id);
      }
      await this.options.layers.discardFile(file);
      // Another call with the same id was faster.
      const winner = sqlState(error) === UNIQUE_VIOLATION ? await this.existing(request) : undefined;
      if (winner === undefined) throw error;
      return winner;
    }
    await file.close();
    return this.require(request.projectId, request.id);
  }

  async createSeveral(request: Omit<NewVolume, 'id'> & { ids: readonly string[] }): Promise<Volume[]> {
    const { ids, ...each } = request;
    if (ids.length > 1 && each.origin.from === 'image' && each.origin.role === 'data') {
      throw new NeighbourError('ONE_AT_A_TIME', `${ids.length} disks from image ${each.origin.image.imageId}`);
    }
    const made: Volume[] = [];
    for (const id of ids) made.push(await this.create({ ...each, id }));
    return made;
  }

  async attach(request: {
    projectId: string;
    volumeId: string;
    serverId: string;
    device?: string;
    bootIndex?: number | null;
    deleteOnTermination?: boolean;
  }): Promise<Volume> {
    const { projectId, volumeId, serverId } = request;
    this.checkNotRunning(serverId);
    try {
      await inTransaction(this.options.db, (trx) => attachIn(trx, request));
    } catch (error) {
      if (sqlState(error) !== UNIQUE_VIOLATION) throw error;
      throw new NeighbourError('CONFLICT', `device or boot order of disk ${volumeId} at server ${serverId}`, {
        cause: error,
      });
    }
    return this.require(projectId, volumeId);
  }

  async detach(request: { projectId: string; volumeId: string; serverId: string }): Promise<Volume> {
    const { projectId, volumeId, serverId } = request;
    await inTransaction(this.options.db, async (trx) => {
      await lockVolume(trx, projectId, volumeId);
      const attachment = await trx
        .selectFrom('cloud.volume_attachment as attachment')
        .innerJoin('cloud.server as server', 'server.id', 'attachment.server_id')
        .select(['attachment.boot_index', 'server.status'])
        .where('attachment.volume_id', '=', volumeId)
        .where('attachment.server_id', '=', serverId)
        .executeTakeFirst();
      if (attachment === undefined) return;
      this.checkNotRunning(serverId);
      if (attachment.boot_index === 0 && attachment.status !== 'SHUTOFF') {
        throw new NeighbourError('WRONG_STATE', `system disk ${volumeId} of server ${serverId}, which is not stopped`);
      }
      await trx
        .deleteFrom('cloud.volume_attachment')
        .where('volume_id', '=', volumeId)
        .where('server_id', '=', serverId)
        .execute();
    });
    return this.require(projectId, volumeId);
  }

  async delete(projectId: string, volumeId: string): Promise<void> {
    const volume = await this.get(projectId, volumeId);
    if (volume === undefined) return;
    const layerId = await this.options.disks.alone(volumeId, () =>
      inTransaction(this.options.db, async (trx) => {
        if (await isAttached(trx, volumeId)) throw new NeighbourError('IN_USE', `disk ${volumeId}`);
        return this.retireIn(trx, projectId, volumeId);
      }),
    );
    await this.options.layers.collect(layerId);
  }

  /**
   * Deletes the record in the caller's transaction, unless a server still has the disk, and names the content for `collect` after the commit
   * (a crash in between leaves it to the sweep).
   */
  async retireIn(trx: Transaction<Database>, projectId: string, volumeId: string): Promise<string | undefined> {
    const row = await lockVolume(trx, projectId, volumeId);
    if (await isAttached(trx, volumeId)) return undefined;
    await trx
      .updateTable('cloud.volume')
      .set({ deleted_at: this.options.clock.now(), layer_id: null })
      .where('id', '=', volumeId)
      .execute();
    return row.layer_id ?? undefined;
  }

  /** Removes content that `retireIn` named. */
  collect(layerId: string): Promise<void> {
    return this.options.layers.collect(layerId);
  }

  async snapshot(request: {
    projectId: string;
    snapshotIdsByVolume: Readonly<Record<string, string>>;
  }): Promise<Snapshot[]> {
    const { projectId } = request;
    // One order for all callers, so that two sets that share disks cannot wait for each other.
    const wanted = Object.entries(request.snapshotIdsByVolume).sort(([a], [b]) => (a < b ? -1 : 1));
    if (wanted.length === 0) throw new NeighbourError('INVALID', 'a snapshot of no disk');
    for (const [, id] of wanted) checkId('snapshot id', id);
    const present = await this.existingSnapshots(projectId, wanted);
    if (present !== undefined) return present;
    const serverId = await this.serverOf(
      projectId,
      wanted.map(([volumeId]) => volumeId),
    );

    const held: HeldDisk[] = [];
    try {
      for (const [volumeId] of wanted) held.push(await this.options.disks.acquire(volumeId));
      const parts = wanted.map(([volumeId, snapshotId], index) => ({
        volumeId,
        snapshotId,
        disk: diskAt(held, index),
      }));
      const hasWriters = held.some(({ isShared }) => isShared);
      await this.inOneMoment(serverId, held, async (isPaused) => {
        // Made by another call with the same ids while this one waited for the disks: nobody else is at them now.
        if ((await this.existingSnapshots(projectId, wanted)) !== undefined) return;
        const quiescedBy = isPaused ? 'guest-paused' : hasWriters ? 'writes-held' : 'no-writer';
        await this.freeze(projectId, serverId, quiescedBy, parts);
      });
    } finally {
      for (const { release } of held) await release();
    }
    return (await this.existingSnapshots(projectId, wanted)) ?? [];
  }

  async getSnapshot(projectId: string, snapshotId: string): Promise<Snapshot | undefined> {
    const row = await this.options.db
      .selectFrom('cloud.snapshot')
      .selectAll()
      .where('id', '=', snapshotId)
      .where('project_id', '=', projectId)
      .executeTakeFirst();
    return row === undefined ? undefined : snapshotOf(row);
  }

  async deleteSnapshot(projectId: string, snapshotId: string): Promise<void> {
    const row = await this.options.db
      .deleteFrom('cloud.snapshot')
      .where('id', '=', snapshotId)
      .where('project_id', '=', projectId)
      .returning(['layer_id', 'volume_id'])
      .executeTakeFirst();
    if (row === undefined) return;
    await this.options.layers.collect(row.layer_id);
    await this.shorten(projectId, row.volume_id);
  }

  async openForImaging(projectId: string, snapshotId: string): Promise<ImagingDisk> {
    return this.options.layers.openForImaging(await this.layerOfSnapshot(projectId, snapshotId));
  }

  /** Layer of a snapshot. @throws NeighbourError NOT_FOUND */
  async layerOfSnapshot(projectId: string, snapshotId: string): Promise<string> {
    const row = await this.options.db
      .selectFrom('cloud.snapshot')
      .select('layer_id')
      .where('id', '=', snapshotId)
      .where('project_id', '=', projectId)
      .executeTakeFirst();
    if (row === undefined) throw new NeighbourError('NOT_FOUND', `snapshot ${snapshotId}`);
    return row.layer_id;
  }

  async hydrate(request: {
    projectId: string;
    volumeId: string;
    signal?: AbortSignal;
    onProgress?(bytesDone: number, bytesTotal: number): void;
  }): Promise<{ bytesCopied: number }> {
    const { projectId, volumeId, signal, onProgress } = request;
    await this.require(projectId, volumeId);
    const { disk, release } = await this.options.disks.acquire(volumeId);
    let bytesCopied = 0;
    let formerBase: string | undefined;
    try {
      while (disk.dependsOnOrigin) {
        const { generation } = disk;
        bytesCopied += await disk.copyUp({ signal, onProgress });
        const letIn = await disk.hold();
        try {
          // A snapshot taken meanwhile froze what was copied; the layer on top of it starts empty.
          if (disk.generation !== generation) continue;
          await disk.flushHeld();
          const layerId = disk.top.geometry.id;
          formerBase = await inTransaction(this.options.db, (trx) => this.options.layers.detach(trx, layerId));
          await disk.detach();
        } finally {
          letIn();
        }
      }
    } finally {
      await release();
    }
    await this.options.layers.collect(formerBase);
    return { bytesCopied };
  }

  /** Bytes of a disk for a program that reads and writes NBD, such as QEMU; valid until `release`. */
  async exportDisk(
    projectId: string,
    volumeId: string,
    options: { readOnly: boolean },
  ): Promise<{ socketPath: string; disk: LayeredDisk; release(): Promise<void> }> {
    await this.require(projectId, volumeId);
    const { disk, release } = await this.options.disks.acquire(volumeId);
    try {
      const served = await NbdExport.listen(await this.options.layers.socketPath(), disk, options);
      let releasing: Promise<void> | undefined;
      return {
        socketPath: served.socketPath,
        disk,
        release: () => (releasing ??= served.close().finally(release)),
      };
    } catch (error) {
      await release();
      throw error;
    }
  }

  /** Puts other content into a disk that nobody has open: what was in it before is gone. */
  async replaceContent(projectId: string, volumeId: string, baseLayerId: string): Promise<Volume> {
    const volume = await this.require(projectId, volumeId);
    const formerLayer = await this.options.disks.alone(volumeId, async () => {
      const file = await this.options.layers.createFile(volume.sizeGib * GIB, GRANULE_BYTES);
      try {
        return await inTransaction(this.options.db, async (trx) => {
          const row = await lockVolume(trx, projectId, volumeId);
          await this.options.layers.insert(trx, { file, baseLayerId, sealed: false });
          await trx
            .updateTable('cloud.volume')
            .set({ layer_id: file.geometry.id })
            .where('id', '=', volumeId)
            .execute();
          return row.layer_id;
        });
      } catch (error) {
        if ((await this.layerOf(volumeId)) !== file.geometry.id) await this.options.layers.discardFile(file);
        throw error;
      } finally {
        await file.close().catch(() => undefined);
      }
    });
    await this.options.layers.collect(formerLayer);
    return this.require(projectId, volumeId);
  }

  /** Marks a disk as failed, or as well again: what an operator does, and what makes IMG.0022 happen. */
  async setFailed(projectId: string, volumeId: string, isFailed: boolean): Promise<Volume> {
    await this.options.db
      .updateTable('cloud.volume')
      .set({ is_failed: isFailed })
      .where('id', '=', volumeId)
      .where('project_id', '=', projectId)
      .execute();
    return this.require(projectId, volumeId);
  }

  /** Runs `work` while the guest stands still and no disk takes a write: everything answered so far is on disk, nothing later is. */
  private async inOneMoment(
    serverId: string | null,
    held: readonly HeldDisk[],
    work: (isPaused: boolean) => Promise<void>,
  ): Promise<void> {
    const resume = serverId === null ? undefined : await this.options.guests.pause(serverId);
    try {
      const reopen: (() => void)[] = [];
      try {
        for (const { disk } of held) reopen.push(await disk.hold());
        for (const { disk } of held) await disk.flushHeld();
        await work(resume !== undefined);
      } finally {
        for (const letIn of reopen) letIn();
      }
    } finally {
      await resume?.();
    }
  }

  private async existing(request: NewVolume): Promise<Volume | undefined> {
    const row = await this.options.db
      .selectFrom('cloud.volume')
      .select(['request', 'deleted_at'])
      .where('id', '=', request.id)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    if (row.deleted_at !== null) throw new NeighbourError('CONFLICT', `disk ${request.id}, which was deleted`);
    checkSameRequest(`disk ${request.id}`, row.request, request);
    return this.require(request.projectId, request.id);
  }

  private async require(projectId: string, volumeId: string): Promise<Volume> {
    const volume = await this.get(projectId, volumeId);
    if (volume === undefined) throw new NeighbourError('NOT_FOUND', `disk ${volumeId}`);
    return volume;
  }

  private async layerOf(volumeId: string): Promise<string | undefined> {
    const row = await this.options.db
      .selectFrom('cloud.volume')
      .select('layer_id')
      .where('id', '=', volumeId)
      .executeTakeFirst();
    return row?.layer_id ?? undefined;
  }

  private async sourceOf(projectId: string, origin: VolumeOrigin): Promise<Source> {
    switch (origin.from) {
      case 'blank':
        return { sizeBytes: 0, use: 'data', bootable: false, keyId: null };
      case 'image': {
        // Opens what describes the image; none of its bytes are read.
        const { virtualSizeBytes } = await this.options.images.open(origin.image);
        return {
          baseImage: { ...origin.image, virtualSizeBytes },
          sizeBytes: virtualSizeBytes,
          use: origin.role,
          bootable: origin.role === 'system',
          keyId: null,
        };
      }
      case 'snapshot': {
        const snapshot = await this.getSnapshot(projectId, origin.snapshotId);
        if (snapshot === undefined) throw new NeighbourError('NOT_FOUND', `snapshot ${origin.snapshotId}`);
        return {
          baseLayerId: await this.layerOfSnapshot(projectId, origin.snapshotId),
          sizeBytes: snapshot.sizeGib * GIB,
          use: snapshot.bootable ? 'system' : 'data',
          bootable: snapshot.bootable,
          keyId: snapshot.keyId,
        };
      }
      case 'backup': {
        const row = await this.options.db
          .selectFrom('cloud.disk_backup as child')
          .innerJoin('cloud.backup as backup', 'backup.id', 'child.backup_id')
          .select(['child.layer_id', 'child.size_gib', 'child.bootable', 'child.key_id'])
          .where('child.id', '=', origin.backupId)
          .where('backup.project_id', '=', projectId)
          .executeTakeFirst();
        if (row === undefined) throw new NeighbourError('NOT_FOUND', `backup ${origin.backupId} of a disk`);
        return {
          baseLayerId: row.layer_id,
          sizeBytes: row.size_gib * GIB,
          use: row.bootable ? 'system' : 'data',
          bootable: row.bootable,
          keyId: row.key_id,
        };
      }
      case 'file':
        return { sizeBytes: await fileSize(origin.path), use: 'data', bootable: true, keyId: null };
      default:
        return origin satisfies never;
    }
  }

  /** The server of all these disks, `null` for disks of none. @throws NeighbourError NOT_FOUND, INVALID */
  private async serverOf(projectId: string, volumeIds: string[]): Promise<string | null> {
    const volumes = await this.read(this.options.db, projectId, ...volumeIds);
    const missing = volumeIds.find((id) => !volumes.some((volume) => volume.id === id));
    if (missing !== undefined) throw new NeighbourError('NOT_FOUND', `disk ${missing}`);
    const [first, ...others] = volumes.map(({ attachments }) => new Set(attachments.map(({ serverId }) => serverId)));
    if (first === undefined || (first.size === 0 && others.every(({ size }) => size === 0))) return null;
    const common = [...first].find((serverId) => others.every((servers) => servers.has(serverId)));
    if (common === undefined) throw new NeighbourError('INVALID', 'a snapshot set over disks of different servers');
    return common;
  }

  /** All of them, none (`undefined`), or a conflict. */
  private async existingSnapshots(
    projectId: string,
    wanted: readonly (readonly [volumeId: string, snapshotId: string])[],
  ): Promise<Snapshot[] | undefined> {
    const rows = await this.options.db
      .selectFrom('cloud.snapshot')
      .selectAll()
      .where(
        'id',
        'in',
        wanted.map(([, id]) => id),
      )
      .execute();
    if (rows.length === 0) return undefined;
    return wanted.map(([volumeId, id]) => {
      const row = rows.find((candidate) => candidate.id === id);
      // They are made together, so some without the others were made for something else.
      if (row?.volume_id !== volumeId || row.project_id !== projectId)
        throw new NeighbourError('CONFLICT', `snapshot ${id}`);
      return snapshotOf(row);
    });
  }

  private async freeze(
    projectId: string,
    serverId: string | null,
    quiescedBy: QuiescedBy,
    parts: readonly { volumeId: string; snapshotId: string; disk: LayeredDisk }[],
  ): Promise<void> {
    const { db, layers, clock } = this.options;
    const fresh: LayerFile[] = [];
    try {
      for (const { disk } of parts) fresh.push(await layers.createFile(disk.sizeBytes, GRANULE_BYTES));
      await inTransaction(db, async (trx) => {
        for (const [index, { volumeId, snapshotId, disk }] of parts.entries()) {
          const file = fileAt(fresh, index);
          const volume = await lockVolume(trx, projectId, volumeId);
          const frozen = disk.top.geometry.id;
          if (volume.layer_id !== frozen) throw new NeighbourError('BUSY', `disk ${volumeId} changed its content`);
          await layers.seal(trx, disk.top);
          await layers.insert(trx, { file, baseLayerId: frozen, sealed: false });
          await trx
            .updateTable('cloud.volume')
            .set({ layer_id: file.geometry.id })
            .where('id', '=', volumeId)
            .execute();
          await trx
            .insertInto('cloud.snapshot')
            .values({
              id: snapshotId,
              project_id: projectId,
              volume_id: volumeId,
              server_id: serverId,
              size_gib: volume.size_gib,
              bootable: volume.bootable,
              key_id: volume.key_id,
              layer_id: frozen,
              quiesced_by: quiescedBy,
              created_at: clock.now(),
            })
            .execute();
        }
      });
    } catch (error) {
      if (!(await this.wasCommitted(parts, fresh, error))) {
        for (const file of fresh) await layers.discardFile(file);
        throw error;
      }
    }
    for (const [index, { disk }] of parts.entries()) disk.push(fileAt(fresh, index));
  }

  /** Whether the transaction took effect although it failed: the connection may have broken after the commit. */
  private async wasCommitted(
    parts: readonly { volumeId: string; disk: LayeredDisk }[],
    fresh: readonly LayerFile[],
    cause: unknown,
  ): Promise<boolean> {
    const [part] = parts;
    if (part === undefined || fresh.length < parts.length) return false;
    try {
      return (await this.layerOf(part.volumeId)) === fileAt(fresh, 0).geometry.id;
    } catch {
      // Nobody can say which layer takes the writes now: a wrong guess would lose them, so the disks are opened anew first.
      for (const { disk } of parts) disk.poison(new Error('the outcome of a snapshot is unknown', { cause }));
      throw new NeighbourError('BUSY', 'the outcome of a snapshot is unknown', { cause });
    }
  }

  private async shorten(projectId: string, volumeId: string): Promise<void> {
    const volume = await this.get(projectId, volumeId);
    if (volume === undefined) return;
    const held = await this.options.disks.acquire(volumeId).catch((error: unknown) => {
      // Open elsewhere: the next snapshot that goes will find it.
      if (error instanceof NeighbourError && error.refusal === 'BUSY') return undefined;
      throw error;
    });
    if (held === undefined) return;
    const isDeep = held.disk.depth > MAX_DEPTH;
    await held.release();
    if (isDeep) await this.hydrate({ projectId, volumeId });
  }

  private checkNotRunning(serverId: string): void {
    if (this.options.guests.isRunning(serverId)) {
      throw new NeighbourError('WRONG_STATE', `server ${serverId}, whose virtual machine runs: stop it first`);
    }
  }

  private async read(db: Kysely<Database>, projectId: string, ...volumeIds: string[]): Promise<Volume[]> {
    let query = db
      .selectFrom('cloud.volume as volume')
      .leftJoin('cloud.disk_layer as layer', 'layer.id', 'volume.layer_id')
      .selectAll('volume')
      .select(['layer.base_layer_id', 'layer.base_image'])
      .where('volume.project_id', '=', projectId)
      .where('volume.deleted_at', 'is', null)
      .orderBy('volume.created_at')
      .orderBy('volume.id');
    if (volumeIds.length > 0) query = query.where('volume.id', 'in', volumeIds);
    const rows = await query.execute();
    if (rows.length === 0) return [];
    const attachments = await db
      .selectFrom('cloud.volume_attachment')
      .selectAll()
      .where(
        'volume_id',
        'in',
        rows.map(({ id }) => id),
      )
      .orderBy('server_id')
      .execute();
    return rows.map((row) => {
      const own = attachments.filter(({ volume_id }) => volume_id === row.id);
      return {
        id: row.id,
        projectId: row.project_id,
        name: row.name,
        availabilityZone: row.availability_zone,
        status: row.is_failed ? 'error' : own.length > 0 ? 'in-use' : 'available',
        sizeGib: row.size_gib,
        volumeType: row.volume_type,
        use: row.disk_use,
        bootable: row.bootable,
        encrypted: row.key_id !== null,
        keyId: row.key_id,
        shareable: row.shareable,
        pool: row.pool,
        origin: storedOrigin.parse(row.origin),
        dependsOnOrigin: row.base_layer_id !== null || row.base_image !== null,
        attachments: own.map((attachment) => ({
          serverId: attachment.server_id,
          device: attachment.device,
          bootIndex: attachment.boot_index,
          deleteOnTermination: attachment.delete_on_termination,
        })),
        createdAt: row.created_at,
      };
    });
  }
}

/** @throws NeighbourError NOT_FOUND */
async function lockVolume(trx: Transaction<Database>, projectId: string, volumeId: string): Promise<VolumeRow> {
  const row = await trx
    .selectFrom('cloud.volume')
    .selectAll()
    .where('id', '=', volumeId)
    .where('project_id', '=', projectId)
    .where('deleted_at', 'is', null)
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) throw new NeighbourError('NOT_FOUND', `disk ${volumeId}`);
  return row;
}

async function isAttached(trx: Transaction<Database>, volumeId: string): Promise<boolean> {
  const row = await trx
    .selectFrom('cloud.volume_attachment')
    .select('server_id')
    .where('volume_id', '=', volumeId)
    .executeTakeFirst();
  return row !== undefined;
}

/** Records an attachment in the caller's transaction. @throws NeighbourError NOT_FOUND, IN_USE, WRONG_STATE, CONFLICT */
export async function attachIn(
  trx: Transaction<Database>,
  request: {
    projectId: string;
    volumeId: string;
    serverId: string;
    device?: string | undefined;
    bootIndex?: number | null | undefined;
    deleteOnTermination?: boolean | undefined;
  },
): Promise<void> {
  const { projectId, volumeId, serverId } = request;
  const server = await trx
    .selectFrom('cloud.server')
    .select(['kind', 'deleted_at'])
    .where('id', '=', serverId)
    .where('project_id', '=', projectId)
    .forUpdate()
    .executeTakeFirst();
  if (server === undefined || server.deleted_at !== null) throw new NeighbourError('NOT_FOUND', `server ${serverId}`);
  const volume = await lockVolume(trx, projectId, volumeId);
  if (volume.is_failed) throw new NeighbourError('WRONG_STATE', `disk ${volumeId}`);
  const attachments = await trx
    .selectFrom('cloud.volume_attachment')
    .selectAll()
    .where((eb) => eb.or([eb('volume_id', '=', volumeId), eb('server_id', '=', serverId)]))
    .execute();
  const present = attachments.find((row) => row.volume_id === volumeId && row.server_id === serverId);
  if (present !== undefined) {
    if (request.device !== undefined && request.device !== present.device)
      throw new NeighbourError('CONFLICT', `disk ${volumeId}, which is ${present.device} of server ${serverId}`);
    return;
  }
  if (!volume.shareable && attachments.some((row) => row.volume_id === volumeId))
    throw new NeighbourError('IN_USE', `disk ${volumeId}`);
  const taken = new Set(attachments.filter((row) => row.server_id === serverId).map(({ device }) => device));
  await trx
    .insertInto('cloud.volume_attachment')
    .values({
      volume_id: volumeId,
      server_id: serverId,
      device: request.device ?? nextDevice(server.kind, taken),
      boot_index: request.bootIndex ?? null,
      delete_on_termination: request.deleteOnTermination ?? false,
    })
    .execute();
}

function nextDevice(kind: 'ecs' | 'bms', taken: ReadonlySet<string>): string {
  for (const letter of 'abcdefghijklmnopqrstuvwxyz') {
    const device = `/dev/${kind === 'ecs' ? 'vd' : 'sd'}${letter}`;
    if (!taken.has(device)) return device;
  }
  throw new NeighbourError('IN_USE', 'every device name of the server');
}

function checkRequest(request: NewVolume): void {
  if (!Number.isInteger(request.sizeGib)) throw new NeighbourError('INVALID', `size ${request.sizeGib} GiB`);
  if ((request.name ?? '').length > MAX_NAME_LENGTH) throw new NeighbourError('INVALID', 'the name of a disk');
}

function checkSize(request: NewVolume, use: 'system' | 'data', source: Source): void {
  const { least, most } = SIZES[use];
  if (request.sizeGib < least || request.sizeGib > most) {
    throw new NeighbourError('WRONG_SIZE', `${use} disk of ${request.sizeGib} GiB, not ${least} to ${most}`);
  }
  if (request.sizeGib * GIB < source.sizeBytes) {
    throw new NeighbourError('WRONG_SIZE', `disk of ${request.sizeGib} GiB for a source of ${source.sizeBytes} bytes`);
  }
}

function snapshotOf(row: Selectable<Database['cloud.snapshot']>): Snapshot {
  return {
    id: row.id,
    projectId: row.project_id,
    volumeId: row.volume_id,
    serverId: row.server_id,
    sizeGib: row.size_gib,
    bootable: row.bootable,
    keyId: row.key_id,
    quiescedBy: row.quiesced_by,
    createdAt: row.created_at,
  };
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw new NeighbourError('NOT_FOUND', 'the disk file', { cause: error });
  }
}

async function fileSize(path: string): Promise<number> {
  const file = await openFile(path);
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

async function copyFileInto(path: string, layer: LayerFile): Promise<void> {
  const file = await openFile(path);
  try {
    const buffer = Buffer.alloc(COPY_BYTES);
    for (let at = 0; ;) {
      const { bytesRead } = await file.read(buffer, 0, COPY_BYTES, at);
      if (bytesRead === 0) break;
      for (let start = 0; start < bytesRead; start += GRANULE_BYTES) {
        const granule = buffer.subarray(start, Math.min(start + GRANULE_BYTES, bytesRead));
        if (isZero(granule)) continue;
        await layer.write(at + start, granule);
        layer.mark(at + start);
      }
      at += bytesRead;
    }
    await layer.flush();
  } finally {
    await file.close();
  }
}

function diskAt(held: readonly HeldDisk[], index: number): LayeredDisk {
  const found = held[index];
  if (found === undefined) throw new RangeError(`no disk ${index}`);
  return found.disk;
}

function fileAt(files: readonly LayerFile[], index: number): LayerFile {
  const found = files[index];
  if (found === undefined) throw new RangeError(`no layer ${index}`);
  return found;
}
