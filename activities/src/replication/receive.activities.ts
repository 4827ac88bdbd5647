import {
  CONTENT,
  dedupDomainId as toDomain,
  deviceOfPart,
  type ImageReceiveInput,
  ImsError,
  jobId as toJobId,
  type OfferedDisk,
  type ReceivedDisk,
  receivedDisk,
  type RecordedBackup,
  recordedBackup,
  type StepInput,
} from '@ims/contract';
import type { IngestProgress } from '@ims/image-store';
import { NeighbourError } from '@ims/neighbours';
import { findBase } from '@ims/peer';
import { failure } from '../step/failure';
import type { ActivityPorts } from '../step/ports';
import { progressReporter } from '../step/progress';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';
import { storedDisksOf } from '../storage/stored-disks';
import { progressOverDisks } from '../storage/progress-over-disks';

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'store' | 'peers' | 'backups'>;

export type DropReplicaInput = ImageReceiveInput & { backup: NonNullable<ImageReceiveInput['backup']> };
export type RecordBackupInput = DropReplicaInput & { disk: ReceivedDisk };

const saga = 'image-receive';

/** The receiving side of a copy from another region: this side fetches, and knows best what it has already. */
export function createReceiveActivities(ports: Ports) {
  return {
    /** Brings all disks of the image over. Goes on from what the job already holds; a link that is down is waited for. */
    receiveDisks: (input: ImageReceiveInput): Promise<ReceivedDisk> =>
      runStep(ports, {
        name: 'receive',
        saga,
        input,
        parse: (output) => receivedDisk.parse(output),
        effect: async (run) => {
          const { jobId, epoch, imageId } = input;
          await startJob(ports, 'receive', { jobId, epoch, imageId });
          const progress = progressReporter(ports, run, jobId, 'receive');
          const over = progressOverDisks(
            input.disks.map(({ virtualSizeBytes }) => virtualSizeBytes),
            (done, total) => progress.tick(done, total),
          );
          const disks: (ReceivedDisk & { part: string })[] = [];
          try {
            // One after the other: the line is the same for all of them.
            for (const [at, disk] of input.disks.entries())
              disks.push({
                ...(await receiveOne(ports, input, disk, run.signal, (ticked) => {
                  run.note({ bytesWritten: ticked.bytesWritten });
                  over.tick(at, ticked);
                })),
                part: disk.part,
              });
          } catch (error) {
            // The job that sends has ended, or it never sent this.
            if (error instanceof ImsError)
              throw failure('IMG.0061', `region ${input.from.region}: ${error.message}`, { retryable: false });
            throw error;
          } finally {
            await progress.settle();
          }
          return together(disks);
        },
      }),
    /** The backup behind an image of a whole server comes along: its replica is bound to the image from the first moment (REP-11). */
    recordBackup: (input: RecordBackupInput): Promise<RecordedBackup> =>
      runStep(ports, {
        name: 'record-backup',
        saga,
        input,
        parse: (output) => recordedBackup.parse(output),
        effect: async () => {
          const { projectId, imageId, backup, disk } = input;
          const stored = storedDisksOf(disk);
          const { vaultId, ...offered } = backup;
          const disks = offered.disks.map(({ diskBackupId, device, isSystemDisk }) => {
            const found = stored.find((each) => (isSystemDisk ? each.part === CONTENT : each.device === device));
            if (found === undefined) throw new TypeError(`the image has no disk ${device}`);
            return { diskBackupId, ...found };
          });
          try {
            await ports.backups.createReplica({ projectId, vaultId, imageId, backup: offered, disks });
          } catch (error) {
            // Another image brought it while the disks of this one were on their way.
            if (error instanceof NeighbourError && error.refusal === 'ALREADY_IMAGED') throw new ImsError('IMG.0150');
            throw error;
          }
          const bytes = stored.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
          return { backupId: offered.backupId, backupBytes: bytes };
        },
      }),
    dropReplicaBackup: (input: DropReplicaInput): Promise<void> =>
      runUndo(ports, {
        name: 'record-backup',
        saga,
        input,
        effect: async () => {
          const { projectId, imageId, backup } = input;
          const found = await ports.backups.get(projectId, backup.backupId);
          // Not there, or it came with another image.
          if (found?.imageId !== imageId) return;
          await ports.backups.releaseFromImage({ projectId, backupId: backup.backupId, imageId });
          await ports.backups.delete(projectId, backup.backupId);
        },
      }),
    discardReceived: (input: StepInput): Promise<void> =>
      runUndo(ports, { name: 'receive', saga, input, effect: () => ports.store.discard(toJobId(input.jobId)) }),
  };
}

async function receiveOne(
  ports: Ports,
  input: ImageReceiveInput,
  { part, manifestHash }: OfferedDisk,
  signal: AbortSignal,
  onProgress: (progress: IngestProgress) => void,
): Promise<ReceivedDisk> {
  const { projectId, ancestors, from } = input;
  const peer = ports.peers.to(from.region);
  const base = await findBase(ports.db, { projectId, ancestors, part });
  return ports.store.receive({
    jobId: toJobId(input.jobId),
    domainId: await ports.store.plainDomain(projectId),
    ...(part === CONTENT ? {} : { part }),
    manifestHash,
    remote: {
      manifest: (until) => peer.manifest(from.jobId, part, until),
      exchange: (request, until) => peer.exchange(from.jobId, part, request, until),
    },
    base: base && { domainId: toDomain(base.domainId), manifestHash: base.manifestHash },
    signal,
    onProgress,
  });
}

/** The content with the data disks of a whole server, as the steps after this one take them. */
function together(disks: readonly (ReceivedDisk & { part: string })[]): ReceivedDisk {
  const content = disks.find(({ part }) => part === CONTENT);
  if (content === undefined) throw new TypeError('an image without content');
  const { part: _, ...disk } = content;
  const dataDisks = disks.flatMap(({ part, wireBytes: __, ...stored }) => {
    const device = deviceOfPart(part);
    return device === undefined ? [] : [{ ...stored, device }];
  });
  return {
    ...disk,
    wireBytes: disks.reduce((sum, { wireBytes }) => sum + wireBytes, 0),
    ...(dataDisks.length === 0 ? {} : { dataDisks }),
  };
}
