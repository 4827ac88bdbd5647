import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ExportFormat, EXPORT_FORMATS } from '@ims/contract';
import {
  describeSagaLaws,
  exportedFile,
  exportSagaOf,
  type Fault,
  jobViolations,
  makeDebianLikeDisk,
  noise,
  type SagaUnderTest,
  submitDeletion,
  submitExport,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

const run = promisify(execFile);
const GIB = 2 ** 30;
const QEMU_NAMES: Readonly<Record<string, string>> = { vhd: 'vpc' };

describe('image-export (EXP-01)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let raw: string;
  let imageId: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    imageId = await cell.anImage(raw);
    // Compressed, so that each law goes through what is hard to go on with; small, because there are many.
    const small = join(await temporaryDirectory(), 'small.raw');
    await writeFile(small, noise('exported', 3 * 2 ** 20));
    saga = exportSagaOf(cell, await cell.anImage(small), 'vmdk');
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'image-export',
      steps: ['checkImages', 'exportImage', 'checkExport', 'releaseExport'],
      undos: [
        { undo: 'dropImageHolds', failAt: 'exportImage' },
        { undo: 'withdrawExport', failAt: 'checkExport' },
        { undo: 'withdrawChecksum', failAt: 'releaseExport' },
      ],
    },
    () => saga,
  );

  const submit = (format: ExportFormat, key: string = randomUUID()) => submitExport(cell, { imageId, format, key });
  const errorOf = async (id: string) =>
    (await cell.db.selectFrom('job').select('error_code').where('id', '=', id).executeTakeFirst())?.error_code;

  it.each(EXPORT_FORMATS)('writes %s that holds the same disk (EXP-02)', async (format) => {
    const { jobId, key } = await submit(format);
    expect(await cell.settle(jobId)).toBe('succeeded');
    const file = exportedFile(cell, key);
    if (format === 'zvhd' || format === 'zvhd2') {
      // qemu does not know them: imported again by our own readers, the disk is the same content.
      const { jobId: back, imageId: again } = await cell.submitImport({ key });
      expect(await cell.settle(back)).toBe('succeeded');
      const rows = await cell.db
        .selectFrom('image')
        .select('content_root')
        .where('id', 'in', [imageId, again])
        .execute();
      expect(rows[0]?.content_root).toBe(rows[1]?.content_root);
    } else {
      const qemu = QEMU_NAMES[format] ?? format;
      if (format === 'qcow2' || format === 'vmdk') await run('qemu-img', ['check', '-f', qemu, file]);
      await run('qemu-img', ['compare', '-f', 'raw', '-F', qemu, raw, file]);
    }
    await run('sha256sum', ['-c', `${key}.sha256`], { cwd: exportedFile(cell, '.') });
  });

  it('never overwrites: neither an object nor sums, nor does one of two that race for a name (IMG.0070)', async () => {
    await writeFile(exportedFile(cell, 'taken'), 'mine');
    await writeFile(exportedFile(cell, 'summed.sha256'), 'mine');
    const jobs = await Promise.all([submit('raw', 'taken'), submit('raw', 'summed')]);
    for (const { jobId } of jobs) {
      expect(await cell.settle(jobId)).toBe('failed');
      expect(await errorOf(jobId)).toBe('IMG.0070');
    }
    expect(await readFile(exportedFile(cell, 'taken'), 'utf8')).toBe('mine');
    expect(await readFile(exportedFile(cell, 'summed.sha256'), 'utf8')).toBe('mine');

    const raced = await Promise.all([submit('qcow2', 'raced'), submit('raw', 'raced')]);
    const ends = await Promise.all(raced.map(({ jobId }) => cell.settle(jobId)));
    expect(ends.toSorted()).toEqual(['failed', 'succeeded']);
    await run('sha256sum', ['-c', 'raced.sha256'], { cwd: exportedFile(cell, '.') });
    for (const { jobId } of raced) expect(await jobViolations(cell.db, jobId)).toEqual([]);
  });

  it.each([
    ['of another class', { storageClass: 'COLD' }, 'IMG.0069'],
    ['of another region', { region: 'elsewhere-1' }, 'IMG.0058'],
    ['that is not there', undefined, 'IMG.0069'],
  ])('writes nothing into a bucket %s (EXP-07)', async (what, description, code) => {
    const bucket = exportedFile(cell, join('..', `bucket-${randomUUID().slice(0, 8)}`));
    if (description !== undefined) {
      await mkdir(bucket);
      await writeFile(join(bucket, '.ims-bucket.json'), JSON.stringify(description));
    }
    const { jobId } = await submitExport(cell, {
      imageId,
      format: 'raw',
      key: 'x',
      bucket: bucket.split('/').at(-1) ?? '',
    });
    expect(await cell.settle(jobId)).toBe('failed');
    expect(await errorOf(jobId)).toBe(code);
  });

  it('keeps the bytes of an image that is deleted while it is exported', async () => {
    const gone = await cell.anImage(raw);
    const deleteFirst: Fault = async ({ real, call }) => {
      if (call === 1) {
        const { jobId } = await submitDeletion(cell, { imageId: gone });
        await cell.settle(jobId);
        await cell.store.collect();
      }
      return real();
    };
    const { jobId, key } = await submitExport(cell, { imageId: gone, format: 'qcow2', key: 'late.qcow2' }, (id) =>
      cell.faults.plan(id, { exportImage: deleteFirst }),
    );
    expect(await cell.settle(jobId)).toBe('succeeded');
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, exportedFile(cell, key)]);
  });

  it('exports the disk in a file, which is made readable first (CRE-11)', async () => {
    const bytes = await readFile(raw);
    const { jobId: upload, imageId: sent } = await cell.submitUpload(bytes, 'raw');
    expect(await cell.settle(upload)).toBe('succeeded');
    const { jobId, key } = await submitExport(cell, { imageId: sent, format: 'vhd', key: 'sent.vhd' });
    expect(await cell.settle(jobId)).toBe('succeeded');
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'vpc', raw, exportedFile(cell, key)]);
  });

  it('exports a sparse disk of 129 GiB by quick export in a moment (EXP-04)', async () => {
    const file = await open(exportedFile(cell, 'large.raw'), 'w');
    await file.truncate(129 * GIB);
    await file.write(Buffer.alloc(4096, 'far away '), 0, 4096, 128 * GIB);
    await file.close();
    await writeFile(exportedFile(cell, 'large.mf'), 'bitmap');
    const { jobId: made, imageId: large } = await cell.submitQuickImport('large.raw', 129);
    expect(await cell.settle(made)).toBe('succeeded');
    const { jobId, key } = await submitExport(cell, { imageId: large, format: 'zvhd2', key: 'large.zvhd2' });
    expect(await cell.settle(jobId)).toBe('succeeded');
    const { jobId: back, imageId: again } = await cell.submitQuickImport(key, 129);
    expect(await cell.settle(back)).toBe('succeeded');
    const rows = await cell.db.selectFrom('image').select('content_root').where('id', 'in', [large, again]).execute();
    expect(rows[0]?.content_root).toBe(rows[1]?.content_root);
    await expect(submitExport(cell, { imageId: large, format: 'qcow2', key: 'x' })).rejects.toMatchObject({
      code: 'IMG.0160',
    });
  });
});
