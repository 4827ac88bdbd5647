import { CONTENT, deviceOfPart, imageAttributes, type OfferedBackup, type UsedDisk } from '@ims/contract';
import { type Database, ImageLineageRepository, type ImageRow, ImagesRepository } from '@ims/db';
import type { ReplicableImage } from '@ims/domain';
import type { Kysely } from 'kysely';
import type { Backup, BackupsPort } from './backups.port';

/** An image with all that goes along when it is copied to another region. */
export interface FoundReplicable {
  image: ReplicableImage;
  row: ImageRow;
  /** Its content and the data disks of a whole server. The disk inside a file is not among them: it is made anew where it is needed. */
  disks: UsedDisk[];
  backup: Backup | undefined;
}

/**
 * An image that a project may copy to other regions; `undefined` where there is none of that id for it. Whose images a project may copy is decided
 * here alone (SHR-10).
 */
export async function findReplicableImage(
  db: Kysely<Database>,
  backups: Pick<BackupsPort, 'get'>,
  projectId: string,
  imageId: string,
): Promise<FoundReplicable | undefined> {
  const images = new ImagesRepository(db);
  const row = await images.find(projectId, imageId);
  if (row === undefined) return undefined;
  const attributes = imageAttributes.parse(row.attributes);
  const disks = [...contentOf(row)];
  for (const part of await images.parts(imageId)) {
    if (deviceOfPart(part.part) === undefined) continue;
    disks.push({
      imageId,
      part: part.part,
      domainId: part.domain_id,
      manifestHash: part.manifest_hash,
      virtualSizeBytes: part.virtual_size_bytes,
    });
  }
  const backupId = attributes['__backup_id'];
  const backup =
    attributes['__whole_image'] === 'true' && typeof backupId === 'string'
      ? await backups.get(row.project_id, backupId)
      : undefined;
  const revoked = await new ImageLineageRepository(db).revoked(imageId);
  return {
    row,
    disks,
    backup,
    image: {
      id: row.id,
      isActive: row.status === 'active',
      revokeReason: revoked?.revokeReason ?? null,
      imageType: row.image_type,
      memberStatus: row.member_status,
      attributes,
      // Of a file it is the disk in it that counts, as for a copy within the region (REP-04); how well that is packed says nothing of it.
      virtualSizeBytes: disks.reduce(
        (sum, { part, virtualSizeBytes }) =>
          sum + (part === CONTENT ? Math.max(virtualSizeBytes, row.virtual_size_bytes ?? 0) : virtualSizeBytes),
        0,
      ),
      backup: backup === undefined ? null : { line: backup.line, isComplete: backup.status === 'available' },
    },
  };
}

function contentOf(row: ImageRow): UsedDisk[] {
  const { id: imageId, domain_id: domainId, manifest_hash: manifestHash } = row;
  // Of a file its own bytes are stored, whatever the disk in it is.
  const virtualSizeBytes = row.form === 'file' ? row.file_bytes : row.virtual_size_bytes;
  if (domainId === null || manifestHash === null || virtualSizeBytes === null) return [];
  return [{ imageId, part: CONTENT, domainId, manifestHash, virtualSizeBytes }];
}

/** A backup as another region records its replica. */
export const offeredBackupOf = (backup: Backup): OfferedBackup => ({
  backupId: backup.id,
  name: backup.name,
  serverId: backup.serverId,
  serverName: backup.serverName,
  architecture: backup.architecture,
  sizeGib: backup.sizeGib,
  disks: backup.children.map(({ id, volumeId, device, isSystemDisk, bootable, sizeGib }) => ({
    diskBackupId: id,
    volumeId,
    device,
    isSystemDisk,
    bootable,
    sizeGib,
  })),
});
