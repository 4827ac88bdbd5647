import { rebuildProjections, verifyLog } from '@ims/event-log';
import type { Database, ImageRow } from '@ims/db';
import { CollectorBusyError, type ImageStore } from '@ims/image-store';
import { waitFor } from '@ims/embedded';
import { checkJobs, type Temporal } from '@ims/job-engine';
import { type Kysely, sql } from 'kysely';
import { trailViolations } from './trail';

/** Whether its bytes are there, whoever may use them. */
const isUsed = ({ status }: Pick<ImageRow, 'status'>): boolean => status === 'active' || status === 'deactivated';

export interface SystemParts {
  db: Kysely<Database>;
  /** Connection string of the owner of the tables: a rebuild makes a schema of its own. */
  ownerUrl: string;
  /** A store over the same AZ without any grace, so that what nobody owns goes at once. */
  store: ImageStore;
  temporal: Temporal;
}

/**
 * Whatever is wrong with one job that has ended: holds, open packs, image, usage and reason must fit its outcome (fault-matrix I2, I4, I8).
 * Empty for a job that left exactly what it should.
 *
 * @example expect(await jobViolations(db, jobId)).toEqual([]);
 */
export async function jobViolations(db: Kysely<Database>, id: string): Promise<string[]> {
  const found: string[] = [];
  const say = (what: string): number => found.push(`job ${id}: ${what}`);
  const job = await db.selectFrom('job').selectAll().where('id', '=', id).executeTakeFirst();
  if (job === undefined) return [`job ${id}: does not exist`];
  if (job.outcome === null) return [`job ${id}: has not ended`];
  const imageId = job.image_id ?? '';
  const images = await db.selectFrom('image').selectAll().where('id', '=', imageId).execute();
  const holds = await db.selectFrom('segment_hold').select('segment_index').where('job_id', '=', id).execute();
  const manifests = await db.selectFrom('manifest_hold').select('hash').where('job_id', '=', id).execute();
  const open = await db.selectFrom('pack').select('id').where('job_id', '=', id).where('state', '=', 'open').execute();
  const usage = await db
    .selectFrom('usage_record')
    .select('id')
    .where('image_id', '=', imageId)
    .where('voided_at', 'is', null)
    .where('closed_at', 'is', null)
    .execute();
  if (holds.length > 0) say(`${holds.length} segments are still held`);
  if (manifests.length > 0) say(`${manifests.length} manifests are still held`);
  if (open.length > 0) say(`${open.length} packs are still open`);
  if (job.saga === 'image-export') {
    // The image was there before and is there after, however the job ended.
    for (const table of ['export_upload', 'export_part'] as const) {
      const left = await db.selectFrom(table).select('job_id').where('job_id', '=', id).execute();
      if (left.length > 0) say(`${left.length} rows of ${table} are left`);
    }
    if (job.status !== (job.outcome === 'succeeded' ? 'SUCCESS' : 'FAIL')) say(`${job.outcome}: ${job.status}`);
    return found;
  }
  const live = images.filter((image) => image.deleted_at === null);
  if (job.outcome === 'succeeded') {
    if (job.status !== 'SUCCESS') say(`succeeded with status ${job.status}`);
    // An image may have been deleted since; then nothing is charged any more.
    // The image of a copy to another region is there, not here.
    const isElsewhere = job.saga === 'image-replicate';
    if (images.length !== (job.image_id === null || isElsewhere ? 0 : 1)) say(`${images.length} images`);
    for (const image of live) if (!isUsed(image)) say(`succeeded, its image is ${image.status}`);
    (await wrongCharges(db, live)).forEach(say);
  } else {
    if (job.status !== 'FAIL') say(`${job.outcome} with status ${job.status}`);
    if (job.fail_reason === null) say('failed without a reason');
    // An image that was there before the job waits for another one, which may have come.
    const isOlder = await madeWithoutJob(db, imageId);
    const filled = isOlder && (await hasSucceeded(db, imageId));
    for (const image of live) {
      if (!isOlder || (image.status !== 'queued' && !filled)) say(`${job.outcome}, and an image is ${image.status}`);
    }
    if (isOlder && images.some(({ status }) => status === 'killed')) say(`${job.outcome}, and the image went with it`);
    if (usage.length > 0 && !filled) say(`${job.outcome}, and usage is charged`);
  }
  return found;
}

/** A pass of ours, after one that the worker has under way. */
async function collectAlone(store: ImageStore): Promise<void> {
  await waitFor(
    () =>
      store.collect().catch((err: unknown) => {
        if (err instanceof CollectorBusyError) return undefined;
        throw err;
      }),
    { deadlineMs: 30_000, what: 'the turn of our own pass over the store' },
  );
}

/** Manifests that the collector must keep for images of which none lives. */
async function manifestsOfNobody(db: Kysely<Database>): Promise<string[]> {
  const rows = await db
    .selectFrom('manifest')
    .select('hash')
    .where('published', '=', true)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('image')
            .leftJoin('image_part', 'image_part.image_id', 'image.id')
            .select('image.id')
            .where('image.deleted_at', 'is', null)
            .where((eb) =>
              eb.or([
                eb('image.manifest_hash', '=', eb.ref('manifest.hash')),
                eb('image_part.manifest_hash', '=', eb.ref('manifest.hash')),
              ]),
            ),
        ),
      ),
    )
    .execute();
  return rows.map(({ hash }) => hash);
}

/** Whether another job has brought the image's bytes. */
async function hasSucceeded(db: Kysely<Database>, imageId: string): Promise<boolean> {
  const jobs = await db
    .selectFrom('job')
    .select('id')
    .where('image_id', '=', imageId)
    .where('outcome', '=', 'succeeded')
    .execute();
  return jobs.length > 0;
}

/** Whether an image was made by a call of its own, to get its bytes later (ims-api 12.3). */
async function madeWithoutJob(db: Kysely<Database>, imageId: string): Promise<boolean> {
  const queued = await db
    .selectFrom('event')
    .select('job_id')
    .where('stream_id', '=', `image:${imageId}`)
    .where('type', '=', 'image.queued')
    .executeTakeFirst();
  return queued !== undefined && queued.job_id === null;
}

/**
 * Whatever is wrong with a region in which nothing runs any more, after one pass of the collector: store against rows (I4), engine against
 * events (I2), the chain (I6), tables against events (I5), the trail against the log (G3, G12), quota and usage against images (I8).
 */
export async function systemViolations({ db, ownerUrl, store, temporal }: SystemParts): Promise<string[]> {
  const found: string[] = [];
  await collectAlone(store);
  const { unknownObjects, missingObjects } = await store.audit();
  found.push(...unknownObjects.map((name) => `store: nothing explains ${name}`));
  found.push(...missingObjects.map((name) => `store: ${name} is missing`));
  found.push(
    ...(await manifestsOfNobody(db)).map((hash) => `store: manifest ${hash} is published, and no image has it`),
  );
  found.push(...(await checkJobs(db, temporal)).map(({ jobId, what }) => `job ${jobId}: ${what}`));
  found.push(...(await verifyLog(db)).damages.map((damage) => `event log: ${JSON.stringify(damage)}`));
  found.push(
    ...(await rebuildProjections(ownerUrl)).differences.map(
      (difference) => `projection: ${JSON.stringify(difference)}`,
    ),
  );
  found.push(...(await trailViolations(db)));
  const kept = await db.selectFrom('image').selectAll().where('deleted_at', 'is', null).execute();
  const stored = kept.filter(isUsed);
  // What is in the recycle bin has given its place back, and is charged as long as it is there.
  const active = stored.filter(({ binned_at }) => binned_at === null);
  const waiting = await db
    .selectFrom('image')
    .select('project_id')
    .where('status', 'in', ['queued', 'uploading'])
    .execute();
  const quota = await db.selectFrom('quota').select(['project_id', 'resource', 'used', 'reserved']).execute();
  for (const row of quota) {
    const images = active.filter((image) => image.project_id === row.project_id).length;
    const used = row.resource === 'image' ? images : 0;
    // An image that waits for its bytes has its place already.
    const reserved =
      row.resource === 'image' ? waiting.filter((image) => image.project_id === row.project_id).length : 0;
    if (row.used !== used || row.reserved !== reserved) {
      found.push(
        `quota ${row.resource}: used ${row.used} instead of ${used}, reserved ${row.reserved} instead of ${reserved}`,
      );
    }
  }
  found.push(...(await wrongCharges(db, stored)));
  found.push(...(await chargesOfNothing(db)), ...(await unpaidBackups(db)));
  return found;
}

const openCharges = (db: Kysely<Database>) =>
  db.selectFrom('usage_record').selectAll().where('voided_at', 'is', null).where('closed_at', 'is', null);

/** Each image that lives, unless it is public, is charged as what it keeps, once, and as the product that it came from, if any (I8). */
async function wrongCharges(db: Kysely<Database>, images: readonly ImageRow[]): Promise<string[]> {
  const found: string[] = [];
  for (const { id, attributes, product_code, image_type } of images) {
    const isPublic = image_type === 'gold';
    const backup = Object.entries(attributes ?? {}).find(([name]) => name === '__backup_id')?.[1];
    const open = await openCharges(db)
      .where((eb) =>
        typeof backup === 'string'
          ? eb.or([eb('image_id', '=', id), eb('backup_id', '=', backup)])
          : eb('image_id', '=', id),
      )
      .execute();
    const storage = open.filter(({ meter }) => meter === 'image.storage' || meter === 'backup.storage').length;
    const product = open.filter(({ meter }) => meter === 'market.image').length;
    if (storage !== (isPublic ? 0 : 1)) found.push(`usage: image ${id} has ${storage} open charges for what it keeps`);
    if (product !== (product_code === null || isPublic ? 0 : 1))
      found.push(`usage: image ${id} has ${product} product charges`);
  }
  return found;
}

/** Open charges for images and backups that are not there any more. */
async function chargesOfNothing(db: Kysely<Database>): Promise<string[]> {
  const rows = await openCharges(db)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('image')
            .select('image.id')
            .whereRef('image.id', '=', 'usage_record.image_id')
            .where('image.status', 'in', ['active', 'deactivated']),
        ),
      ),
    )
    .where(({ not, exists, selectFrom, and, eb }) =>
      not(
        and([
          eb('usage_record.image_id', 'is', null),
          exists(
            selectFrom('cloud.backup')
              .select('cloud.backup.id')
              .whereRef('cloud.backup.id', '=', 'usage_record.backup_id'),
          ),
        ]),
      ),
    )
    .execute();
  return rows.map(({ id }) => `usage: ${id} is open, and what it is for is gone`);
}

/** Backups that a checkpoint has made, or that came along with an image, and that nobody pays for. */
async function unpaidBackups(db: Kysely<Database>): Promise<string[]> {
  const backups = await db.selectFrom('cloud.backup').select(['id', 'checkpoint_id']).execute();
  const jobs = await db
    .selectFrom('job')
    .select('id')
    .where('saga', '=', 'server-backup')
    .where('outcome', '=', 'succeeded')
    .execute();
  const made = new Set(jobs.map(({ id }) => id));
  const replicas = await db
    .selectFrom('job')
    .innerJoin('image', 'image.id', 'job.image_id')
    .select(sql<string | null>`image.attributes ->> '__backup_id'`.as('backupId'))
    .where('job.saga', '=', 'image-receive')
    .where('job.outcome', '=', 'succeeded')
    .execute();
  const came = new Set(replicas.map(({ backupId }) => backupId));
  const paid = new Set((await openCharges(db).execute()).map(({ backup_id }) => backup_id));
  return backups
    .filter(({ id, checkpoint_id }) => made.has(checkpoint_id.replaceAll('-', '')) || came.has(id))
    .filter(({ id }) => !paid.has(id))
    .map(({ id }) => `usage: nobody pays for backup ${id}`);
}
