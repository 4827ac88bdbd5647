import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rmdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ExportFormat, EXPORT_FORMATS } from '@ims/contract';
import type { BucketStore } from '@ims/buckets';
import { ExportsRepository } from '@ims/db';
import {
  aKey,
  describeSagaLaws,
  exportedFile,
  exportSagaOf,
  type Fault,
  jobViolations,
  makeDebianLikeDisk,
  noise,
  type SagaUnderTest,
  submitCopy,
  submitDeletion,
  submitExport,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

const run = promisify(execFile);
const GIB = 2 ** 30;
const QEMU_NAMES: Readonly<Record<string, string>> = { vhd: 'vpc' };

/** Of one call of the bucket about one object. */
interface Accident {
  call: 'startUpload' | 'completeUpload' | 'objectOf';
  instead: (real: () => Promise<unknown>) => Promise<unknown>;
}

/** The bucket, with accidents that happen once each. */
function failing(real: BucketStore, accidents: Map<string, Accident>): BucketStore {
  const meet = async <T>(call: Accident['call'], key: string, run: () => Promise<T>): Promise<T> => {
    const accident = accidents.get(key);
    if (accident?.call !== call) return run();
    accidents.delete(key);
    // What comes back is what `run` gave.
    return (await accident.instead(run)) as T;
  };
  // All else goes to the real one.
  return Object.assign(Object.create(real) as BucketStore, {
    startUpload: ((file, options) =>
      meet('startUpload', file.key, () => real.startUpload(file, options))) satisfies BucketStore['startUpload'],
    completeUpload: ((upload, parts) =>
      meet('completeUpload', upload.file.key, () =>
        real.completeUpload(upload, parts),
      )) satisfies BucketStore['completeUpload'],
    objectOf: ((upload) =>
      meet('objectOf', upload.file.key, () => real.objectOf(upload))) satisfies BucketStore['objectOf'],
  });
}

describe('image-export (EXP-01)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let raw: string;
  let imageId: string;
  let small: string;
  /** What happens instead of a call of the bucket, once for each object. */
  const accidents = new Map<string, Accident>();
  const plan = (key: string, accident: Accident): string => {
    accidents.set(key, accident);
    return key;
  };

  beforeAll(async () => {
    cell = await TestCell.start({ buckets: (real) => failing(real, accidents) });
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    imageId = await cell.anImage(raw);
    // Compressed, so that each law goes through what is hard to go on with; small, because there are many.
    const file = join(await temporaryDirectory(), 'small.raw');
    await writeFile(file, noise('exported', 3 * 2 ** 20));
    small = await cell.anImage(file);
    saga = exportSagaOf(cell, small, 'vmdk');
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

  const incoming = () => readdir(exportedFile(cell, '.ims-incoming')).catch(() => []);

  it('leaves nothing of an upload whose worker died between its last two strokes', async () => {
    const uploads = exportedFile(cell, '.ims-incoming');
    const key = plan('half-tidied', {
      call: 'completeUpload',
      instead: async (real) => {
        const [folder = ''] = await incoming();
        // The object has its name, what it was made in is still there under its own.
        await run('cp', ['-al', join(uploads, folder), join(uploads, 'saved')]);
        await real();
        await rename(join(uploads, 'saved'), join(uploads, folder));
        throw new Error('died before the upload was removed');
      },
    });
    const { jobId } = await submitExport(cell, { imageId: small, format: 'raw', key });
    expect(await cell.settle(jobId)).toBe('succeeded');
    expect(accidents.has(key)).toBe(false);
    expect(await incoming()).toEqual([]);
  });

  it('leaves nothing of an upload that begins after its job was undone', async () => {
    const key = plan('late', {
      call: 'startUpload',
      instead: async (real) => {
        const { job_id: id } = await cell.db
          .selectFrom('export_upload')
          .select('job_id')
          .where('object_key', '=', key)
          .executeTakeFirstOrThrow();
        await saga.cancelInLog(id);
        await cell.db.deleteFrom('export_upload').where('job_id', '=', id).execute();
        return real();
      },
    });
    const { jobId } = await submitExport(cell, { imageId: small, format: 'raw', key });
    expect(await cell.settle(jobId)).toBe('cancelled');
    expect(accidents.has(key)).toBe(false);
    expect(await incoming()).toEqual([]);
  });

  it('gives its name back when the bucket goes before anything is in it', async () => {
    const bucket = exportedFile(cell, '../passing');
    await mkdir(bucket);
    const key = plan('x', {
      call: 'startUpload',
      instead: async (real) => {
        await rmdir(bucket);
        return real();
      },
    });
    const { jobId } = await submitExport(cell, { imageId: small, format: 'raw', key, bucket: 'passing' });
    expect(await cell.settle(jobId)).toBe('failed');
    expect(await errorOf(jobId)).toBe('IMG.0069');
    expect(await jobViolations(cell.db, jobId)).toEqual([]);
  });

  it('takes a name that an ended job could not give back', async () => {
    const ended = await submitExport(cell, { imageId: small, format: 'raw', key: 'once' });
    expect(await cell.settle(ended.jobId)).toBe('succeeded');
    await cell.db
      .insertInto('export_upload')
      .values({ job_id: ended.jobId, bucket: 'images', object_key: 'again', part_bytes: 1, foreign_uploads: '[]' })
      .execute();
    const { jobId } = await submitExport(cell, { imageId: small, format: 'raw', key: 'again' });
    expect(await cell.settle(jobId)).toBe('succeeded');
    // Nor does a worker that wakes up late take another one for it.
    const late = { jobId: ended.jobId, bucket: 'images', key: 'late', partBytes: 1, foreignUploads: [] };
    expect(await new ExportsRepository(cell.db).claim(late)).toBeUndefined();
  });

  it('reads an object again that somebody touched meanwhile', async () => {
    const touch: Accident = {
      call: 'objectOf',
      instead: async (real) => {
        const pinned = await real();
        if (pinned === undefined) plan('touched', touch);
        else await utimes(exportedFile(cell, 'touched'), 1, 1);
        return pinned;
      },
    };
    const key = plan('touched', touch);
    const { jobId } = await submitExport(cell, { imageId: small, format: 'raw', key });
    expect(await cell.settle(jobId)).toBe('succeeded');
    expect(accidents.has(key)).toBe(false);
  });

  it('refuses a name under an object (IMG.0075)', async () => {
    await writeFile(exportedFile(cell, 'an-object'), 'mine');
    const { jobId } = await submitExport(cell, { imageId: small, format: 'raw', key: 'an-object/x' });
    expect(await cell.settle(jobId)).toBe('failed');
    expect(await errorOf(jobId)).toBe('IMG.0075');
  });

  it('exports an encrypted image decrypted, as long as its key may be used, and not by quick export (EXP-06)', async () => {
    const cmkId = await aKey(cell);
    const { jobId: copied, imageId: sealed } = await submitCopy(cell, imageId, { cmkId });
    expect(await cell.settle(copied)).toBe('succeeded');
    const { jobId, key } = await submitExport(cell, { imageId: sealed, format: 'qcow2', key: 'opened.qcow2' });
    expect(await cell.settle(jobId)).toBe('succeeded');
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, exportedFile(cell, key)]);
    const quick = submitExport(cell, { imageId: sealed, format: 'zvhd2', key: 'sealed' });
    await expect(quick).rejects.toMatchObject({ code: 'IMG.0105' });
    const switchOff: Fault = async ({ real, call }) => {
      if (call === 1) await cell.keys.disableKey(cell.projectId, cmkId);
      return real();
    };
    const late = await submitExport(cell, { imageId: sealed, format: 'raw', key: 'sealed' }, (id) =>
      cell.faults.plan(id, { exportImage: switchOff }),
    );
    expect(await cell.settle(late.jobId)).toBe('failed');
    expect(await errorOf(late.jobId)).toBe('IMG.0097');
    expect(await jobViolations(cell.db, late.jobId)).toEqual([]);
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
