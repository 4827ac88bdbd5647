import { identifiedOs, type ImageAttributes, type ImageJob } from '@ims/contract';
import type { ActivityPorts } from '../step/ports';
import { notYet } from '../step/not-yet';
import { jobOf } from '../step/run-step';

/**
 * What the system disk that a data disk comes with says about the data (ims-api 6.2 C): the kind of its system, once somebody has looked. Nothing for
 * data of its own, and for a system whose image was not made.
 *
 * @throws ApplicationFailure NotYet while the job of the system disk has not come so far
 */
export async function systemOfData(db: ActivityPorts['db'], input: ImageJob): Promise<ImageAttributes> {
  const { systemJobId } = input;
  if (systemJobId === undefined) return {};
  const found = await db
    .selectFrom('job')
    .leftJoin('job_step', (join) =>
      join.onRef('job_step.job_id', '=', 'job.id').on('job_step.step', '=', 'identify-os'),
    )
    .select(['job.outcome', 'job_step.output'])
    .where('job.id', '=', systemJobId)
    .executeTakeFirst();
  const os = identifiedOs.safeParse(found?.output);
  if (os.success) return { __os_type: os.data.osType };
  const { cancel_reason: cancelReason } = await jobOf(db, input);
  // A job that is to end does not wait for another one.
  if (found?.outcome === null && cancelReason === null) throw notYet(`job ${systemJobId} has not seen the system yet`);
  return {};
}
