import type { Database, JobRow } from '@ims/db';
import { sql, type Transaction } from 'kysely';
import { type Action, actionToCreate, type CreateAction, MAKES_IMAGES } from '../access/permits';

/** The action that was needed to start a job, by its type or else its saga (ims-api 3, 10.4). What is not here makes an image, which tells. */
const ACTIONS: Readonly<Record<string, Action>> = {
  // These two bring the bytes of an image that was there before (ims-api 6.6, 12.7).
  imsNativeImportImageJob: 'ims:images:upload',
  imsGoofysUploadImageJob: 'ims:images:upload',
  'image-copy': 'ims:images:copy',
  'image-replicate': 'ims:images:copy',
  'image-receive': 'ims:images:copy',
  'image-export': 'ims:images:export',
  'server-backup': 'cbr:vaults:backup',
  createServer: 'ecs:cloudServers:create',
  'cloud-change': 'ecs:cloudServers:create',
  'server-create': 'bms:servers:create',
  'volume-create': 'evs:volumes:create',
};

/** What starting any job may need: stopping, pausing and resuming one needs what its start did. */
export const STARTS_JOBS = [...MAKES_IMAGES, ...new Set(Object.values(ACTIONS))] as const;

/** What whoever stops, pauses or resumes the job must be allowed: the same as whoever started it. Jobs of several images, and so their parts, come by one call, whatever the images are. */
export async function actionToStart(trx: Transaction<Database>, job: JobRow): Promise<Action> {
  return ACTIONS[job.type] ?? ACTIONS[job.saga] ?? actionToMakeImage(trx, job);
}

async function actionToMakeImage(trx: Transaction<Database>, job: JobRow): Promise<CreateAction> {
  if (job.saga === 'image-batch' || job.parent_id !== null) return actionToCreate(undefined);
  const image = await trx
    .selectFrom('image')
    .select([
      sql<string | null>`attributes ->> 'virtual_env_type'`.as('type'),
      sql<string | null>`attributes ->> '__whole_image'`.as('whole'),
    ])
    .where('id', '=', job.image_id)
    .executeTakeFirst();
  return actionToCreate(image?.type, image?.whole === 'true');
}
