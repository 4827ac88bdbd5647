import {
  type EndedSubJobs,
  endedSubJobs,
  type ErrorCode,
  type ImageBatchInput,
  isErrorCode,
  jobId as toJobId,
  jobSnapshotId,
  jobStream,
} from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents, type NewEvent } from '@ims/event-log';
import { failure } from '../step/failure';
import { jobSucceeded } from '../step/job-events';
import { notYet } from '../step/not-yet';
import type { ActivityPorts } from '../step/ports';
import { eventContext, jobOf, runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'volumes'>;

interface SubJob {
  id: string;
  outcome: 'succeeded' | 'failed' | 'cancelled' | null;
  cancel_reason: string | null;
  image_id: string | null;
  image_name: string;
  error_code: string | null;
  fail_reason: string | null;
  end_at: Date | null;
}

/** A job of several images: it waits for the jobs that make them, and answers for what they leave. */
export function createBatchActivities(ports: Ports) {
  return {
    /** Ends with the last sub-job. With this step the job succeeds, in the same transaction; it fails when one of them did not succeed. */
    awaitSubJobs: async (input: ImageBatchInput): Promise<EndedSubJobs> => {
      const job = await jobOf(ports.db, input);
      if (job.cancel_reason === null && job.outcome === null) {
        if (job.status === 'INIT') await startJob(ports, 'sub-jobs', { jobId: input.jobId, epoch: input.epoch });
        const open = (await subJobsOf(ports.db, input)).filter(({ outcome }) => outcome === null);
        if (open.length > 0) throw stillOpen(open.length);
      }
      return runStep(ports, {
        name: 'sub-jobs',
        saga: 'image-batch',
        input,
        parse: (output) => endedSubJobs.parse(output),
        effect: async () => {
          await dropSnapshots(ports, input);
          return imagesOf(await subJobsOf(ports.db, input));
        },
        companions: () => [jobSucceeded(input.jobId, null)],
      });
    },

    /** No sub-job outlives its job: those still open are cancelled, and what any of them may have left is dropped once all have ended. */
    endSubJobs: async (input: ImageBatchInput): Promise<void> => {
      const job = await jobOf(ports.db, input);
      if (job.outcome === null) {
        const open = (await subJobsOf(ports.db, input)).filter(({ outcome }) => outcome === null);
        await cancelSubJobs(ports, input, job.cancel_reason ?? 'the job that it is a part of did not complete');
        if (open.length > 0) throw stillOpen(open.length);
      }
      await runUndo(ports, {
        name: 'sub-jobs',
        saga: 'image-batch',
        input,
        effect: () => dropSnapshots(ports, input),
      });
    },
  };
}

const stillOpen = (count: number) => notYet(`${count} jobs are under way`);

const subJobsOf = (db: Ports['db'], { subJobIds }: ImageBatchInput): Promise<SubJob[]> =>
  db
    .selectFrom('job')
    .select(['id', 'outcome', 'cancel_reason', 'image_id', 'image_name', 'error_code', 'fail_reason', 'end_at'])
    .where('id', 'in', subJobIds)
    .orderBy('id')
    .execute();

function imagesOf(jobs: readonly SubJob[]): EndedSubJobs {
  const unsuccessful = jobs.filter(({ outcome }) => outcome !== 'succeeded');
  const images = jobs.flatMap(({ id, outcome, image_id: imageId }) =>
    outcome === 'succeeded' && imageId !== null ? [{ jobId: id, imageId }] : [],
  );
  // What was cancelled has no code; the first one that failed tells why.
  const [first] = unsuccessful.toSorted(
    (a, b) => Number(a.error_code === null) - Number(b.error_code === null) || timeOf(a) - timeOf(b),
  );
  if (first === undefined) return { images };
  const kept =
    images.length === 0 ? '' : `; the images of the others stay: ${images.map(({ imageId }) => imageId).join(', ')}`;
  const reason = `${unsuccessful.length} of ${jobs.length} images were not made: ${first.image_name}: ${first.fail_reason ?? 'the job failed'}${kept}`;
  throw failure(codeOf(first), reason, { retryable: false });
}

const timeOf = ({ end_at: at }: SubJob): number => at?.getTime() ?? 0;
const codeOf = ({ error_code: code }: SubJob): ErrorCode => (code !== null && isErrorCode(code) ? code : 'IMG.0061');

async function cancelSubJobs(ports: Ports, input: ImageBatchInput, reason: string): Promise<void> {
  await inTransaction(ports.db, async (trx) => {
    const open = await trx
      .selectFrom('job')
      .select(['id', 'project_id'])
      .where('id', 'in', input.subJobIds)
      .where('outcome', 'is', null)
      .where('cancel_reason', 'is', null)
      .orderBy('id')
      .forUpdate()
      .execute();
    const events = open.map(({ id }): NewEvent => ({
      stream: jobStream(toJobId(id)),
      key: 'cancel-requested',
      type: 'job.cancel-requested',
      data: { reason },
    }));
    await appendEvents(trx, eventContext(input.projectId, { name: 'sub-jobs', input }), events);
  });
}

/** Snapshots that nobody will read any more: all sub-jobs have ended. */
async function dropSnapshots({ volumes }: Ports, { projectId, subJobIds }: ImageBatchInput): Promise<void> {
  for (const id of subJobIds) await volumes.deleteSnapshot(projectId, jobSnapshotId(toJobId(id)));
}
