import { type BackupLine, ImsError } from '@ims/contract';
import type { SourceBackup } from '@ims/domain';
import type { Backup, BackupsPort } from './backups.port';
import { refuseWholeImageOfBackup } from './imaging-rules';
import { NeighbourError } from './neighbour.errors';

/** Tells images that are no more from those that are, and from those that nobody here ever had. */
export interface ImageLives {
  isGone(projectId: string, imageId: string): Promise<boolean>;
}

type Backups = Pick<BackupsPort, 'get' | 'releaseFromImage'>;

/**
 * The backup, with a claim on it only if the image that holds it lives (CRE-18: free again once the image is deleted). A claim ends after its
 * image does, by another act; when whoever was to do that died in between, this does it.
 */
export async function freeBackup(
  backups: Backups,
  images: ImageLives,
  { projectId, backupId }: { projectId: string; backupId: string },
): Promise<Backup | undefined> {
  const backup = await backups.get(projectId, backupId);
  if (backup?.imageId == null || !(await images.isGone(projectId, backup.imageId))) return backup;
  // Names the image that is gone: a living one that has the backup by now keeps it.
  await backups.releaseFromImage({ projectId, backupId, imageId: backup.imageId });
  return backups.get(projectId, backupId);
}

/**
 * The backup from which an image of the whole server may be made now (CRE-16, CRE-18; backends E3).
 *
 * @throws ImsError with the code of `refuseWholeImageOfBackup`
 */
export async function backupToImage(
  backups: Backups,
  images: ImageLives,
  request: { projectId: string; backupId: string; line: BackupLine },
): Promise<Backup> {
  return allowed(await freeBackup(backups, images, request), request);
}

/**
 * Makes the backup this image's alone; done already when it is (CRE-18).
 *
 * @throws ImsError with the code of `refuseWholeImageOfBackup`
 */
export async function claimBackup(
  backups: Backups & Pick<BackupsPort, 'claimForImage'>,
  images: ImageLives,
  request: { projectId: string; backupId: string; line: BackupLine; imageId: string },
): Promise<Backup> {
  const { projectId, backupId, imageId } = request;
  const found = await freeBackup(backups, images, request);
  if (found?.imageId === imageId) return found;
  allowed(found, request);
  try {
    return await backups.claimForImage({ projectId, backupId, imageId });
  } catch (error) {
    if (!(error instanceof NeighbourError)) throw error;
    // Something came in between: what it was is seen now, unless it has passed already, and then the next attempt succeeds.
    allowed(await backups.get(projectId, backupId), request);
    throw error;
  }
}

function allowed(backup: Backup | undefined, { line }: { line: BackupLine }): Backup {
  const refusal = refuseWholeImageOfBackup(backup, line);
  if (refusal !== undefined) throw new ImsError(refusal.code, refusal.detail);
  // The rule refuses what is absent; the compiler cannot see it.
  if (backup === undefined) throw new ImsError('IMG.0020');
  return backup;
}

/** What of a backup decides about the image (ims-api 6.5). */
export const sourceBackupOf = (backup: Backup): SourceBackup => ({
  id: backup.id,
  line: backup.line,
  architecture: backup.architecture,
  systemDiskGib: backup.children.find(({ isSystemDisk }) => isSystemDisk)?.sizeGib ?? 0,
  imageId: backup.serverImageId,
  isEncrypted: backup.children.some(({ keyId }) => keyId !== null),
});
