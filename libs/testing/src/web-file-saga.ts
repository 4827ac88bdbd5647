import { randomBytes, randomUUID } from 'node:crypto';
import { imageId as toImageId, type JobId, jobId as toJobId, SYSTEM } from '@ims/contract';
import { inTransaction, OutboxRepository } from '@ims/db';
import { decideCreateMetadata, decideUpload } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { imageCreateWorkflow, jobOutbox } from '@ims/job-engine';
import type { SagaUnderTest } from './saga-laws/describe-saga-laws';
import { sagaOf, type TestCell } from './test-cell';

/** Makes an image without bytes and accepts the import of a file of the web into it, as the gateway does. */
export async function submitWebFile(
  cell: TestCell,
  { uri, diskFormat }: { uri: string; diskFormat: string },
  before: (job: JobId) => void = () => undefined,
): Promise<{ jobId: JobId; imageId: string }> {
  const { projectId } = cell;
  const imageId = toImageId(randomUUID());
  const jobId = toJobId(randomBytes(16).toString('hex'));
  const plenty = { limit: 10_000, used: 0, reserved: 0 };
  const request = { name: 'under-test', disk_format: diskFormat };
  before(jobId);
  const outboxId = await inTransaction(cell.db, async (trx) => {
    const made = decideCreateMetadata({ imageQuota: plenty }, { projectId, imageId, request });
    await appendEvents(trx, { projectId, actor: SYSTEM }, made.events);
    const image = { id: imageId, projectId, name: 'under-test', status: 'queued', diskFormat };
    const { events, input } = decideUpload(
      { image: { ...image, minDiskGib: 0, attributes: {}, isBeingMade: false }, createTaskQuota: plenty },
      { projectId, jobId, from: { by: 'web', uri } },
    );
    await appendEvents(trx, { projectId, actor: SYSTEM, jobId }, events);
    return new OutboxRepository(trx).add(jobOutbox(imageCreateWorkflow(input), cell.region));
  });
  await cell.starter.startNow(outboxId);
  return { jobId, imageId };
}

/** The saga that makes an image of a file of the web. Every job has an image of its own. */
export function webFileSagaOf(cell: TestCell, file: { uri: string; diskFormat: string }): SagaUnderTest {
  return sagaOf(cell, (before) => submitWebFile(cell, file, before));
}
