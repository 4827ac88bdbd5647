import {
  type DiskOfSet,
  type ImageCreateInput,
  ImsError,
  jobId as toJobId,
  jobSnapshotId,
  type ReleasedSnapshot,
  releasedSnapshot,
  type SnapshottedDisk,
  snapshottedDisk,
  type StepInput,
} from '@ims/contract';
import { dataDisksToImage, NeighbourError, type Snapshot, systemDiskToImage, volumeToImage } from '@ims/neighbours';
import type { ActivityPorts } from '../step/ports';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';
import { dropWhatNobodyWants, wantingTheirMoment } from './disk-set';

export interface SnapshotInput extends StepInput {
  projectId: string;
}

const GIB = 2 ** 30;

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'servers' | 'volumes'>;

/** The source of an image of a disk: one moment of it, held while it is copied. */
export function createSnapshotActivities(ports: Ports) {
  const idOf = (input: StepInput): string => jobSnapshotId(toJobId(input.jobId));

  return {
    /** Looks once more whether the disk may be imaged (time has passed since the call was accepted) and freezes its moment (CRE-01, CRE-03). */
    snapshotDisk: (input: ImageCreateInput): Promise<SnapshottedDisk> =>
      runStep(ports, {
        name: 'snapshot',
        saga: 'image-create',
        input,
        parse: (output) => snapshottedDisk.parse(output),
        effect: async () => {
          await startJob(ports, 'snapshot', input);
          // Taken by an attempt that died, or by the job of another disk for all of them: the server may have changed since and the moment stays the same.
          const taken = await ports.volumes.getSnapshot(input.projectId, idOf(input));
          const snapshot = taken ?? (await takeSnapshot(ports, input, idOf(input)));
          if (snapshot.serverId === null && input.source.kind !== 'volume')
            throw new ImsError('IMG.0120', `disk ${snapshot.volumeId} is attached to no server`);
          if (snapshot.sizeGib > input.minDiskGib)
            throw new ImsError('IMG.0055', `the disk has grown to ${snapshot.sizeGib} GiB since the call; repeat it`);
          return {
            snapshotId: snapshot.id,
            volumeId: snapshot.volumeId,
            serverId: snapshot.serverId,
            virtualSizeBytes: snapshot.sizeGib * GIB,
            quiescedBy: snapshot.quiescedBy,
          };
        },
      }),

    /** What was read has been read back: the disk need not keep that moment any longer. */
    releaseSnapshot: (input: SnapshotInput): Promise<ReleasedSnapshot> =>
      runStep(ports, {
        name: 'release-snapshot',
        saga: 'image-create',
        input,
        parse: (output) => releasedSnapshot.parse(output),
        effect: async () => {
          await ports.volumes.deleteSnapshot(input.projectId, idOf(input));
          return { snapshotId: idOf(input) };
        },
      }),

    dropSnapshot: (input: SnapshotInput): Promise<void> =>
      runUndo(ports, {
        name: 'snapshot',
        saga: 'image-create',
        input,
        effect: () => ports.volumes.deleteSnapshot(input.projectId, idOf(input)),
      }),
  };
}

async function takeSnapshot(ports: Ports, input: ImageCreateInput, snapshotId: string): Promise<Snapshot> {
  const { projectId } = input;
  const set = await disksToFreeze(ports, input);
  const ids = set.map(({ jobId, volumeId }) => [volumeId, jobSnapshotId(toJobId(jobId))] as const);
  try {
    const made = await ports.volumes.snapshot({ projectId, snapshotIdsByVolume: Object.fromEntries(ids) });
    await dropWhatNobodyWants(ports, projectId, set);
    const own = made.find(({ id }) => id === snapshotId);
    if (own === undefined) throw new ImsError('IMG.0061', `snapshot ${snapshotId} was not made`);
    return own;
  } catch (err) {
    // The job of another disk of the set was a moment faster and has taken this one's along.
    const taken = err instanceof NeighbourError ? await ports.volumes.getSnapshot(projectId, snapshotId) : undefined;
    if (taken === undefined) throw err;
    return taken;
  }
}

/** The disks whose moment this job is to take, each with the job whose snapshot it is. */
async function disksToFreeze(ports: Ports, { jobId, projectId, source }: ImageCreateInput): Promise<DiskOfSet[]> {
  switch (source.kind) {
    case 'server':
      return [{ jobId, volumeId: (await systemDiskToImage(ports, projectId, source.serverId)).disk.id }];
    case 'volume':
      return [{ jobId, volumeId: (await volumeToImage(ports, projectId, source.volumeId)).disk.id }];
    case 'data-disk': {
      const set = await wantingTheirMoment(ports, source.set);
      const ids = set.map(({ volumeId }) => volumeId);
      await dataDisksToImage(ports, projectId, ids);
      return set;
    }
    case 'bucket-file':
    case 'iso-file':
    case 'kept-file':
    case 'staged-file':
    case 'web-file':
    case 'backup':
    case 'whole-server':
      // The saga calls this step for disks alone; anything else here is a defect of it.
      throw new TypeError(`a ${source.kind} has no moment of its own`);
    default:
      return source satisfies never;
  }
}
