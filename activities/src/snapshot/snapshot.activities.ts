import {
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
import { type Snapshot, systemDiskToImage } from '@ims/neighbours';
import type { ActivityPorts } from '../step/ports';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';

export interface SnapshotInput extends StepInput {
  projectId: string;
}

const GIB = 2 ** 30;

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'servers' | 'volumes'>;

/** The source of an image of a server's disk: one moment of it, held while it is copied. */
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
          // Taken by an attempt that died: the server may have changed since and the moment stays the same.
          const taken = await ports.volumes.getSnapshot(input.projectId, idOf(input));
          const snapshot = taken ?? (await takeSnapshot(ports, input, idOf(input)));
          if (snapshot.serverId === null)
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
  // The saga calls this step for servers alone; anything else here is a defect of it.
  if (input.source.kind !== 'server') throw new TypeError(`a ${input.source.kind} is no server`);
  const { disk } = await systemDiskToImage(ports, input.projectId, input.source.serverId);
  const [snapshot] = await ports.volumes.snapshot({
    projectId: input.projectId,
    snapshotIdsByVolume: { [disk.id]: snapshotId },
  });
  if (snapshot === undefined) throw new ImsError('IMG.0061', `no snapshot was made of disk ${disk.id}`);
  return snapshot;
}
