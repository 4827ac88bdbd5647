import { randomBytes, randomUUID } from 'node:crypto';
import {
  type Actor,
  IMAGE_CREATE_STEPS,
  imageId,
  imageStream,
  jobId,
  jobStream,
  type ProjectId,
  projectId,
  quotaStream,
  stepKey,
  SYSTEM,
  TERMINAL_KEY,
  undoKey,
  usageStream,
} from '@ims/contract';
import type { EventContext, NewEvent } from '../event-log.port';

export const ALICE: Actor = { kind: 'user', userId: 'a'.repeat(32), userName: 'alice', sourceIp: '192.0.2.7' };

export const aProject = (): ProjectId => projectId(randomBytes(16).toString('hex'));

/** All events of one import of an image file, in the groups in which they are committed. */
export function anImport(project: ProjectId = aProject()) {
  const job = jobId(randomBytes(16).toString('hex'));
  const image = imageId(randomUUID());
  const hash = randomBytes(32).toString('hex');
  const domainId = randomUUID();
  const context: EventContext = { projectId: project, actor: ALICE, jobId: job, requestId: randomUUID() };
  const system: EventContext = { projectId: project, actor: SYSTEM, jobId: job, workflowId: job, runId: randomUUID() };
  const images = { stream: quotaStream(project, 'image'), resource: 'image', amount: 1, holder: String(image) };
  const tasks = {
    stream: quotaStream(project, 'create_task'),
    resource: 'create_task',
    amount: 1,
    holder: String(job),
  };
  const quotaEvent = <T extends 'quota.reserved' | 'quota.settled'>(
    type: T,
    { stream, ...data }: typeof images,
  ): NewEvent => ({ type, stream, key: `${type}:${data.holder}`, data });
  const released = ({ stream, ...data }: typeof images, from: 'reserved' | 'used'): NewEvent => ({
    type: 'quota.released',
    stream,
    key: `released:${data.holder}`,
    data: { ...data, from },
  });
  const step = (data: Extract<NewEvent, { type: 'image-create.step-completed' }>['data']): NewEvent => ({
    type: 'image-create.step-completed',
    stream: jobStream(job),
    key: stepKey(data.step),
    data,
  });

  const accepted: NewEvent[] = [
    {
      type: 'job.accepted',
      stream: jobStream(job),
      key: 'accepted',
      data: {
        jobType: 'imsImportImageJob',
        saga: 'image-create',
        imageId: image,
        imageName: 'web-base-01',
        request: { name: 'web-base-01', image_url: 'bucket:disk.qcow2', min_disk: 40 },
        steps: [...IMAGE_CREATE_STEPS],
      },
    },
    {
      type: 'image.queued',
      stream: imageStream(image),
      key: 'queued',
      data: {
        name: 'web-base-01',
        diskFormat: 'zvhd2',
        minDiskGib: 40,
        minRamMib: 0,
        tags: ['env=prod'],
        attributes: { __os_type: 'Linux', __description: null, virtual_env_type: 'FusionCompute' },
      },
    },
    quotaEvent('quota.reserved', images),
    quotaEvent('quota.reserved', tasks),
  ];
  const started: NewEvent[] = [
    { type: 'job.started', stream: jobStream(job), key: 'started', data: {} },
    { type: 'image.saving', stream: imageStream(image), key: 'saving', data: {} },
  ];
  const inspected: NewEvent[] = [
    step({
      step: 'inspect',
      output: {
        file: {
          bucket: 'bucket',
          key: 'disk.qcow2',
          etag: '"1"',
          sizeBytes: 1_000,
          modifiedAt: '2026-11-24T00:00:00Z',
        },
        format: 'qcow2',
        virtualSizeBytes: 42_949_672_960,
      },
    }),
  ];
  const published: NewEvent[] = [
    step({ step: 'publish', output: { imageId: image, contentRoot: hash } }),
    {
      type: 'image.published',
      stream: imageStream(image),
      key: 'published',
      data: {
        domainId,
        manifestHash: hash,
        contentRoot: hash,
        virtualSizeBytes: 42_949_672_960,
        storedBytes: 900,
        fileBytes: 1_200,
        attributes: { __os_version: 'Debian GNU/Linux 12.0.0 64bit', virtual_env_type: null },
        dataDisks: [
          {
            device: '/dev/vdb',
            domainId,
            manifestHash: hash,
            contentRoot: hash,
            virtualSizeBytes: 10_737_418_240,
            storedBytes: 100,
          },
        ],
      },
    },
    quotaEvent('quota.settled', images),
    {
      type: 'usage.opened',
      stream: usageStream(image),
      key: 'opened',
      data: { usageId: `usage-${image}`, imageId: image, meter: 'image-storage', quantityBytes: 900 },
    },
  ];
  const succeeded: NewEvent[] = [
    { type: 'job.succeeded', stream: jobStream(job), key: TERMINAL_KEY, data: { imageId: image } },
    released(tasks, 'reserved'),
  ];
  const failed: NewEvent[] = [
    { type: 'image-create.step-undone', stream: jobStream(job), key: undoKey('ingest'), data: { step: 'ingest' } },
    { type: 'image.withdrawn', stream: imageStream(image), key: 'withdrawn', data: { reason: 'hostile file' } },
    released(images, 'reserved'),
    {
      type: 'job.failed',
      stream: jobStream(job),
      key: TERMINAL_KEY,
      data: { errorCode: 'IMG.0057', reason: 'hostile file', step: 'ingest' },
    },
    released(tasks, 'reserved'),
  ];
  return {
    project,
    job,
    image,
    hash,
    domainId,
    context,
    system,
    accepted,
    started,
    inspected,
    published,
    succeeded,
    failed,
  };
}
