import { type DiskOfSet, jobId as toJobId, jobSnapshotId } from '@ims/contract';
import type { ActivityPorts } from '../step/ports';

type Ports = Pick<ActivityPorts, 'db' | 'volumes'>;

/** The disks whose jobs are still to make their image. A job that was cancelled or has given its snapshot up must not get one that nobody drops. */
export async function wantingTheirMoment({ db }: Ports, set: readonly DiskOfSet[]): Promise<DiskOfSet[]> {
  const done = await notWanting(db, set, { cancelled: true });
  return set.filter(({ jobId }) => !done.has(jobId));
}

/**
 * Drops snapshots that came too late: their jobs gave them up, let them go or ended while they were taken. What slips through in that very
 * moment is dropped when the job of all disks ends.
 */
export async function dropWhatNobodyWants(
  { db, volumes }: Ports,
  projectId: string,
  set: readonly DiskOfSet[],
): Promise<void> {
  // The undo of a job that is only to be cancelled is still to come, and drops its own.
  for (const jobId of await notWanting(db, set, { cancelled: false }))
    await volumes.deleteSnapshot(projectId, jobSnapshotId(toJobId(jobId)));
}

async function notWanting(
  db: Ports['db'],
  set: readonly DiskOfSet[],
  { cancelled }: { cancelled: boolean },
): Promise<Set<string>> {
  const rows = await db
    .selectFrom('job')
    .select('id')
    .where(
      'id',
      'in',
      set.map(({ jobId }) => jobId),
    )
    .where(({ eb, or, exists, selectFrom }) =>
      or([
        eb('outcome', 'is not', null),
        ...(cancelled ? [eb('cancel_reason', 'is not', null)] : []),
        exists(
          selectFrom('job_step')
            .select('step')
            .whereRef('job_step.job_id', '=', 'job.id')
            .where((step) =>
              step.or([
                step('step', '=', 'release-snapshot'),
                step.and([step('step', '=', 'snapshot'), step('undone_at', 'is not', null)]),
              ]),
            ),
        ),
      ]),
    )
    .execute();
  return new Set(rows.map(({ id }) => id));
}
