import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import {
  type BackupAnswer,
  type BackupList,
  type CheckpointAnswer,
  checkpointJobId,
  type CheckpointItemAnswer,
  type CreateCheckpointRequest,
  type CreateVaultRequest,
  type ErrorCode,
  ImsError,
  isJobId,
  type ListBackupsQuery,
  type VaultAnswer,
  type VaultList,
} from '@ims/contract';
import { ImagesRepository, type JobRow, JobsRepository } from '@ims/db';
import { decideBackUpServer } from '@ims/domain';
import {
  type Backup,
  backupGibOf,
  checkpointRefusalOf,
  freeBackup,
  lookAtServerToBackUp,
  NeighbourError,
  refuseBackupDeletion,
  type Vault,
} from '@ims/neighbours';
import type { Call } from '../access/permits';
import type { SourceCloud } from '../app-parts';
import { CLOUD } from '../http/injection-tokens';
import { backupTime } from '../http/wire-time';
import { CloudJobs } from '../servers/cloud-jobs';
import { BackupCharges } from '../usage/backup-charges';
import { type ProtectStatus, type ShownBackup, toBackup, toCheckpointItem, toResource, toVault } from './backup.wire';

const NOT_FOUND = 404;
const CONFLICT = 409;
const GIB = 2 ** 30;
// Page of a list without a `limit` (backends E1).
const DEFAULT_LIMIT = 1000;

/** What a server cannot be backed up for, in the words of the backup service. */
const CODES: Readonly<Partial<Record<ErrorCode, ErrorCode>>> = {
  'IMG.0137': 'BackupService.6302',
  'IMG.0184': 'BackupService.6105',
  'IMG.0193': 'BackupService.6102',
  'IMG.0183': 'BackupService.6103',
  'IMG.0185': 'BackupService.6100',
  'IMG.0188': 'BackupService.6500',
};

/** Backups of servers, vaults and checkpoints as clients of images call them (backends E1, E2). */
@Injectable()
export class BackupsService {
  constructor(
    @Inject(CLOUD) private readonly cloud: SourceCloud,
    private readonly images: ImagesRepository,
    private readonly jobs: JobsRepository,
    private readonly cloudJobs: CloudJobs,
    private readonly charges: BackupCharges,
  ) {}

  async list({ projectId }: Call, query: ListBackupsQuery): Promise<BackupList> {
    const { limit = DEFAULT_LIMIT, offset = 0 } = query;
    const found = await this.cloud.backups.list(projectId, {
      line: 'CBR',
      ...(query.resource_id === undefined ? {} : { serverId: query.resource_id }),
      ...(query.checkpoint_id === undefined ? {} : { checkpointId: query.checkpoint_id }),
    });
    const isWanted = ({ vaultId, status, name }: Backup): boolean =>
      (query.vault_id === undefined || vaultId === query.vault_id) &&
      (query.status === undefined || status === query.status) &&
      (query.name === undefined || name.includes(query.name)) &&
      // Copies from other regions have another type; there are none.
      (query.image_type === undefined || query.image_type === 'backup');
    const wanted = found.filter(isWanted);
    const page = await Promise.all(wanted.slice(offset, offset + limit).map((backup) => this.#shown(backup)));
    return { backups: page.map(toBackup), count: wanted.length, limit, offset };
  }

  async show({ projectId }: Call, id: string): Promise<BackupAnswer> {
    return { backup: toBackup(await this.#shown(await this.#backup(projectId, id, 'CBR'))) };
  }

  async showCsbs({ projectId }: Call, id: string): Promise<CheckpointItemAnswer> {
    return toCheckpointItem(await this.#shown(await this.#backup(projectId, id, 'CSBS')));
  }

  /** @throws ImsError BackupService.6302 (404); BackupService.6500 (409) while an image was made from it or something is done with it */
  async remove(caller: Call, id: string): Promise<void> {
    const { projectId } = caller;
    // A deletion that died on its way, and the worker has not come round to the charge yet.
    if ((await this.cloud.backups.get(projectId, id)) === undefined) await this.charges.end(caller, id);
    await this.#backup(projectId, id, 'CBR');
    const backup = await freeBackup(this.cloud.backups, this.images, { projectId, backupId: id });
    const refusal = refuseBackupDeletion(backup);
    if (refusal !== undefined) throw new ImsError('BackupService.6500', refusal.detail, CONFLICT);
    try {
      await this.cloud.backups.delete(projectId, id);
    } catch (error) {
      if (!(error instanceof NeighbourError)) throw error;
      throw new ImsError('BackupService.6500', error.message, CONFLICT);
    }
    await this.charges.end(caller, id);
  }

  async createVault({ projectId }: Call, { vault: request }: CreateVaultRequest): Promise<VaultAnswer> {
    const { name, billing, resources = [] } = request;
    const id = randomUUID();
    const { backups, servers } = this.cloud;
    // Looked at before the vault is made: nobody wants one that lacks what it was for.
    for (const { id: serverId } of resources) {
      if ((await servers.get(projectId, serverId)) === undefined)
        throw new ImsError('BackupService.6302', `there is no server ${serverId}`, NOT_FOUND);
      if ((await backups.vaultOfServer(projectId, serverId)) !== undefined)
        throw new ImsError('BackupService.6103', serverId);
    }
    if (resources.length > 0 && (billing.object_type !== 'server' || billing.protect_type !== 'backup'))
      throw new ImsError('BackupService.6102');
    await backups.createVault({
      id,
      projectId,
      name,
      objectType: billing.object_type,
      protectType: billing.protect_type,
      sizeGib: billing.size,
    });
    for (const { id: serverId } of resources) {
      await refusedByService(() => backups.addServer({ projectId, vaultId: id, serverId }));
    }
    return { vault: await this.#vaultDocument(await this.#vault(projectId, id)) };
  }

  async listVaults({ projectId }: Call): Promise<VaultList> {
    const vaults = await this.cloud.backups.listVaults(projectId);
    return { vaults: await Promise.all(vaults.map((vault) => this.#vaultDocument(vault))), count: vaults.length };
  }

  async showVault({ projectId }: Call, id: string): Promise<VaultAnswer> {
    return { vault: await this.#vaultDocument(await this.#vault(projectId, id)) };
  }

  /** Accepts the backup of one server; its job copies the disks. */
  async createCheckpoint(caller: Call, { checkpoint: request }: CreateCheckpointRequest): Promise<CheckpointAnswer> {
    const { projectId } = caller;
    const { vault_id: vaultId, parameters = {} } = request;
    const vault = await this.#vault(projectId, vaultId);
    const asked = parameters.resources ?? parameters.resource_details?.map(({ id }) => id) ?? vault.serverIds;
    const [serverId, ...others] = [...new Set(asked)];
    if (serverId === undefined) throw new ImsError('BackupService.0001', 'the vault has no server');
    if (others.length > 0) throw new ImsError('BackupService.6500', 'name one server in resources');
    const looked = await lookAtServerToBackUp(this.cloud, { projectId, serverId, vaultId, isForImage: false });
    if (looked.refusal !== undefined) throw inWordsOfService(looked.refusal.code, looked.refusal.detail);
    const checkpointId = randomUUID();
    const name = parameters.name ?? `manualbk_${checkpointId.slice(0, 4)}`;
    const decided = decideBackUpServer({ projectId, checkpointId, vaultId, serverId, name });
    const foreseen = { bytes: GIB * backupGibOf(looked.found.disks) };
    // What it looks like is asked for when it is there.
    const accepted = { ...decided, foreseen, answer: null };
    await this.cloudJobs.accept(caller, accepted, 'serverBackup', `Back up server ${serverId}`);
    return this.showCheckpoint(caller, checkpointId);
  }

  /** What its job knows from the first moment on, and what has become of it. */
  async showCheckpoint({ projectId }: Call, id: string): Promise<CheckpointAnswer> {
    const made = await this.cloud.backups.getCheckpoint(projectId, id);
    const job = await this.#jobOf(projectId, id);
    const facts =
      made === undefined
        ? acceptedOf(job)
        : { vaultId: made.vaultId, serverId: made.serverId, createdAt: made.createdAt, name: undefined };
    if (facts === undefined) throw new ImsError('BackupService.6302', 'there is no such checkpoint', NOT_FOUND);
    const status = statusOf(job, made?.status);
    const vault = await this.cloud.backups.getVault(projectId, facts.vaultId);
    const [backup] = await this.cloud.backups.list(projectId, { checkpointId: id });
    const server = await this.#named(projectId, facts.serverId);
    return {
      checkpoint: {
        id,
        status,
        project_id: projectId,
        created_at: backupTime(facts.createdAt),
        vault: {
          id: facts.vaultId,
          name: vault?.name ?? '',
          resources: [toResource(server, status)],
          skipped_resources: [],
        },
        extra_info: { name: backup?.name ?? acceptedOf(job)?.name ?? '', description: '' },
      },
    };
  }

  async #jobOf(projectId: string, checkpointId: string): Promise<JobRow | undefined> {
    const id = checkpointId.replaceAll('-', '');
    // Ids of checkpoints that no job of ours made need not look like UUIDs.
    if (!isJobId(id)) return undefined;
    const job = await this.jobs.find(projectId, checkpointJobId(checkpointId));
    return job?.saga === 'server-backup' ? job : undefined;
  }

  async #backup(projectId: string, id: string, line: Backup['line']): Promise<Backup> {
    const backup = await this.cloud.backups.get(projectId, id);
    if (backup?.line !== line) throw new ImsError('BackupService.6302', 'there is no such backup', NOT_FOUND);
    return backup;
  }

  /** The claim of an image that is no more does not count, also when nobody has ended it yet. */
  async #shown(backup: Backup): Promise<ShownBackup> {
    const { projectId, imageId } = backup;
    const isGone = imageId !== null && (await this.images.isGone(projectId, imageId));
    return { backup, imageId: isGone ? null : imageId };
  }

  async #vault(projectId: string, id: string): Promise<Vault> {
    const vault = await this.cloud.backups.getVault(projectId, id);
    if (vault === undefined) throw new ImsError('BackupService.6105', undefined, NOT_FOUND);
    return vault;
  }

  async #vaultDocument(vault: Vault) {
    const { projectId, serverIds } = vault;
    return toVault(vault, await Promise.all(serverIds.map((id) => this.#named(projectId, id))));
  }

  async #named(projectId: string, serverId: string): Promise<{ id: string; name: string }> {
    const server = await this.cloud.servers.get(projectId, serverId);
    return { id: serverId, name: server?.name ?? '' };
  }
}

/** The job decides about a checkpoint that came to nothing: what was begun of it has been removed. */
function statusOf(job: JobRow | undefined, status: ProtectStatus | undefined): ProtectStatus {
  if (job?.outcome === 'failed' || job?.outcome === 'cancelled') return 'error';
  if (job !== undefined && job.outcome === null) return 'protecting';
  return status ?? 'protecting';
}

/** What a job was asked for, as the decider wrote it down. */
function acceptedOf(job: JobRow | undefined) {
  const request: unknown = job?.request;
  if (job === undefined || typeof request !== 'object' || request === null) return undefined;
  if (!('vault_id' in request) || !('server_id' in request)) return undefined;
  return {
    vaultId: String(request.vault_id),
    serverId: String(request.server_id),
    createdAt: job.begin_at,
    name: job.image_name,
  };
}

const inWordsOfService = (code: ErrorCode, detail: string): ImsError => {
  const known = CODES[code] ?? 'BackupService.0001';
  return new ImsError(known, detail, known === 'BackupService.6302' ? NOT_FOUND : undefined);
};

async function refusedByService<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof NeighbourError)) throw error;
    const { code, detail } = checkpointRefusalOf(error);
    throw inWordsOfService(code, detail);
  }
}
