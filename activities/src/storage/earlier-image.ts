import { type AcquiredSource, dataDiskPart, dedupDomainId } from '@ims/contract';
import { ImagesRepository } from '@ims/db';
import type { IngestBase } from '@ims/image-store';
import type { Backup } from '@ims/neighbours';
import type { ActivityPorts } from '../step/ports';
import type { SourceDisk } from './disk-source';

type Ports = Pick<ActivityPorts, 'db' | 'backups'>;

/** A backup of the same server from which an image was made that still lives. */
interface EarlierImage {
  backup: Backup;
  imageId: string;
}

// Each look reads maps only; more of them would cost more than they find.
const MOST_LOOKS = 3;

/**
 * What is known to be stored already of the disks of a backup: those of the newest earlier image of the same server whose backup this one stands on
 * (IMG-12). Resolves with a question for each disk, answered with nothing where everything has to be read.
 */
export async function earlierImageOf(
  ports: Ports,
  projectId: string,
  source: AcquiredSource,
): Promise<(disk: SourceDisk) => Promise<IngestBase | undefined>> {
  if (!('backupId' in source)) return () => Promise.resolve(undefined);
  const { backupId, serverId, line } = source;
  const all = await ports.backups.list(projectId, { serverId, line });
  const own = all.find(({ id }) => id === backupId);
  const earlier = all
    .slice(0, own === undefined ? 0 : all.indexOf(own))
    .flatMap((backup): EarlierImage[] => (backup.imageId === null ? [] : [{ backup, imageId: backup.imageId }]))
    .reverse()
    .slice(0, MOST_LOOKS);
  return async (disk) => {
    if (own === undefined || !('diskBackupId' in disk)) return undefined;
    for (const candidate of earlier) {
      const base = await baseOf(ports, projectId, own, disk.diskBackupId, candidate);
      if (base !== undefined) return base;
    }
    return undefined;
  };
}

async function baseOf(
  ports: Ports,
  projectId: string,
  own: Backup,
  diskBackupId: string,
  { backup, imageId }: EarlierImage,
): Promise<IngestBase | undefined> {
  const volumeId = own.children.find(({ id }) => id === diskBackupId)?.volumeId;
  const before = backup.children.find((child) => child.volumeId === volumeId);
  if (before === undefined) return undefined;
  const stored = await storedDisk(ports, projectId, imageId, before);
  if (stored === undefined) return undefined;
  const changed = await ports.backups.changedSince({ projectId, diskBackupId, earlierDiskBackupId: before.id });
  return changed === undefined ? undefined : { ...stored, changed };
}

async function storedDisk(
  { db }: Ports,
  projectId: string,
  imageId: string,
  { isSystemDisk, device }: Backup['children'][number],
): Promise<Pick<IngestBase, 'domainId' | 'manifestHash'> | undefined> {
  const images = new ImagesRepository(db);
  const image = await images.findOwn(projectId, imageId);
  if (image?.status !== 'active') return undefined;
  const disk = isSystemDisk ? image : (await images.parts(imageId)).find(({ part }) => part === dataDiskPart(device));
  if (disk?.domain_id == null || disk.manifest_hash === null) return undefined;
  return { domainId: dedupDomainId(disk.domain_id), manifestHash: disk.manifest_hash };
}
