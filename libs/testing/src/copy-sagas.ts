import { randomBytes, randomUUID } from 'node:crypto';
import { imageAttributes, imageId as toImageId, type JobId, jobId as toJobId, SYSTEM } from '@ims/contract';
import { ImagesRepository, inTransaction, OutboxRepository } from '@ims/db';
import { decideCopyImage } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { jobOutbox } from '@ims/job-engine';
import { findUsableImage } from '@ims/neighbours';
import type { SagaUnderTest } from './saga-laws/describe-saga-laws';
import { sagaOf, type TestCell } from './test-cell';

/** A key of the cell's project. */
export const aKey = async ({ keys, projectId }: TestCell): Promise<string> => {
  const { id } = await keys.createKey({ projectId, accountId: 'account', alias: `key-${randomUUID()}` });
  return id;
};

/** Accepts a copy of an image exactly as the gateway does; resolves with the ids of its job and of the copy. */
export async function submitCopy(
  cell: TestCell,
  source: string,
  { cmkId, before }: { cmkId?: string; before?: (job: JobId) => void } = {},
): Promise<{ jobId: JobId; imageId: string }> {
  const { projectId, region } = cell;
  const jobId = toJobId(randomBytes(16).toString('hex'));
  const imageId = toImageId(randomUUID());
  before?.(jobId);
  const outboxId = await inTransaction(cell.db, async (trx) => {
    const row = await new ImagesRepository(trx).find(projectId, source);
    const found = await findUsableImage(trx, projectId, source);
    if (row === undefined || found === undefined) throw new Error(`there is no image ${source}`);
    const { events, input } = decideCopyImage(
      {
        image: {
          ...found.image,
          attributes: imageAttributes.parse(row.attributes),
          memberStatus: null,
          lineage: { parentImageId: source, publicPlatform: null, productCode: null },
        },
        imageQuota: { limit: 10_000, used: 0, reserved: 0 },
      },
      {
        projectId,
        jobId,
        imageId,
        region,
        request: { name: 'a copy', ...(cmkId === undefined ? {} : { cmk_id: cmkId }) },
      },
    );
    await appendEvents(trx, { projectId, actor: SYSTEM, jobId }, events);
    const outbox = jobOutbox({ type: 'imageCopy', input, summary: 'Copy an image' }, region);
    return new OutboxRepository(trx).add(outbox);
  });
  await cell.starter.startNow(outboxId);
  return { jobId, imageId };
}

/** The saga of copies of one image, each under a key of its own: every one of them has bytes to write. */
export const copySagaOf = (cell: TestCell, source: string): SagaUnderTest =>
  sagaOf(cell, async (before) => submitCopy(cell, source, { cmkId: await aKey(cell), before }));
