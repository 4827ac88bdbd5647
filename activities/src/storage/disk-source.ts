import type { AcquiredSource } from '@ims/contract';
import { openSource } from '@ims/buckets';
import { type DiskDescriptor, prepareDisk } from '@ims/image-format';
import type { ActivityPorts } from '../step/ports';

/** A source opened for one ingest, valid until `release`. */
export interface OpenedSource {
  disk: DiskDescriptor;
  /** Fails when the bytes may not be those of the first step. */
  checkUnchanged(): Promise<void>;
  release(): Promise<void>;
}

type Ports = Pick<ActivityPorts, 'buckets' | 'volumes'>;

/** Opens whatever the first step acquired for the threads that read it. */
export async function openAcquired(
  ports: Ports,
  projectId: string,
  source: AcquiredSource,
  signal: AbortSignal,
): Promise<OpenedSource> {
  if ('snapshotId' in source) {
    const { disk, release } = await ports.volumes.openForImaging(projectId, source.snapshotId);
    // A snapshot never changes.
    return { disk, release, checkUnchanged: () => Promise.resolve() };
  }
  const descriptor = ports.buckets.describe(source.file);
  const { disk, release } = await prepareDisk(source, descriptor, { signal });
  return {
    disk,
    release,
    checkUnchanged: async () => {
      const file = await openSource(descriptor);
      await file.checkUnchanged().finally(() => file.close());
    },
  };
}
