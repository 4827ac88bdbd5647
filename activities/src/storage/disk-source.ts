import { type AcquiredSource, type ClaimedBackup, dataDiskPart, isKeptFile } from '@ims/contract';
import { openSource, type SourceDescriptor } from '@ims/buckets';
import { type DiskDescriptor, prepareDisk, type PreparedDisk } from '@ims/image-format';
import type { ActivityPorts } from '../step/ports';

/** A source opened for one ingest, valid until `release`. */
export interface OpenedSource {
  disk: DiskDescriptor;
  /** Fails when the bytes may not be those of the first step. */
  checkUnchanged(): Promise<void>;
  release(): Promise<void>;
}

type Ports = Pick<ActivityPorts, 'buckets' | 'staged' | 'volumes' | 'backups'>;

/** One disk of what the first step acquired. */
export type SourceDisk = Exclude<AcquiredSource, ClaimedBackup> | ClaimedBackup['disks'][number];

/** A disk to be stored, under the name that the store and the image know it by. */
export interface NamedDisk {
  source: SourceDisk;
  /** Absent for the one disk that is the image's content. */
  data?: { device: string; part: string };
}

/** The disks of a source, the content first. */
export function disksOf(source: AcquiredSource): NamedDisk[] {
  if (!('backupId' in source)) return [{ source }];
  const byRole = source.disks.toSorted((a, b) => Number(b.isSystemDisk) - Number(a.isSystemDisk));
  return byRole.map((disk, n) =>
    n === 0 ? { source: disk } : { source: disk, data: { device: disk.device, part: dataDiskPart(disk.device) } },
  );
}

/** Opens a disk of what the first step acquired for the threads that read it. */
export async function openAcquired(
  ports: Ports,
  projectId: string,
  source: SourceDisk,
  signal: AbortSignal,
): Promise<OpenedSource> {
  if ('snapshotId' in source) {
    const { disk, release } = await ports.volumes.openForImaging(projectId, source.snapshotId);
    // A snapshot never changes.
    return { disk, release, checkUnchanged: () => Promise.resolve() };
  }
  if ('diskBackupId' in source) {
    const { disk, release } = await ports.backups.openForImaging(projectId, source.diskBackupId);
    // Nor does a backup.
    return { disk, release, checkUnchanged: () => Promise.resolve() };
  }
  const files = source.stagedId === undefined ? ports.buckets : ports.staged;
  const descriptor = files.describe(source.file);
  const { disk, release } = isKeptFile(source) ? asItIs(descriptor) : await prepareDisk(source, descriptor, { signal });
  return {
    disk,
    release,
    checkUnchanged: async () => {
      const file = await openSource(descriptor);
      await file.checkUnchanged().finally(() => file.close());
    },
  };
}

/** The file's own bytes, as many as there are, in the place of a disk: whatever they mean, that is how they come back. */
const asItIs = (source: SourceDescriptor): PreparedDisk => ({
  disk: { reader: 'raw', source, virtualSizeBytes: source.file.sizeBytes },
  release: () => Promise.resolve(),
});
