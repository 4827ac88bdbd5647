import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Clock, type Database, inTransaction, sqlState } from '@ims/db';
import { type Kysely, type Selectable, sql } from 'kysely';
import type {
  Backup,
  BackupsPort,
  BackupStatus,
  Checkpoint,
  DiskBackup,
  NewVault,
  Vault,
  VaultStatus,
} from '../backups.port';
import { type ByteRange, isZero, type LayeredDisk } from '../disk/layered-disk';
import type { LayerStore } from '../disk/layer-store';
import { NeighbourError } from '../neighbour.errors';
import { checkId, checkSameRequest, derivedId, GIB } from '../records';
import type { Server, ServerVolume } from '../servers.port';
import type { ImagingDisk, Snapshot, Volume } from '../volumes.port';
import { beginTaskIn, type EmbeddedServers, endTaskIn, storedFlavor } from './embedded-servers';
import type { EmbeddedVolumes } from './embedded-volumes';

// The unit of an increment, the same as a segment of the image store.
const BLOCK_BYTES = 2 * 1024 * 1024;
// A restore reads through this many increments at most; then a full backup starts the next chain.
const MAX_CHAIN = 16;
// The maps are looked at for so much at a time: 512 blocks, so that lists stay short however large the disk is.
const WALK_BYTES = 2 ** 30;
const DEFAULT_MEMBER_LIMIT = 100;
const BACKING_UP = 'backing-up';
const UNIQUE_VIOLATION = '23505';

interface CheckpointRequest {
  id: string;
  projectId: string;
  serverId: string;
  name: string;
  signal?: AbortSignal;
  onProgress?(bytesDone: number, bytesTotal: number): void;
}

type Line = 'CBR' | 'CSBS';

/** What one disk's copy came to. */
type DiskJob = CheckpointRequest & {
  vaultId: string | undefined;
  line: Line;
  snapshot: Snapshot;
  volume: ServerVolume;
};

/** The content of the backup that an increment stands on, and of what disk content that was a copy. */
interface ParentLayer {
  layer_id: string;
  source_layer_id: string;
}

interface CopiedDisk {
  bytesRead: number;
  bytesStored: number;
}

export interface EmbeddedBackupsOptions {
  db: Kysely<Database>;
  layers: LayerStore;
  servers: EmbeddedServers;
  volumes: EmbeddedVolumes;
  clock: Clock;
}

/** Backups as layers of 2 MiB blocks: each holds what differs from the backup it stands on, so a deleted one takes nothing from those above it. */
export class EmbeddedBackups implements BackupsPort {
  constructor(private readonly options: EmbeddedBackupsOptions) {}

  async createVault(request: NewVault): Promise<Vault> {
    checkId('vault id', request.id);
    if (!Number.isInteger(request.sizeGib) || request.sizeGib < 1)
      throw new NeighbourError('INVALID', `vault of ${request.sizeGib} GiB`);
    await this.options.db
      .insertInto('cloud.vault')
      .values({
        id: request.id,
        project_id: request.projectId,
        name: request.name,
        object_type: request.objectType,
        protect_type: request.protectType,
        status: 'available',
        size_gib: request.sizeGib,
        member_limit: request.memberLimit ?? DEFAULT_MEMBER_LIMIT,
        request: JSON.stringify(request),
        created_at: this.options.clock.now(),
      })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .execute();
    const { request: stored } = await this.options.db
      .selectFrom('cloud.vault')
      .select('request')
      .where('id', '=', request.id)
      .executeTakeFirstOrThrow();
    checkSameRequest(`vault ${request.id}`, stored, request);
    return this.requireVault(request.projectId, request.id);
  }

  async getVault(projectId: string, vaultId: string): Promise<Vault | undefined> {
    const [vault] = await this.readVaults(projectId, vaultId);
    return vault;
  }

  listVaults(projectId: string): Promise<Vault[]> {
    return this.readVaults(projectId);
  }

  async setVaultStatus(projectId: string, vaultId: string, status: VaultStatus): Promise<Vault> {
    await this.options.db
      .updateTable('cloud.vault')
      .set({ status })
      .where('id', '=', vaultId)
      .where('project_id', '=', projectId)
      .execute();
    return this.requireVault(projectId, vaultId);
  }

  async vaultOfServer(projectId: string, serverId: string): Promise<Vault | undefined> {
    const member = await this.options.db
      .selectFrom('cloud.vault_server')
      .select('vault_id')
      .where('server_id', '=', serverId)
      .executeTakeFirst();
    return member === undefined ? undefined : this.getVault(projectId, member.vault_id);
  }

  async addServer(request: { projectId: string; vaultId: string; serverId: string }): Promise<Vault> {
    const { projectId, vaultId, serverId } = request;
    const server = await this.requireServer(projectId, serverId);
    await inTransaction(this.options.db, async (trx) => {
      const vault = await trx
        .selectFrom('cloud.vault')
        .selectAll()
        .where('id', '=', vaultId)
        .where('project_id', '=', projectId)
        // Members are counted under this lock: two servers cannot both take the last place.
        .forUpdate()
        .executeTakeFirst();
      if (vault === undefined) throw new NeighbourError('NOT_FOUND', `vault ${vaultId}`);
      if (vault.object_type !== 'server' || vault.protect_type !== 'backup')
        throw new NeighbourError('VAULT_WRONG_KIND', `vault ${vaultId}`);
      if (vault.status !== 'available') throw new NeighbourError('VAULT_UNUSABLE', `vault ${vaultId}, ${vault.status}`);
      const present = await trx
        .selectFrom('cloud.vault_server')
        .select('vault_id')
        .where('server_id', '=', server.id)
        .executeTakeFirst();
      if (present?.vault_id === vaultId) return;
      if (present !== undefined)
        throw new NeighbourError('SERVER_IN_OTHER_VAULT', `server ${serverId}, in vault ${present.vault_id}`);
      const members = await trx
        .selectFrom('cloud.vault_server')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('vault_id', '=', vaultId)
        .executeTakeFirstOrThrow();
      if (members.count >= vault.member_limit) throw new NeighbourError('VAULT_MEMBER_LIMIT', `vault ${vaultId}`);
      await trx.insertInto('cloud.vault_server').values({ server_id: serverId, vault_id: vaultId }).execute();
    }).catch((error: unknown) => {
      // Somebody put it into another vault at the same moment.
      if (sqlState(error) !== UNIQUE_VIOLATION) throw error;
      throw new NeighbourError('SERVER_IN_OTHER_VAULT', `server ${serverId}`, { cause: error });
    });
    return this.requireVault(projectId, vaultId);
  }

  async removeServer(request: { projectId: string; vaultId: string; serverId: string }): Promise<void> {
    await this.requireVault(request.projectId, request.vaultId);
    await this.options.db
      .deleteFrom('cloud.vault_server')
      .where('server_id', '=', request.serverId)
      .where('vault_id', '=', request.vaultId)
      .execute();
  }

  async createCheckpoint(request: CheckpointRequest & { vaultId: string }): Promise<Checkpoint> {
    const { vaultId, ...rest } = request;
    const made = await this.protect(rest, 'CBR', vaultId);
    return { ...made, vaultId };
  }

  /** A backup of the retired line, as an older installation left it: made the same way, in no vault, read-only afterwards. */
  async recordCsbsItem(request: { id: string; projectId: string; serverId: string; name: string }): Promise<Backup> {
    const { backupId } = await this.protect(request, 'CSBS', undefined);
    return this.requireBackup(request.projectId, backupId);
  }

  async getCheckpoint(projectId: string, checkpointId: string): Promise<Checkpoint | undefined> {
    const row = await this.readCheckpoint(projectId, checkpointId);
    return row?.vault_id == null ? undefined : { ...checkpointOf(row), vaultId: row.vault_id };
  }

  async deleteCheckpoint(projectId: string, checkpointId: string): Promise<void> {
    const row = await this.readCheckpoint(projectId, checkpointId);
    if (row === undefined || row.status === 'deleted') return;
    await this.delete(projectId, row.backup_id);
    await this.options.db
      .updateTable('cloud.checkpoint')
      .set({ status: 'deleted' })
      .where('id', '=', checkpointId)
      .execute();
    // Of one that did not get to its end.
    await this.endProtection(projectId, row.server_id, checkpointId);
  }

  async get(projectId: string, backupId: string): Promise<Backup | undefined> {
    const [backup] = await this.readBackups(projectId, { backupId });
    return backup;
  }

  list(projectId: string, filter: { serverId?: string; checkpointId?: string; line?: Line } = {}): Promise<Backup[]> {
    return this.readBackups(projectId, filter);
  }

  async delete(projectId: string, backupId: string): Promise<void> {
    const layers = await inTransaction(this.options.db, async (trx) => {
      const row = await trx
        .selectFrom('cloud.backup')
        .selectAll()
        .where('id', '=', backupId)
        .where('project_id', '=', projectId)
        .forUpdate()
        .executeTakeFirst();
      if (row === undefined) return [];
      if (row.line === 'CSBS') throw new NeighbourError('INVALID', `backup ${backupId} of the retired line`);
      if (row.image_id !== null) throw new NeighbourError('IN_USE', `backup ${backupId}, from which an image was made`);
      const children = await trx
        .deleteFrom('cloud.disk_backup')
        .where('backup_id', '=', backupId)
        .returning('layer_id')
        .execute();
      await trx.deleteFrom('cloud.backup').where('id', '=', backupId).execute();
      return children.map(({ layer_id }) => layer_id);
    });
    for (const layer of layers) await this.options.layers.collect(layer);
  }

  async setStatus(projectId: string, backupId: string, status: BackupStatus): Promise<Backup> {
    await this.options.db
      .updateTable('cloud.backup')
      .set({ status })
      .where('id', '=', backupId)
      .where('project_id', '=', projectId)
      .execute();
    return this.requireBackup(projectId, backupId);
  }

  async claimForImage(request: { projectId: string; backupId: string; imageId: string }): Promise<Backup> {
    const { projectId, backupId, imageId } = request;
    const claimed = await this.options.db
      .updateTable('cloud.backup')
      .set({ image_id: imageId })
      .where('id', '=', backupId)
      .where('project_id', '=', projectId)
      .where('status', '=', 'available')
      .where((eb) => eb.or([eb('image_id', 'is', null), eb('image_id', '=', imageId)]))
      .returning('id')
      .executeTakeFirst();
    const backup = await this.requireBackup(projectId, backupId);
    if (claimed !== undefined) return backup;
    if (backup.imageId !== null && backup.imageId !== imageId)
      throw new NeighbourError('ALREADY_IMAGED', `backup ${backupId}`);
    throw new NeighbourError('WRONG_STATE', `backup ${backupId}, which is ${backup.status}`);
  }

  async releaseFromImage(request: { projectId: string; backupId: string; imageId: string }): Promise<void> {
    await this.options.db
      .updateTable('cloud.backup')
      .set({ image_id: null })
      .where('id', '=', request.backupId)
      .where('project_id', '=', request.projectId)
      .where('image_id', '=', request.imageId)
      .execute();
  }

  async restore(request: { projectId: string; diskBackupId: string; volumeId: string }): Promise<Volume> {
    const { projectId, diskBackupId, volumeId } = request;
    const child = await this.requireDiskBackup(projectId, diskBackupId);
    const volume = await this.options.volumes.get(projectId, volumeId);
    if (volume === undefined) throw new NeighbourError('NOT_FOUND', `disk ${volumeId}`);
    if (volume.sizeGib < child.size_gib)
      throw new NeighbourError('WRONG_SIZE', `disk of ${volume.sizeGib} GiB for a backup of ${child.size_gib} GiB`);
    for (const { serverId } of volume.attachments) {
      const server = await this.options.servers.get(projectId, serverId);
      if (server !== undefined && server.status !== 'SHUTOFF')
        throw new NeighbourError('WRONG_STATE', `disk ${volumeId} of server ${serverId}, which is not stopped`);
    }
    return this.options.volumes.replaceContent(projectId, volumeId, child.layer_id);
  }

  async openForImaging(projectId: string, diskBackupId: string): Promise<ImagingDisk> {
    const child = await this.requireDiskBackup(projectId, diskBackupId);
    if (child.status !== 'available') throw new NeighbourError('WRONG_STATE', `backup ${diskBackupId}`);
    return this.options.layers.openForImaging(child.layer_id);
  }

  private async protect(
    request: CheckpointRequest,
    line: Line,
    vaultId: string | undefined,
  ): Promise<Omit<Checkpoint, 'vaultId'>> {
    const { id, projectId, serverId, name, signal, onProgress } = request;
    checkId('checkpoint id', id);
    const asked = { projectId, serverId, name, line, vaultId };
    const present = await this.options.db
      .selectFrom('cloud.checkpoint')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst();
    if (present !== undefined) {
      checkSameRequest(`checkpoint ${id}`, present.request, asked);
      if (present.status === 'error') throw new NeighbourError('VAULT_FULL', `checkpoint ${id}`);
      if (present.status !== 'protecting') return checkpointOf(present);
    }
    const server = await this.requireServer(projectId, serverId);
    if (present === undefined) await this.begin(request, line, vaultId, server, asked);
    const snapshots = await this.options.volumes.snapshot({
      projectId,
      snapshotIdsByVolume: Object.fromEntries(
        server.volumes.map(({ volumeId }) => [volumeId, derivedId(id, `snapshot ${volumeId}`)]),
      ),
    });
    const bytesTotal = snapshots.reduce((sum, { sizeGib }) => sum + sizeGib * GIB, 0);
    let bytesBefore = 0;
    for (const snapshot of snapshots) {
      const volume = server.volumes.find(({ volumeId }) => volumeId === snapshot.volumeId);
      if (volume === undefined) throw new RangeError(`snapshot ${snapshot.id} is of no disk of its server`);
      const before = bytesBefore;
      const copied = await this.copyDisk({ ...request, vaultId, line, snapshot, volume }, (bytesDone) => {
        signal?.throwIfAborted();
        onProgress?.(before + bytesDone, bytesTotal);
      }).catch(async (error: unknown) => {
        if (error instanceof NeighbourError && error.refusal === 'VAULT_FULL') await this.fail(request, server);
        throw error;
      });
      bytesBefore += snapshot.sizeGib * GIB;
      if (copied !== undefined) await this.addMoved(id, copied);
    }
    await this.finish(request, snapshots);
    return checkpointOf(await this.requireCheckpoint(projectId, id));
  }

  private async begin(
    request: CheckpointRequest,
    line: Line,
    vaultId: string | undefined,
    server: Server,
    asked: object,
  ): Promise<void> {
    const { id, projectId, serverId, name } = request;
    if (server.status !== 'ACTIVE' && server.status !== 'SHUTOFF')
      throw new NeighbourError('WRONG_STATE', `server ${serverId}, which is ${server.status}`);
    if (server.resStatus === 'freeze') throw new NeighbourError('FROZEN', `server ${serverId}`);
    if (server.volumes.length === 0) throw new NeighbourError('WRONG_STATE', `server ${serverId} without disks`);
    if (vaultId !== undefined) await this.addServer({ projectId, vaultId, serverId });
    const backupId = line === 'CSBS' ? id : derivedId(id, 'backup');
    await inTransaction(this.options.db, async (trx) => {
      await beginTaskIn(trx, { projectId, serverId, task: BACKING_UP, holder: id });
      await trx
        .insertInto('cloud.checkpoint')
        .values({
          id,
          project_id: projectId,
          line,
          vault_id: vaultId ?? null,
          server_id: serverId,
          status: 'protecting',
          backup_id: backupId,
          quiesced_by: 'no-writer',
          request: JSON.stringify(asked),
          created_at: this.options.clock.now(),
        })
        .execute();
      await trx
        .insertInto('cloud.backup')
        .values({
          id: backupId,
          project_id: projectId,
          line,
          name,
          checkpoint_id: id,
          vault_id: vaultId ?? null,
          server_id: serverId,
          server_name: server.name,
          availability_zone: server.availabilityZone,
          status: 'protecting',
          created_at: this.options.clock.now(),
        })
        .execute();
    }).catch((error: unknown) => {
      if (sqlState(error) !== UNIQUE_VIOLATION) throw error;
      throw new NeighbourError('BUSY', `checkpoint ${id}, which another call is making`, { cause: error });
    });
  }

  /**
   * Stores one disk's increment; `undefined` when an earlier attempt has. The backup that it stands on may be deleted meanwhile, and with it what
   * the increment is one to: then it is made again, on the next older one or on none.
   */
  private async copyDisk(job: DiskJob, onProgress: (bytesDone: number) => void): Promise<CopiedDisk | undefined> {
    for (;;) {
      const parent = await this.parentOf(job);
      try {
        return await this.copyDiskOnto(parent, job, onProgress);
      } catch (error) {
        if (parent === undefined || (await this.hasLayer(parent.layer_id))) throw error;
      }
    }
  }

  private async hasLayer(id: string): Promise<boolean> {
    const row = await this.options.db
      .selectFrom('cloud.disk_layer')
      .select('id')
      .where('id', '=', id)
      .executeTakeFirst();
    return row !== undefined;
  }

  private async copyDiskOnto(
    parent: ParentLayer | undefined,
    job: DiskJob,
    onProgress: (bytesDone: number) => void,
  ): Promise<CopiedDisk | undefined> {
    const { db, layers, volumes } = this.options;
    const { snapshot, volume, projectId } = job;
    const childId = derivedId(job.id, `disk ${snapshot.volumeId}`);
    if (await this.hasDiskBackup(childId)) return undefined;
    const sourceLayerId = await volumes.layerOfSnapshot(projectId, snapshot.id);
    const roomBytes = job.vaultId === undefined ? Infinity : await this.roomOf(projectId, job.vaultId);
    const source = await layers.openDisk(sourceLayerId, 'r');
    let base: LayeredDisk | undefined;
    try {
      const deepest = parent === undefined ? undefined : await layers.openDisk(parent.layer_id, 'r');
      base = deepest;
      const isIncremental = parent !== undefined && deepest !== undefined && deepest.depth < MAX_CHAIN;
      const against = isIncremental ? { disk: deepest, copiedFrom: parent.source_layer_id } : undefined;
      if ((await knownChangeBytes(source, against)) > roomBytes)
        throw new NeighbourError('VAULT_FULL', `backup of disk ${snapshot.volumeId}`);
      const file = await layers.createFile(source.sizeBytes, BLOCK_BYTES);
      try {
        let bytesRead = 0;
        for await (const block of changedBlocks(source, against, onProgress)) {
          bytesRead += block.bytesRead;
          if (block.bytes === undefined) continue;
          if (file.heldBytes + BLOCK_BYTES > roomBytes)
            throw new NeighbourError('VAULT_FULL', `backup of disk ${snapshot.volumeId}`);
          await file.write(block.at, block.bytes);
          file.mark(block.at);
        }
        await file.flush();
        await inTransaction(db, async (trx) => {
          await layers.insert(trx, { file, baseLayerId: isIncremental ? parent.layer_id : undefined, sealed: true });
          await trx
            .insertInto('cloud.disk_backup')
            .values({
              id: childId,
              backup_id: (await this.requireCheckpoint(projectId, job.id)).backup_id,
              volume_id: snapshot.volumeId,
              size_gib: snapshot.sizeGib,
              device: volume.device,
              is_system_disk: volume.bootIndex === 0,
              bootable: snapshot.bootable,
              key_id: snapshot.keyId,
              is_incremental: isIncremental,
              stored_bytes: file.heldBytes,
              layer_id: file.geometry.id,
              source_layer_id: sourceLayerId,
            })
            .execute();
        });
        const bytesStored = file.heldBytes;
        await file.close();
        return { bytesRead, bytesStored };
      } catch (error) {
        await layers.discardFile(file);
        throw error;
      }
    } finally {
      await base?.close();
      await source.close();
    }
  }

  /** The newest finished backup of the same disk in the same vault. */
  private parentOf(job: {
    projectId: string;
    serverId: string;
    vaultId: string | undefined;
    line: Line;
    snapshot: Snapshot;
  }): Promise<ParentLayer | undefined> {
    let query = this.options.db
      .selectFrom('cloud.disk_backup as child')
      .innerJoin('cloud.backup as backup', 'backup.id', 'child.backup_id')
      .select(['child.layer_id', 'child.source_layer_id'])
      .where('backup.project_id', '=', job.projectId)
      .where('backup.server_id', '=', job.serverId)
      .where('backup.line', '=', job.line)
      .where('backup.status', '=', 'available')
      .where('child.volume_id', '=', job.snapshot.volumeId)
      .where('child.size_gib', '=', job.snapshot.sizeGib)
      .orderBy('backup.created_at', 'desc')
      .orderBy('backup.id')
      .limit(1);
    query =
      job.vaultId === undefined
        ? query.where('backup.vault_id', 'is', null)
        : query.where('backup.vault_id', '=', job.vaultId);
    return query.executeTakeFirst();
  }

  private async addMoved(checkpointId: string, { bytesRead, bytesStored }: CopiedDisk): Promise<void> {
    await this.options.db
      .updateTable('cloud.checkpoint')
      .set((eb) => ({
        bytes_read: eb('bytes_read', '+', bytesRead),
        bytes_stored: eb('bytes_stored', '+', bytesStored),
      }))
      .where('id', '=', checkpointId)
      .execute();
  }

  private async finish(request: CheckpointRequest, snapshots: readonly Snapshot[]): Promise<void> {
    const { id, projectId, serverId } = request;
    await inTransaction(this.options.db, async (trx) => {
      await trx
        .updateTable('cloud.checkpoint')
        .set({ status: 'available', quiesced_by: snapshots[0]?.quiescedBy ?? 'no-writer' })
        .where('id', '=', id)
        .execute();
      await trx.updateTable('cloud.backup').set({ status: 'available' }).where('checkpoint_id', '=', id).execute();
      await endTaskIn(trx, { projectId, serverId, holder: id });
    });
    await this.endProtection(projectId, serverId, id);
  }

  private async fail(request: CheckpointRequest, server: Server): Promise<void> {
    const { id, projectId } = request;
    const layers = await inTransaction(this.options.db, async (trx) => {
      const children = await trx
        .deleteFrom('cloud.disk_backup')
        .where('backup_id', 'in', (eb) => eb.selectFrom('cloud.backup').select('id').where('checkpoint_id', '=', id))
        .returning('layer_id')
        .execute();
      await trx.updateTable('cloud.checkpoint').set({ status: 'error' }).where('id', '=', id).execute();
      await trx.updateTable('cloud.backup').set({ status: 'error' }).where('checkpoint_id', '=', id).execute();
      return children.map(({ layer_id }) => layer_id);
    });
    for (const layer of layers) await this.options.layers.collect(layer);
    await this.endProtection(projectId, server.id, id);
  }

  /** Frees the server and removes the snapshots the backup was copied from. */
  private async endProtection(projectId: string, serverId: string, checkpointId: string): Promise<void> {
    await endTaskIn(this.options.db, { projectId, serverId, holder: checkpointId });
    const snapshots = await this.options.db
      .selectFrom('cloud.snapshot')
      .select(['id', 'volume_id'])
      .where('server_id', '=', serverId)
      .where('project_id', '=', projectId)
      .execute();
    for (const { id, volume_id } of snapshots) {
      if (id === derivedId(checkpointId, `snapshot ${volume_id}`))
        await this.options.volumes.deleteSnapshot(projectId, id);
    }
  }

  private async hasDiskBackup(id: string): Promise<boolean> {
    const row = await this.options.db
      .selectFrom('cloud.disk_backup')
      .select('id')
      .where('id', '=', id)
      .executeTakeFirst();
    return row !== undefined;
  }

  private async roomOf(projectId: string, vaultId: string): Promise<number> {
    const vault = await this.requireVault(projectId, vaultId);
    return vault.sizeGib * GIB - vault.usedBytes;
  }

  private async readCheckpoint(projectId: string, id: string): Promise<CheckpointRow | undefined> {
    return this.options.db
      .selectFrom('cloud.checkpoint')
      .selectAll()
      .where('id', '=', id)
      .where('project_id', '=', projectId)
      .executeTakeFirst();
  }

  private async requireCheckpoint(projectId: string, id: string): Promise<CheckpointRow> {
    const row = await this.readCheckpoint(projectId, id);
    if (row === undefined) throw new NeighbourError('NOT_FOUND', `checkpoint ${id}`);
    return row;
  }

  private async requireServer(projectId: string, serverId: string): Promise<Server> {
    const server = await this.options.servers.get(projectId, serverId);
    if (server === undefined) throw new NeighbourError('NOT_FOUND', `server ${serverId}`);
    return server;
  }

  private async requireVault(projectId: string, vaultId: string): Promise<Vault> {
    const vault = await this.getVault(projectId, vaultId);
    if (vault === undefined) throw new NeighbourError('NOT_FOUND', `vault ${vaultId}`);
    return vault;
  }

  private async requireBackup(projectId: string, backupId: string): Promise<Backup> {
    const backup = await this.get(projectId, backupId);
    if (backup === undefined) throw new NeighbourError('NOT_FOUND', `backup ${backupId}`);
    return backup;
  }

  private async requireDiskBackup(
    projectId: string,
    id: string,
  ): Promise<{ layer_id: string; size_gib: number; status: BackupStatus }> {
    const row = await this.options.db
      .selectFrom('cloud.disk_backup as child')
      .innerJoin('cloud.backup as backup', 'backup.id', 'child.backup_id')
      .select(['child.layer_id', 'child.size_gib', 'backup.status'])
      .where('child.id', '=', id)
      .where('backup.project_id', '=', projectId)
      .executeTakeFirst();
    if (row === undefined) throw new NeighbourError('NOT_FOUND', `backup ${id} of a disk`);
    return row;
  }

  private async readVaults(projectId: string, vaultId?: string): Promise<Vault[]> {
    let query = this.options.db
      .selectFrom('cloud.vault')
      .selectAll()
      .where('project_id', '=', projectId)
      .orderBy('created_at')
      .orderBy('id');
    if (vaultId !== undefined) query = query.where('id', '=', vaultId);
    const vaults: Vault[] = [];
    for (const row of await query.execute()) {
      const members = await this.options.db
        .selectFrom('cloud.vault_server')
        .select('server_id')
        .where('vault_id', '=', row.id)
        .orderBy('server_id')
        .execute();
      vaults.push({
        id: row.id,
        projectId: row.project_id,
        name: row.name,
        objectType: row.object_type,
        protectType: row.protect_type,
        sizeGib: row.size_gib,
        memberLimit: row.member_limit,
        status: row.status,
        usedBytes: await this.usedBytes(row.id),
        serverIds: members.map(({ server_id }) => server_id),
        createdAt: row.created_at,
      });
    }
    return vaults;
  }

  /** Bytes of all layers that the vault's backups stand on, each once: also what a deleted backup left below those that need it. */
  private async usedBytes(vaultId: string): Promise<number> {
    const { rows } = await sql<{ bytes: string }>`
      with recursive needed as (
        select l.id, l.base_layer_id, l.held_bytes from cloud.disk_layer l
          join cloud.disk_backup d on d.layer_id = l.id join cloud.backup b on b.id = d.backup_id
          where b.vault_id = ${vaultId}
        union
        select l.id, l.base_layer_id, l.held_bytes from cloud.disk_layer l join needed n on l.id = n.base_layer_id
      )
      select coalesce(sum(held_bytes), 0)::text as bytes from needed`.execute(this.options.db);
    return Number(rows[0]?.bytes ?? 0);
  }

  private async readBackups(
    projectId: string,
    filter: { backupId?: string; serverId?: string; checkpointId?: string; line?: Line },
  ): Promise<Backup[]> {
    let query = this.options.db
      .selectFrom('cloud.backup as backup')
      // Records of servers outlive them.
      .innerJoin('cloud.server as server', 'server.id', 'backup.server_id')
      .selectAll('backup')
      .select(['server.flavor', 'server.image_id as server_image_id'])
      .where('backup.project_id', '=', projectId)
      .orderBy('backup.created_at')
      .orderBy('backup.id');
    if (filter.backupId !== undefined) query = query.where('backup.id', '=', filter.backupId);
    if (filter.serverId !== undefined) query = query.where('backup.server_id', '=', filter.serverId);
    if (filter.checkpointId !== undefined) query = query.where('backup.checkpoint_id', '=', filter.checkpointId);
    if (filter.line !== undefined) query = query.where('backup.line', '=', filter.line);
    const rows = await query.execute();
    if (rows.length === 0) return [];
    const children = await this.options.db
      .selectFrom('cloud.disk_backup')
      .selectAll()
      .where(
        'backup_id',
        'in',
        rows.map(({ id }) => id),
      )
      .orderBy('device')
      .execute();
    return rows.map((row) => {
      const own = children
        .filter(({ backup_id }) => backup_id === row.id)
        .map((child) => diskBackupOf(child, row.status));
      return {
        id: row.id,
        projectId: row.project_id,
        line: row.line,
        name: row.name,
        checkpointId: row.checkpoint_id,
        vaultId: row.vault_id,
        serverId: row.server_id,
        serverName: row.server_name,
        architecture: storedFlavor.parse(row.flavor).architecture,
        serverImageId: row.server_image_id,
        availabilityZone: row.availability_zone,
        status: row.status,
        containsSystemDisk: own.some(({ isSystemDisk }) => isSystemDisk),
        imageId: row.image_id,
        sharedFromProjectId: row.shared_from_project_id,
        sizeGib: own.reduce((sum, { sizeGib }) => sum + sizeGib, 0),
        children: own,
        createdAt: row.created_at,
      };
    });
  }
}

type CheckpointRow = Selectable<Database['cloud.checkpoint']>;

function checkpointOf(row: CheckpointRow): Omit<Checkpoint, 'vaultId'> {
  return {
    id: row.id,
    projectId: row.project_id,
    serverId: row.server_id,
    status: row.status,
    backupId: row.backup_id,
    quiescedBy: row.quiesced_by,
    bytesStored: row.bytes_stored,
    bytesRead: row.bytes_read,
    createdAt: row.created_at,
  };
}

function diskBackupOf(row: Selectable<Database['cloud.disk_backup']>, status: BackupStatus): DiskBackup {
  return {
    id: row.id,
    volumeId: row.volume_id,
    sizeGib: row.size_gib,
    status,
    device: row.device,
    isSystemDisk: row.is_system_disk,
    bootable: row.bootable,
    keyId: row.key_id,
    isIncremental: row.is_incremental,
    storedBytes: row.stored_bytes,
  };
}

interface BackedUp {
  disk: LayeredDisk;
  copiedFrom: string;
}

/**
 * Blocks of `source` that differ from the backup `against` (from zeros without one). `bytes` is absent for blocks that were read and are equal.
 */
async function* changedBlocks(
  source: LayeredDisk,
  against: BackedUp | undefined,
  onProgress: (bytesDone: number) => void,
): AsyncIterable<{ at: number; bytesRead: number; bytes?: Uint8Array }> {
  const old = new Uint8Array(BLOCK_BYTES);
  for (let from = 0; from < source.sizeBytes; from += WALK_BYTES) {
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
