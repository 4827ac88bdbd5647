import { type Clock, type Database, inTransaction, sqlState } from '@ims/db';
import type { Kysely, Selectable } from 'kysely';
import { z } from 'zod';
import type {
  Backup,
  BackupsPort,
  BackupStatus,
  Checkpoint,
  CopiedDisk,
  DiskBackup,
  Moment,
  NewVault,
  QuiescedDisk,
  ReplicaRequest,
  Vault,
  VaultStatus,
} from '../backups.port';
import type { ByteRange } from '../disk/layered-disk';
import type { LayerStore } from '../disk/layer-store';
import { NeighbourError } from '../neighbour.errors';
import { checkId, checkSameRequest, derivedId, GIB } from '../records';
import type { Server } from '../servers.port';
import type { ImagingDisk, Volume } from '../volumes.port';
import { changesSince, DiskCopier, diskBackupId, usedBytes } from './disk-copier';
import { beginTaskIn, type EmbeddedServers, endTaskIn, storedFlavor } from './embedded-servers';
import type { EmbeddedVolumes } from './embedded-volumes';
import { recordReplica } from './replica-backup';

const DEFAULT_MEMBER_LIMIT = 100;
const BACKING_UP = 'backing-up';
const UNIQUE_VIOLATION = '23505';

/** As the port's, without a vault for the retired line. */
interface ProtectRequest {
  id: string;
  projectId: string;
  serverId: string;
  name: string;
  signal?: AbortSignal;
  onProgress?(bytesDone: number, bytesTotal: number): void;
}

type Line = 'CBR' | 'CSBS';

interface CopiesOfCheckpoint {
  /** Calls under way. */
  count: number;
  /** By disk, also of those that are done: bytes of it that have been gone over. */
  bytes: Map<string, number>;
}

const quiescedDisks = z.array(
  z.object({ volumeId: z.string(), device: z.string(), isSystemDisk: z.boolean(), sizeGib: z.number() }),
);

export interface EmbeddedBackupsOptions {
  db: Kysely<Database>;
  layers: LayerStore;
  servers: EmbeddedServers;
  volumes: EmbeddedVolumes;
  clock: Clock;
}

/** Backups as layers of 2 MiB blocks: each holds what differs from the backup it stands on, so a deleted one takes nothing from those above it. */
export class EmbeddedBackups implements BackupsPort {
  private readonly copier: DiskCopier;
  /** Checkpoints of which disks are being copied. */
  private readonly copying = new Map<string, CopiesOfCheckpoint>();

  constructor(private readonly options: EmbeddedBackupsOptions) {
    const { db, layers, volumes } = options;
    this.copier = new DiskCopier({
      db,
      layers,
      layerOfSnapshot: (projectId, snapshotId) => volumes.layerOfSnapshot(projectId, snapshotId),
    });
  }

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

  async createCheckpoint(request: ProtectRequest & { vaultId: string }): Promise<Checkpoint> {
    const { vaultId, ...rest } = request;
    const made = await this.protect(rest, 'CBR', vaultId);
    return { ...made, vaultId };
  }

  beginCheckpoint({ vaultId, ...request }: ProtectRequest & { vaultId: string }): Promise<Moment> {
    return this.begin(request, 'CBR', vaultId);
  }

  async copyDisk(request: {
    projectId: string;
    checkpointId: string;
    volumeId: string;
    signal?: AbortSignal;
    onProgress?(bytesDone: number, bytesTotal: number): void;
  }): Promise<CopiedDisk> {
    const { projectId, checkpointId, volumeId, signal, onProgress } = request;
    const row = await this.requireCheckpoint(projectId, checkpointId);
    const disks = quiescedDisks.parse(row.disks);
    const disk = disks.find((each) => each.volumeId === volumeId);
    if (disk === undefined) throw new NeighbourError('NOT_FOUND', `disk ${volumeId} of checkpoint ${checkpointId}`);
    if (row.status === 'error') throw new NeighbourError('VAULT_FULL', `checkpoint ${checkpointId}`);
    const snapshot = await this.options.volumes.getSnapshot(projectId, snapshotIdOf(checkpointId, volumeId));
    // Released after the copy was made, which is told again; without it there is nothing to copy.
    if (snapshot === undefined && !(await this.hasDiskBackup(diskBackupId(checkpointId, volumeId))))
      throw new NeighbourError('WRONG_STATE', `checkpoint ${checkpointId}, whose moment has been let go`);
    const done = await this.doneBytes(checkpointId);
    const copies = this.copying.get(checkpointId) ?? { count: 0, bytes: new Map<string, number>() };
    this.copying.set(checkpointId, copies);
    copies.count += 1;
    try {
      return await this.copier.copy({
        checkpointId,
        backupId: row.backup_id,
        projectId,
        serverId: row.server_id,
        vaultId: row.vault_id ?? undefined,
        line: row.line === 'CSBS' ? 'CSBS' : 'CBR',
        disk,
        snapshot,
        signal,
        onProgress: (bytesDone) => {
          copies.bytes.set(volumeId, bytesDone);
          // Complete ones count whole, the others as far as they have come.
          const bytesOf = (id: string): number => copies.bytes.get(id) ?? done.get(id) ?? 0;
          onProgress?.(
            disks.reduce((sum, each) => sum + bytesOf(each.volumeId), 0),
            disks.reduce((sum, { sizeGib }) => sum + sizeGib * GIB, 0),
          );
        },
      });
    } finally {
      // One that has ended still counts for those beside it.
      copies.count -= 1;
      if (copies.count === 0) this.copying.delete(checkpointId);
    }
  }

  async sealCheckpoint(projectId: string, checkpointId: string): Promise<Checkpoint> {
    const { db } = this.options;
    await inTransaction(db, async (trx) => {
      const row = await trx
        .selectFrom('cloud.checkpoint')
        .selectAll()
        .where('id', '=', checkpointId)
        .where('project_id', '=', projectId)
        .forUpdate()
        .executeTakeFirst();
      if (row === undefined) throw new NeighbourError('NOT_FOUND', `checkpoint ${checkpointId}`);
      if (row.status === 'available') return;
      if (row.status !== 'protecting')
        throw new NeighbourError('WRONG_STATE', `checkpoint ${checkpointId}, which is ${row.status}`);
      const copied = await trx
        .selectFrom('cloud.disk_backup')
        .select(['volume_id', 'bytes_read', 'stored_bytes'])
        .where('backup_id', '=', row.backup_id)
        .execute();
      const missing = quiescedDisks
        .parse(row.disks)
        .find(({ volumeId }) => !copied.some(({ volume_id }) => volume_id === volumeId));
      if (missing !== undefined)
        throw new NeighbourError('WRONG_STATE', `checkpoint ${checkpointId} without disk ${missing.volumeId}`);
      const total = (of: 'bytes_read' | 'stored_bytes'): number => copied.reduce((sum, disk) => sum + disk[of], 0);
      await trx
        .updateTable('cloud.checkpoint')
        .set({ status: 'available', bytes_read: total('bytes_read'), bytes_stored: total('stored_bytes') })
        .where('id', '=', checkpointId)
        .execute();
      await trx.updateTable('cloud.backup').set({ status: 'available' }).where('id', '=', row.backup_id).execute();
      await endTaskIn(trx, { projectId, serverId: row.server_id, holder: checkpointId });
    });
    const row = await this.requireCheckpoint(projectId, checkpointId);
    return { ...checkpointOf(row), vaultId: row.vault_id ?? '' };
  }

  async releaseMoment(projectId: string, checkpointId: string): Promise<void> {
    const row = await this.readCheckpoint(projectId, checkpointId);
    if (row !== undefined) await this.dropSnapshots(projectId, row.server_id, checkpointId);
  }

  async dropDisks(projectId: string, checkpointId: string): Promise<void> {
    const layers = await inTransaction(this.options.db, async (trx) => {
      const row = await trx
        .selectFrom('cloud.checkpoint')
        .select(['status', 'backup_id'])
        .where('id', '=', checkpointId)
        .where('project_id', '=', projectId)
        .forUpdate()
        .executeTakeFirst();
      if (row === undefined || row.status === 'available') return [];
      return trx.deleteFrom('cloud.disk_backup').where('backup_id', '=', row.backup_id).returning('layer_id').execute();
    });
    for (const { layer_id } of layers) await this.options.layers.collect(layer_id);
    await this.copier.discard(checkpointId);
  }

  async changedSince(request: {
    projectId: string;
    diskBackupId: string;
    earlierDiskBackupId: string;
  }): Promise<ByteRange[] | undefined> {
    const later = await this.requireDiskBackup(request.projectId, request.diskBackupId);
    const earlier = await this.requireDiskBackup(request.projectId, request.earlierDiskBackupId);
    if (later.size_gib !== earlier.size_gib) return undefined;
    const disk = await this.options.layers.openDisk(later.layer_id, 'r');
    try {
      return await changesSince(disk, earlier.layer_id);
    } finally {
      await disk.close();
    }
  }

  /** A backup of the retired line, as an older installation left it: made the same way, in no vault, read-only afterwards. */
  async recordCsbsItem(request: { id: string; projectId: string; serverId: string; name: string }): Promise<Backup> {
    const { backupId } = await this.protect(request, 'CSBS', undefined);
    return this.requireBackup(request.projectId, backupId);
  }

  async createReplica(request: ReplicaRequest): Promise<Backup> {
    const { projectId, vaultId, imageId, backup } = request;
    const present = await this.get(projectId, backup.backupId);
    if (present !== undefined) {
      if (present.imageId === imageId) return present;
      throw new NeighbourError('ALREADY_IMAGED', `backup ${backup.backupId}, which is here already`);
    }
    try {
      await recordReplica(this.options, await this.requireVault(projectId, vaultId), request);
    } catch (error) {
      if (sqlState(error) !== UNIQUE_VIOLATION) throw error;
      throw new NeighbourError('ALREADY_IMAGED', `backup ${backup.backupId}, which is here already`, { cause: error });
    }
    return this.requireBackup(projectId, backup.backupId);
  }

  async isInRegion(backupId: string): Promise<boolean> {
    const row = await this.options.db
      .selectFrom('cloud.backup')
      .select('id')
      .where('id', '=', backupId)
      .executeTakeFirst();
    return row !== undefined;
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
    await this.copier.discard(checkpointId);
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
    request: ProtectRequest,
    line: Line,
    vaultId: string | undefined,
  ): Promise<Omit<Checkpoint, 'vaultId'>> {
    const { id, projectId, signal, onProgress } = request;
    const present = await this.readCheckpoint(projectId, id);
    if (present?.status === 'available' || present?.status === 'deleted') {
      checkSameRequest(`checkpoint ${id}`, present.request, askedOf(request, line, vaultId));
      return checkpointOf(present);
    }
    const { disks } = await this.begin(request, line, vaultId);
    for (const { volumeId } of disks) {
      await this.copyDisk({
        projectId,
        checkpointId: id,
        volumeId,
        ...(signal === undefined ? {} : { signal }),
        ...(onProgress === undefined ? {} : { onProgress }),
      }).catch(async (error: unknown) => {
        if (error instanceof NeighbourError && error.refusal === 'VAULT_FULL') await this.fail(request);
        throw error;
      });
    }
    await this.sealCheckpoint(projectId, id);
    await this.releaseMoment(projectId, id);
    return checkpointOf(await this.requireCheckpoint(projectId, id));
  }

  private async begin(request: ProtectRequest, line: Line, vaultId: string | undefined): Promise<Moment> {
    const { id, projectId, serverId } = request;
    checkId('checkpoint id', id);
    const asked = askedOf(request, line, vaultId);
    const present = await this.options.db
      .selectFrom('cloud.checkpoint')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst();
    if (present !== undefined) checkSameRequest(`checkpoint ${id}`, present.request, asked);
    if (present?.status === 'error') throw new NeighbourError('VAULT_FULL', `checkpoint ${id}`);
    if (present?.status === 'deleted') throw new NeighbourError('WRONG_STATE', `checkpoint ${id}, which is deleted`);
    if (present === undefined) await this.insert(request, line, vaultId, asked);
    // Asked again after it was sealed: its moment may have been let go, and is told all the same.
    if (present?.status === 'available') return momentOf(present);
    const row = await this.requireCheckpoint(projectId, id);
    const planned = quiescedDisks.parse(row.disks);
    const disks = planned.length > 0 ? planned : disksOf(await this.requireServer(projectId, serverId));
    const snapshots = await this.options.volumes.snapshot({
      projectId,
      snapshotIdsByVolume: Object.fromEntries(disks.map(({ volumeId }) => [volumeId, snapshotIdOf(id, volumeId)])),
    });
    const frozen = disks.map((disk) => ({
      ...disk,
      sizeGib: snapshots.find(({ volumeId }) => volumeId === disk.volumeId)?.sizeGib ?? disk.sizeGib,
    }));
    await this.options.db
      .updateTable('cloud.checkpoint')
      .set({ quiesced_by: snapshots[0]?.quiescedBy ?? 'no-writer', disks: JSON.stringify(frozen) })
      .where('id', '=', id)
      .where('status', '=', 'protecting')
      .execute();
    return momentOf(await this.requireCheckpoint(projectId, id));
  }

  private async insert(request: ProtectRequest, line: Line, vaultId: string | undefined, asked: object): Promise<void> {
    const { id, projectId, serverId, name } = request;
    const server = await this.requireServer(projectId, serverId);
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
          // A disk that is attached after this moment is not of it.
          disks: JSON.stringify(disksOf(server)),
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

  private async doneBytes(checkpointId: string): Promise<Map<string, number>> {
    const rows = await this.options.db
      .selectFrom('cloud.disk_backup as child')
      .innerJoin('cloud.backup as backup', 'backup.id', 'child.backup_id')
      .select(['child.volume_id', 'child.size_gib'])
      .where('backup.checkpoint_id', '=', checkpointId)
      .execute();
    return new Map(rows.map(({ volume_id, size_gib }) => [volume_id, size_gib * GIB]));
  }

  private async fail(request: ProtectRequest): Promise<void> {
    const { id, projectId, serverId } = request;
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
    await this.copier.discard(id);
    await this.endProtection(projectId, serverId, id);
  }

  /** Frees the server and removes the snapshots the backup was copied from. */
  private async endProtection(projectId: string, serverId: string, checkpointId: string): Promise<void> {
    await endTaskIn(this.options.db, { projectId, serverId, holder: checkpointId });
    await this.dropSnapshots(projectId, serverId, checkpointId);
  }

  private async dropSnapshots(projectId: string, serverId: string, checkpointId: string): Promise<void> {
    const snapshots = await this.options.db
      .selectFrom('cloud.snapshot')
      .select(['id', 'volume_id'])
      .where('server_id', '=', serverId)
      .where('project_id', '=', projectId)
      .execute();
    for (const { id, volume_id } of snapshots) {
      if (id === snapshotIdOf(checkpointId, volume_id)) await this.options.volumes.deleteSnapshot(projectId, id);
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
        usedBytes: await usedBytes(this.options.db, row.id),
        serverIds: members.map(({ server_id }) => server_id),
        createdAt: row.created_at,
      });
    }
    return vaults;
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

const snapshotIdOf = (checkpointId: string, volumeId: string): string =>
  derivedId(checkpointId, `snapshot ${volumeId}`);

const askedOf = ({ projectId, serverId, name }: ProtectRequest, line: Line, vaultId: string | undefined) => ({
  projectId,
  serverId,
  name,
  line,
  vaultId,
});

const disksOf = (server: Server): QuiescedDisk[] =>
  server.volumes
    .map(({ volumeId, device, bootIndex }) => ({ volumeId, device, isSystemDisk: bootIndex === 0, sizeGib: 0 }))
    .toSorted((a, b) => (a.device < b.device ? -1 : 1));

const momentOf = (row: CheckpointRow): Moment => ({
  checkpointId: row.id,
  backupId: row.backup_id,
  quiescedBy: row.quiesced_by,
  disks: quiescedDisks.parse(row.disks),
});

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
