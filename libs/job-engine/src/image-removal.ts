import { type ImageDeleteInput, imageId as toImageId, type ImageId, ImsError, projectId, SYSTEM } from '@ims/contract';
import {
  chargeOf,
  type Clock,
  type Database,
  type ImageRow,
  ImagesRepository,
  inTransaction,
  OutboxRepository,
  QuotaRepository,
  RecycleBinRepository,
  UsageRepository,
} from '@ims/db';
import { type DeletableImage, decidePurgeImage, type DomainEvent } from '@ims/domain';
import { appendEvents, type EventContext } from '@ims/event-log';
import type { Kysely, Transaction } from 'kysely';
import type { JobStarter } from './job-starter';
import { jobOutbox } from './outbox';

export interface RemovalParts {
  db: Kysely<Database>;
  clock: Clock;
  region: string;
  /** Lets go of the bytes that nobody else needs; the collector takes them. */
  store: {
    release(
      trx: Transaction<Database>,
      what: { imageId: ImageId } & Awaited<ReturnType<ImagesRepository['manifests']>>[number],
    ): Promise<unknown>;
  };
}

/** An image as the decisions about its deletion need it, with what is still charged for it. */
export async function deletableOf(
  trx: Transaction<Database>,
  row: ImageRow,
  { isBeingMade = false }: { isBeingMade?: boolean } = {},
): Promise<DeletableImage> {
  const usages = await new UsageRepository(trx).findOpen(row.id);
  return {
    id: toImageId(row.id),
    projectId: projectId(row.project_id),
    name: row.name,
    backupId: backupOf(row),
    status: row.status,
    imageType: row.image_type,
    protected: row.protected,
    holdReason: row.hold_reason,
    isBeingMade,
    charges: usages.map(chargeOf),
  };
}

/** `__backup_id`: the backup that the image was made from (ims-api 2.2). */
export function backupOf({ attributes }: Pick<ImageRow, 'attributes'>): string | null {
  if (typeof attributes !== 'object' || attributes === null || !('__backup_id' in attributes)) return null;
  return typeof attributes['__backup_id'] === 'string' ? attributes['__backup_id'] : null;
}

/** Commits to a decided deletion: the image is gone with the transaction, its job follows. @returns the place of the job in the outbox */
export async function recordRemoval(
  trx: Transaction<Database>,
  { clock, region, store }: RemovalParts,
  row: ImageRow | undefined,
  { events, input }: { events: DomainEvent[]; input: ImageDeleteInput },
  context: EventContext,
): Promise<number> {
  await appendEvents(trx, context, events, clock);
  for (const manifest of row === undefined ? [] : await new ImagesRepository(trx).manifests(row))
    await store.release(trx, { imageId: toImageId(input.imageId), ...manifest });
  const summary = `Delete image ${input.imageName}`;
  return new OutboxRepository(trx).add(jobOutbox({ type: 'imageDelete', input, summary }, region));
}

/**
 * Removes an image from its project's recycle bin for good. Of a purge and a restoration at once exactly one finds it there: both hold its row.
 *
 * @returns the place of its job in the outbox
 * @throws ImsError as `decidePurgeImage`
 */
export async function purgeImage(
  parts: RemovalParts,
  purge: { projectId: string; imageId: string; dueBy?: Date; contextOf(jobId: string): EventContext },
): Promise<number> {
  const { projectId: project, imageId: id, dueBy, contextOf } = purge;
  return inTransaction(parts.db, async (trx) => {
    await QuotaRepository.lock(trx, project, []);
    const row = await new ImagesRepository(trx).findOwnForUpdate(project, id);
    const image = row && {
      ...(await deletableOf(trx, row)),
      isBinned: row.binned_at !== null && row.deleted_at === null,
      purgeAfter: row.purge_after,
      purgesBackup: row.purges_backup,
    };
    const decided = decidePurgeImage(image, {
      projectId: projectId(project),
      ...(dueBy === undefined ? {} : { dueBy }),
    });
    return recordRemoval(trx, parts, row, decided, contextOf(decided.input.jobId));
  });
}

// A few hundred transactions of some milliseconds each; what is left comes with the next round at once.
const BATCH = 100;

/**
 * Purges what has been in a recycle bin for its time (MGT-05). An image that was restored or held in the meantime stays. Several sweepers at once
 * share the work. Returns the ids of the images that are gone.
 */
export async function sweepRecycleBin(
  parts: RemovalParts & { starter: Pick<JobStarter, 'startNow'> },
): Promise<string[]> {
  const dueBy = parts.clock.now();
  const swept: string[] = [];
  for (;;) {
    const overdue = await new RecycleBinRepository(parts.db).overdue(dueBy, BATCH);
    let gone = 0;
    for (const { id, project_id } of overdue) {
      const contextOf = (jobId: string): EventContext => ({ projectId: project_id, actor: SYSTEM, jobId });
      try {
        const outboxId = await purgeImage(parts, { projectId: project_id, imageId: id, dueBy, contextOf });
        await parts.starter.startNow(outboxId);
      } catch (error) {
        // Somebody was quicker, or has laid a hold on it.
        if (error instanceof ImsError) continue;
        throw error;
      }
      swept.push(id);
      gone += 1;
    }
    if (overdue.length < BATCH || gone === 0) return swept;
  }
}
