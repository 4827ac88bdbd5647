import {
  type CheckedImages,
  checkedImages,
  type EndedReceive,
  endedReceive,
  type ErrorCode,
  imageId as toImageId,
  type ImageReplicateInput,
  ImsError,
  isErrorCode,
  jobId as toJobId,
  jobStream,
  type ReceiveState,
  type ReleasedImages,
  releasedImages,
  type SendingJob,
  type RequestedReceive,
  requestedReceive,
  stepKey,
  type StepInput,
  undoKey,
} from '@ims/contract';
import { ImagesRepository, inTransaction, ProgressRepository } from '@ims/db';
import { recordUsage } from '@ims/domain';
import { findEvent } from '@ims/event-log';
import { findReplicableImage, ManifestHolds } from '@ims/neighbours';
import { offerOf } from '@ims/peer';
import { failure } from '../step/failure';
import { jobSucceeded } from '../step/job-events';
import { notYet } from '../step/not-yet';
import type { ActivityPorts } from '../step/ports';
import { jobOf, runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';
import { askingPeer } from './asking-peer';

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'backups' | 'peers'>;

export interface AwaitReceiveInput extends ImageReplicateInput {
  receive: RequestedReceive;
}
export interface ReleaseReplicatedInput extends ImageReplicateInput {
  received: EndedReceive;
}

const saga = 'image-replicate';
const holds = new ManifestHolds();

/** The sending side of a copy to another region: the image is held for as long as the other side reads it. */
export function createReplicateActivities(ports: Ports) {
  return {
    /** Looks once more whether the image can be sent, and holds its bytes: from here on the other region may read them, and nothing takes them away. */
    holdReplicated: (input: ImageReplicateInput): Promise<CheckedImages> =>
      runStep(ports, {
        name: 'check-image',
        saga,
        input,
        parse: (output) => checkedImages.parse(output),
        effect: async () => {
          await startJob(ports, 'check-image', { jobId: input.jobId, epoch: input.epoch });
          const disks = await inTransaction(ports.db, async (trx) => {
            // The row's lock settles who comes first: this job or a deletion.
            await new ImagesRepository(trx).findSeenForUpdate(input.projectId, input.sourceImageId);
            const found = await findReplicableImage(trx, ports.backups, input.projectId, input.sourceImageId);
            if (found?.image.isActive !== true) throw gone(input);
            for (const disk of found.disks) await holds.hold(trx, input.jobId, disk);
            return found.disks;
          });
          return { disks };
        },
      }),
    dropReplicatedHolds: (input: StepInput): Promise<void> =>
      runUndo(ports, {
        name: 'check-image',
        saga,
        input,
        effect: () => inTransaction(ports.db, (trx) => holds.release(trx, input.jobId)),
      }),

    /** Offers the image to the other region, whose answer is a job of its own; asked again it answers with the same one. */
    requestReceive: (input: ImageReplicateInput): Promise<RequestedReceive> =>
      waiting(ports, input, 'request-receive', {
        before: async () => {
          await askingPeer(async () => ports.peers.to(input.target.region).start(await offerOf(ports, input)));
        },
        then: () =>
          runStep(ports, {
            name: 'request-receive',
            saga,
            input,
            parse: (output) => requestedReceive.parse(output),
            effect: async () => {
              const { jobId } = await askingPeer(() => ports.peers.to(input.target.region).show(input));
              return { region: input.target.region, jobId, imageId: input.replica.imageId };
            },
          }),
      }),

    /** Ends with the other region's job. Nothing waits meanwhile: the step is tried again, and tells each time how far that one is. */
    awaitReceive: (input: AwaitReceiveInput): Promise<EndedReceive> => {
      const { region } = input.receive;
      const show = (): Promise<ReceiveState> => askingPeer(() => ports.peers.to(region).show(input));
      return waiting(ports, input, 'await-receive', {
        before: async () => {
          const { outcome, bytesDone, bytesTotal } = await show();
          if (outcome !== null) return;
          await new ProgressRepository(ports.db)
            .report(input.jobId, 'await-receive', bytesDone, bytesTotal, ports.clock.now())
            // A lost tick is made good by the next one.
            .catch(() => undefined);
          throw notYet(`region ${region} is receiving the image`);
        },
        then: () =>
          runStep(ports, {
            name: 'await-receive',
            saga,
            input,
            parse: (output) => endedReceive.parse(output),
            effect: async () => successOf(region, await show()),
          }),
      });
    },
    /** The other region keeps nothing of a copy that did not come about here, also when it was done with it already. */
    cancelReceive: async (input: ImageReplicateInput): Promise<void> => {
      const { region } = input.target;
      const job = await jobOf(ports.db, input);
      const isUndone = await findEvent(ports.db, jobStream(toJobId(input.jobId)), undoKey('request-receive'));
      if (job.outcome === null && isUndone === undefined) {
        const state = await ended(ports, region, input);
        if (state?.outcome === null) throw notYet(`region ${region} is undoing what it has received`);
      }
      await runUndo(ports, { name: 'request-receive', saga, input, effect: () => Promise.resolve() });
    },

    /** The last step: the image is let go of, what crossed the border is charged once (BIL-10, BIL-11), and with that the job has succeeded. */
    releaseReplicated: (input: ReleaseReplicatedInput): Promise<ReleasedImages> => {
      const { region } = input.target;
      return waiting(ports, input, 'release-image', {
        // An execution that this one has replaced may have called the image back, or be about to. Once it is told of success here it cannot any more.
        before: async () => {
          successOf(region, await askingPeer(() => ports.peers.to(region).show(input)));
        },
        then: () =>
          runStep(ports, {
            name: 'release-image',
            saga,
            input,
            parse: (output) => releasedImages.parse(output),
            effect: () => Promise.resolve({ imageIds: [input.sourceImageId] }),
            companions: async (trx) => {
              await holds.release(trx, input.jobId);
              const { imageId, wireBytes } = input.received;
              const meter = input.target.vaultId === undefined ? 'replication.traffic' : 'backup-replication.traffic';
              const jobId = toJobId(input.jobId);
              return [
                recordUsage({ jobId, imageId: toImageId(imageId), meter, bytes: wireBytes }),
                jobSucceeded(input.jobId, imageId),
              ];
            },
          }),
      });
    },
  };
}

const gone = ({ sourceImageId }: ImageReplicateInput): ImsError =>
  new ImsError('IMG.0046', `image ${sourceImageId} is not active any more`);

/** A step that may have to wait for the other region: that happens outside of it, because attempts are evidence of work. */
async function waiting<T>(
  ports: Ports,
  input: StepInput,
  step: string,
  { before, then }: { before(): Promise<void>; then(): Promise<T> },
): Promise<T> {
  const job = await jobOf(ports.db, input);
  const recorded = await findEvent(ports.db, jobStream(toJobId(input.jobId)), stepKey(step));
  if (recorded === undefined && job.cancel_reason === null && job.outcome === null) await before();
  return then();
}

/** Calls the other region's job back; `undefined` where nobody can be asked any more. */
async function ended({ peers }: Ports, region: string, sender: SendingJob): Promise<ReceiveState | undefined> {
  // A region that has been taken out of the configuration will never be asked again, whatever it still has.
  if (!peers.regions.includes(region)) return undefined;
  return askingPeer(() => peers.to(region).cancel(sender));
}

function successOf(region: string, { outcome, imageId, ...state }: ReceiveState): EndedReceive {
  if (outcome === 'succeeded' && imageId !== null)
    return { region, imageId, wireBytes: state.wireBytes, storedBytes: state.storedBytes };
  const code: ErrorCode = state.errorCode !== null && isErrorCode(state.errorCode) ? state.errorCode : 'IMG.0061';
  throw failure(code, `region ${region}: ${state.reason ?? `the job was ${String(outcome)}`}`, { retryable: false });
}
