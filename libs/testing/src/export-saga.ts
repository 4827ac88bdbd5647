import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ExportFormat, imageAttributes, type JobId, jobId as toJobId, SYSTEM } from '@ims/contract';
import { ImagesRepository, inTransaction, OutboxRepository } from '@ims/db';
import { decideExportImage, isEncrypted } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { jobOutbox } from '@ims/job-engine';
import { findUsableImage } from '@ims/neighbours';
import type { SagaUnderTest } from './saga-laws/describe-saga-laws';
import { sagaOf, type TestCell } from './test-cell';
import { jobViolations } from './violations';

/** Accepts the export of an image into the cell's bucket as the gateway does, whoever exports it already. */
export async function submitExport(
  cell: TestCell,
  { imageId, format, key, bucket = 'images' }: { imageId: string; format: ExportFormat; key: string; bucket?: string },
  before: (job: JobId) => void = () => undefined,
): Promise<{ jobId: JobId; key: string }> {
  const { projectId } = cell;
  const jobId = toJobId(randomBytes(16).toString('hex'));
  const row = await new ImagesRepository(cell.db).find(projectId, imageId);
  const found = await findUsableImage(cell.db, projectId, imageId);
  if (row === undefined || found === undefined) throw new Error(`there is no image ${imageId}`);
  const { events, input } = decideExportImage(
    {
      id: imageId,
      name: found.image.name,
      status: 'active',
      imageType: 'private',
      virtualEnvType: found.image.virtualEnvType,
      isWholeServer: false,
      backupId: undefined,
      isEncrypted: isEncrypted(imageAttributes.parse(row.attributes)),
      productCode: undefined,
      publicPlatform: undefined,
      disk: found.image.disk,
      isBeingExported: false,
    },
    {
      projectId,
      jobId,
      request: {
        bucket_url: `${bucket}:${key}`,
        ...(format === 'zvhd2' ? { is_quick_export: true } : { file_format: format }),
      },
    },
  );
  before(jobId);
  const outboxId = await inTransaction(cell.db, async (trx) => {
    await appendEvents(trx, { projectId, actor: SYSTEM, jobId }, events);
    return new OutboxRepository(trx).add(jobOutbox({ type: 'imageExport', input, summary: key }, cell.region));
  });
  await cell.starter.startNow(outboxId);
  return { jobId, key };
}

/** Where the cell's exports are. */
export const exportedFile = (cell: TestCell, key: string): string => join(cell.directory, 'buckets', 'images', key);

/** The saga that exports an image, each job to an object of its own. */
export function exportSagaOf(cell: TestCell, imageId: string, format: ExportFormat): SagaUnderTest {
  const keys = new Map<string, string>();
  const saga = sagaOf(cell, async (before) => {
    const key = `exports/${randomBytes(8).toString('hex')}`;
    const job = await submitExport(cell, { imageId, format, key }, before);
    keys.set(job.jobId, key);
    return job;
  });
  return {
    ...saga,
    cleanSlate: async (id, outcome) => {
      expect(await jobViolations(cell.db, id)).toEqual([]);
      const key = keys.get(id) ?? '';
      const name = key.slice('exports/'.length);
      const folder = await readdir(exportedFile(cell, 'exports')).catch(() => new Array<string>());
      const made = folder.filter((each) => each.startsWith(name)).toSorted();
      expect(made).toEqual(outcome === 'succeeded' ? [name, `${name}.sha256`] : []);
      const usage = await cell.db
        .selectFrom('usage_record')
        .select('id')
        .where('meter', '=', 'export')
        .where('id', '=', `export:${id}`)
        .execute();
      expect(usage).toHaveLength(outcome === 'succeeded' ? 1 : 0);
      if (outcome !== 'succeeded') return;
      const bytes = await readFile(exportedFile(cell, key));
      const sum = createHash('sha256').update(bytes).digest('hex');
      expect(await readFile(exportedFile(cell, `${key}.sha256`), 'utf8')).toBe(`${sum}  ${name}\n`);
    },
    cleanSystem: async () => {
      await saga.cleanSystem();
      // Nothing of an upload stays behind, of whatever job.
      expect(await readdir(exportedFile(cell, '.ims-incoming')).catch(() => [])).toEqual([]);
    },
  };
}
