import { imageId, SYSTEM } from '@ims/contract';
import { type Clock, type Database, inTransaction } from '@ims/db';
import { decideEndUpload } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import type { Kysely } from 'kysely';
import type { StagedFile, StagedFiles } from './staging.port';

export interface SweepOptions {
  db: Kysely<Database>;
  staged: StagedFiles;
  clock: Clock;
  /** An upload to which nothing was added for this long has been given up, in milliseconds. */
  idleMs: number;
}

// Between the bytes and the record of a file there are milliseconds; an hour is far from any clock or pause.
const STRAY_AFTER_MS = 3_600_000;

/**
 * Ends uploads that have been given up (their images wait again, as an event says) and removes what jobs and deleted images have left behind.
 * Several sweepers at once share the work. Returns the ids of the files that are gone.
 */
export async function sweepUploads(options: SweepOptions): Promise<string[]> {
  const { staged, clock } = options;
  const swept: string[] = [];
  for (const file of await staged.list()) {
    const isGone = file.jobId === null ? await expire(options, file) : await isLeftover(options.db, file.jobId);
    if (!isGone) continue;
    await staged.delete(file.id);
    swept.push(file.id);
  }
  await staged.deleteStrays(new Date(clock.now().getTime() - STRAY_AFTER_MS));
  return swept;
}

async function expire({ db, staged, clock, idleMs }: SweepOptions, file: StagedFile): Promise<boolean> {
  const idleSince = new Date(clock.now().getTime() - idleMs);
  return inTransaction(db, async (trx) => {
    const image = await trx
      .selectFrom('image')
      .select(['id', 'status', 'deleted_at'])
      .where('id', '=', file.imageId)
      .forUpdate()
      .executeTakeFirst();
    // Nothing waits for the bytes of an image that is gone, however fresh they are.
    const isOrphan = image !== undefined && image.deleted_at !== null;
    if (!isOrphan && file.touchedAt > idleSince) return false;
    if (!(await staged.forgetIdle(trx, file.id, isOrphan ? clock.now() : idleSince))) return false;
    const { events } = decideEndUpload(image && { id: imageId(image.id), status: image.status }, {
      uploadId: file.id,
      reason: `nothing was added to its upload for ${Math.round(idleMs / 60_000)} minutes`,
    });
    await appendEvents(trx, { projectId: file.projectId, actor: SYSTEM }, events, clock);
    return true;
  });
}

/** A job deletes its file at its end; one that could not has left it. */
async function isLeftover(db: Kysely<Database>, jobId: string): Promise<boolean> {
  const job = await db.selectFrom('job').select('outcome').where('id', '=', jobId).executeTakeFirst();
  return job !== undefined && job.outcome !== null;
}
