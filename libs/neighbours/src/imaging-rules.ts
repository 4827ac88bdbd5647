import type { ErrorCode } from '@ims/contract';
import type { Backup, Vault } from './backups.port';
import type { NeighbourError, NeighbourRefusal } from './neighbour.errors';
import type { Server } from './servers.port';
import type { Volume } from './volumes.port';

/** Why something cannot be imaged: the code of ims-api 15.2 and what to tell the caller beside its listed message. */
export interface ImagingRefusal {
  code: ErrorCode;
  detail: string;
}

const GIB = 2 ** 30;
// Largest disk a system or data disk image is made from (CRE-05, CRE-08), GiB.
const MAX_SOURCE_GIB = 1024;

const refusal = (code: ErrorCode, detail: string): ImagingRefusal => ({ code, detail });

/**
 * Whether a system disk image may be made from a server (CRE-01..05, CRE-25; backends E4). `disks` are the server's, in any order.
 * `undefined` means yes.
 */
export function refuseSystemDiskImage(
  server: Server | undefined,
  disks: readonly Volume[],
): ImagingRefusal | undefined {
  if (server === undefined) return refusal('IMG.0005', 'there is no such server in this project');
  const state = refuseServerState(server, server.kind === 'bms' ? ['SHUTOFF'] : ['ACTIVE', 'SHUTOFF']);
  if (state !== undefined) return state;
  if (server.isBeingReclaimed) return refusal('IMG.0164', `server ${server.id}`);
  if (server.bootFrom === 'local-disk') return refusal('IMG.0006', `server ${server.id} boots from a local disk`);
  const root = server.volumes.find(({ bootIndex }) => bootIndex === 0);
  if (root === undefined) return refusal('IMG.0119', `server ${server.id}`);
  const disk = disks.find(({ id }) => id === root.volumeId);
  if (disk === undefined) return refusal('IMG.0110', `disk ${root.volumeId}`);
  if (disk.pool !== 'evs') return refusal('IMG.0153', `disk ${disk.id} is of a ${disk.pool.toUpperCase()} pool`);
  if (disk.status !== 'in-use') return refusal('IMG.0022', `disk ${disk.id} is ${disk.status}`);
  if (disk.sizeGib > MAX_SOURCE_GIB)
    return refusal('IMG.0111', `system disk of ${disk.sizeGib} GiB; above ${MAX_SOURCE_GIB} GiB make a full-ECS image`);
  return refuseEncrypted(disk);
}

/**
 * Whether data disk images may be made from these disks (CRE-06, CRE-08). `disks` has one entry per asked id, `undefined` for unknown ones.
 * All must be of `server`, the one server that has them, and none may be a disk that a server boots from.
 */
export function refuseDataDiskImages(
  server: Server | undefined,
  disks: readonly (Volume | undefined)[],
): ImagingRefusal | undefined {
  const known: Volume[] = [];
  for (const disk of disks) {
    if (disk === undefined) return refusal('IMG.0120', 'there is no such disk in this project');
    known.push(disk);
  }
  const owners = known.map(({ attachments }) => attachments.map(({ serverId }) => serverId));
  if (owners.some((servers) => servers.length === 0)) return refusal('IMG.0120', 'the disk is attached to no server');
  if (server === undefined || owners.some((servers) => !servers.includes(server.id)))
    return refusal('IMG.0140', 'name disks of one server only');
  const state = refuseServerOfDisk(server);
  if (state !== undefined) return state;
  const system = known.find(({ attachments }) => attachments.some(({ bootIndex }) => bootIndex === 0));
  if (system !== undefined) return refusal('IMG.0120', `disk ${system.id} is a system disk`);
  for (const disk of known) {
    const refused = refuseDisk(disk, ['in-use']);
    if (refused !== undefined) return refused;
  }
  return undefined;
}

/**
 * Whether an image may be made of one disk by its id (ims-api 6.2 E): one that no server has, or one that `servers` have, which are then looked at
 * as for their data disks. `disk` is `undefined` when the project has none of that id.
 */
export function refuseVolumeImage(disk: Volume | undefined, servers: readonly Server[]): ImagingRefusal | undefined {
  if (disk === undefined) return refusal('IMG.0120', 'there is no such disk in this project');
  for (const server of servers) {
    const state = refuseServerOfDisk(server);
    if (state !== undefined) return state;
  }
  return refuseDisk(disk, ['available', 'in-use']);
}

function refuseServerOfDisk(server: Server): ImagingRefusal | undefined {
  const state = refuseServerState(server, ['ACTIVE', 'SHUTOFF']);
  return state?.code === 'IMG.0010' ? refusal('IMG.0139', state.detail) : state;
}

function refuseDisk(disk: Volume, allowed: readonly Volume['status'][]): ImagingRefusal | undefined {
  if (disk.pool !== 'evs') return refusal('IMG.0153', `disk ${disk.id} is of a ${disk.pool.toUpperCase()} pool`);
  if (!allowed.includes(disk.status)) return refusal('IMG.0022', `disk ${disk.id} is ${disk.status}`);
  if (disk.sizeGib > MAX_SOURCE_GIB)
    return refusal('IMG.0120', `disk of ${disk.sizeGib} GiB; above ${MAX_SOURCE_GIB} GiB make a full-ECS image`);
  return refuseEncrypted(disk);
}

// Images are stored unencrypted so far: what an owner encrypted must not lie there in the plain without anybody saying so.
const refuseEncrypted = ({ id, encrypted, keyId }: Volume): ImagingRefusal | undefined =>
  encrypted || keyId !== null ? refusal('IMG.0105', `disk ${id} is encrypted`) : undefined;

/**
 * Whether a full-ECS image may be made from a server into a vault (CRE-16, CRE-17; backends E3). `currentVault` is the one the server belongs to,
 * `csbsBackups` how many backups of the retired line it has.
 */
export function refuseWholeImageOfServer(request: {
  server: Server | undefined;
  disks: readonly Volume[];
  vault: Vault | undefined;
  currentVault: Vault | undefined;
  csbsBackups: number;
}): ImagingRefusal | undefined {
  const { server, disks, vault, currentVault } = request;
  if (server === undefined) return refusal('IMG.0137', 'there is no such server in this project');
  if (server.resStatus === 'freeze') return frozen(server);
  if (server.status !== 'ACTIVE' && server.status !== 'SHUTOFF')
    return refusal('IMG.0126', `server ${server.id} is ${server.status}`);
  if (server.taskState === 'backing-up') return refusal('IMG.0136', `server ${server.id}`);
  if (server.taskState !== null) return refusal('IMG.0010', `server ${server.id}: ${server.taskState}`);
  if (request.csbsBackups > 0) return refusal('IMG.0186', `server ${server.id}`);
  const foreign = disks.find(({ pool }) => pool !== 'evs');
  if (foreign !== undefined)
    return refusal('IMG.0153', `disk ${foreign.id} is of a ${foreign.pool.toUpperCase()} pool`);
  if (!server.volumes.some(({ bootIndex }) => bootIndex === 0)) return refusal('IMG.0119', `server ${server.id}`);
  if (vault === undefined) return refusal('IMG.0184', 'there is no such vault in this project');
  if (vault.objectType !== 'server' || vault.protectType !== 'backup') return refusal('IMG.0193', `vault ${vault.id}`);
  if (vault.status !== 'available') return refusal('IMG.0188', `vault ${vault.id} is ${vault.status}`);
  if (currentVault !== undefined && currentVault.id !== vault.id)
    return refusal('IMG.0183', `server ${server.id} is in vault ${currentVault.id}`);
  if (currentVault === undefined && vault.serverIds.length >= vault.memberLimit)
    return refusal('IMG.0185', `vault ${vault.id} holds ${vault.memberLimit}`);
  // Whether an increment fits is known when its disk is looked at; where nothing fits, nothing is begun.
  if (vault.usedBytes >= vault.sizeGib * GIB) return refusal('IMG.0182', `vault ${vault.id} has no room`);
  return undefined;
}

/** Whether a backup may go with the image that was made from it (`delete_backup`, ims-api 12.6). One that is gone already is no obstacle. */
export function refuseBackupDeletion(backup: Backup | undefined): ImagingRefusal | undefined {
  if (backup === undefined) return undefined;
  if (backup.line === 'CSBS') return refusal('IMG.0176', `backup ${backup.id} is of CSBS, which is only read`);
  if (backup.status !== 'available' && backup.status !== 'error')
    return refusal('IMG.0176', `backup ${backup.id} is ${backup.status}`);
  return undefined;
}

/** Codes of what a backup of a server may be refused for (backends E3, the list of ims-api 15.2); one entry for each reason its port names. */
const CHECKPOINT_CODES: Readonly<Partial<Record<NeighbourRefusal, ErrorCode>>> = {
  NOT_FOUND: 'IMG.0137',
  WRONG_STATE: 'IMG.0126',
  FROZEN: 'IMG.0008',
  BUSY: 'IMG.0136',
  VAULT_FULL: 'IMG.0182',
  SERVER_IN_OTHER_VAULT: 'IMG.0183',
  VAULT_MEMBER_LIMIT: 'IMG.0185',
  VAULT_UNUSABLE: 'IMG.0188',
  VAULT_WRONG_KIND: 'IMG.0193',
};

/** What a backup that its service refused to make is refused with. */
export const checkpointRefusalOf = (error: NeighbourError): ImagingRefusal =>
  refusal(CHECKPOINT_CODES[error.refusal] ?? 'IMG.0061', error.detail);

/** Whether a full-ECS image may be made from a backup (CRE-18; backends E3). `line` is what the request says the backup is. */
export function refuseWholeImageOfBackup(backup: Backup | undefined, line: 'CBR' | 'CSBS'): ImagingRefusal | undefined {
  const isCbr = line === 'CBR';
  if (backup === undefined) return refusal(isCbr ? 'IMG.0020' : 'IMG.0127', 'there is no such backup in this project');
  if (backup.line !== line) return refusal('IMG.0198', `backup ${backup.id} is of ${backup.line}`);
  if (backup.imageId !== null) return refusal(isCbr ? 'IMG.0029' : 'IMG.0134', `image ${backup.imageId}`);
  if (backup.status !== 'available')
    return refusal(isCbr ? 'IMG.0032' : 'IMG.0132', `backup ${backup.id} is ${backup.status}`);
  if (!backup.containsSystemDisk) return refusal('IMG.0195', `backup ${backup.id} has no system disk`);
  return undefined;
}

function refuseServerState(server: Server, allowed: readonly Server['status'][]): ImagingRefusal | undefined {
  if (server.resStatus === 'freeze') return frozen(server);
  if (!allowed.includes(server.status)) return refusal('IMG.0008', `server ${server.id} is ${server.status}`);
  if (server.taskState !== null) return refusal('IMG.0010', `server ${server.id}: ${server.taskState}`);
  return undefined;
}

// The contract has no code of its own for it (CRE-25).
const frozen = (server: Server): ImagingRefusal =>
  refusal('IMG.0008', `server ${server.id} is frozen for unpaid bills; renew it first`);
