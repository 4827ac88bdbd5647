import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import { createBuckets } from '@ims/buckets';
import {
  dedupDomainId,
  imageId,
  imageStream,
  type IngestedDisk,
  jobId,
  jobStream,
  projectId,
  quotaStream,
  SYSTEM,
  TERMINAL_KEY,
  usageStream,
} from '@ims/contract';
import { inTransaction, JobsRepository } from '@ims/db';
import { appendEvents } from '@ims/event-log';
import { temporaryDirectory } from '@ims/testing';
import { type GatewayUnderTest, REGION } from './gateway-under-test';

export interface PublishedImage {
  id: string;
  jobId: string;
  projectId: string;
  disk: IngestedDisk;
  /** Guest bytes, to compare downloads with. */
  bytes: Buffer;
}

export async function createJob(
  gateway: GatewayUnderTest,
  token: string,
  body: object = {},
): Promise<{ jobId: string; imageId: string }> {
  const created = await gateway.app.inject({
    method: 'POST',
    url: '/v2/cloudimages/action',
    headers: { 'x-auth-token': token },
    payload: { name: 'debian', image_url: 'images:disk.raw', min_disk: 10, ...body },
  });
  const { job_id: id } = created.json<{ job_id: string }>();
  const job = await gateway.app.inject({ url: `/v1/cloudimages/job/${id}`, headers: { 'x-auth-token': token } });
  return { jobId: id, imageId: job.json<{ entities: { image_id: string } }>().entities.image_id };
}

/**
 * An active image whose bytes went through the real store, told to the event log as the worker tells it. With `until: 'publish'` its job is
 * not over: the usage record is still to come.
 */
export async function publishImage(
  gateway: GatewayUnderTest,
  token: string,
  bytes: Buffer,
  { until = 'meter' }: { until?: 'publish' | 'meter' } = {},
): Promise<PublishedImage> {
  const { db } = gateway.parts;
  const ids = await createJob(gateway, token);
  const job = await db.selectFrom('job').select('project_id').where('id', '=', ids.jobId).executeTakeFirstOrThrow();
  const root = await temporaryDirectory();
  const key = `${randomUUID()}.raw`;
  await mkdir(join(root, 'images'));
  const file = createWriteStream(join(root, 'images', key));
  file.end(bytes);
  await once(file, 'close');
  const buckets = createBuckets({ driver: 'directory', root, region: REGION });
  const pinned = await buckets.pin({ bucket: 'images', key });
  if (pinned === undefined) throw new Error('the disk is not in its bucket');

  const domain = await gateway.store.plainDomain(job.project_id);
  const disk = await gateway.store.ingest({
    jobId: jobId(ids.jobId),
    domainId: domain,
    disk: { reader: 'raw', source: buckets.describe(pinned), virtualSizeBytes: bytes.length },
    onProgress: () => undefined,
    signal: AbortSignal.timeout(60_000),
  });
  await inTransaction(db, async (trx) => {
    const stream = imageStream(imageId(ids.imageId));
    await gateway.store.publish(trx, {
      jobId: jobId(ids.jobId),
      imageId: imageId(ids.imageId),
      domainId: dedupDomainId(disk.domainId),
      manifestHash: disk.manifestHash,
    });
    await appendEvents(trx, { projectId: job.project_id, actor: SYSTEM, jobId: ids.jobId }, [
      { type: 'image.saving', stream, key: 'saving', data: {} },
      { type: 'image.published', stream, key: 'published', data: { ...disk, attributes: { __os_type: 'Linux' } } },
      {
        type: 'quota.settled',
        stream: quotaStream(projectId(job.project_id), 'image'),
        key: `settle:${ids.imageId}`,
        data: { resource: 'image', amount: 1, holder: ids.imageId },
      },
    ]);
  });
  const image = { id: ids.imageId, jobId: ids.jobId, projectId: job.project_id, disk, bytes };
  if (until === 'meter') await finishJob(gateway, image);
  return image;
}

/** The last step of the image's job, as the worker commits it: under the job's lock, usage and outcome together. */
export async function finishJob(gateway: GatewayUnderTest, image: PublishedImage): Promise<void> {
  const { id, disk, projectId: project } = image;
  await inTransaction(gateway.parts.db, async (trx) => {
    await new JobsRepository(trx).lock(image.jobId);
    await appendEvents(trx, { projectId: project, actor: SYSTEM, jobId: image.jobId }, [
      {
        type: 'usage.opened',
        stream: usageStream(imageId(id)),
        key: 'opened',
        data: { usageId: `image-storage:${id}`, imageId: id, meter: 'image.storage', quantityBytes: disk.storedBytes },
      },
      {
        type: 'quota.released',
        stream: quotaStream(projectId(project), 'create_task'),
        key: `release:${image.jobId}`,
        data: { resource: 'create_task', amount: 1, holder: image.jobId, from: 'reserved' },
      },
      { type: 'job.succeeded', stream: jobStream(jobId(image.jobId)), key: TERMINAL_KEY, data: { imageId: id } },
    ]);
  });
}
