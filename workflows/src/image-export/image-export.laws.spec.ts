import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rmdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type BucketFile, type ExportFormat, EXPORT_FORMATS } from '@ims/contract';
import type { BucketStore, ObjectUpload } from '@ims/buckets';
import { ExportsRepository } from '@ims/db';
import {
  aKey,
  describeSagaLaws,
  exportedFile,
  exportSagaOf,
  type Fault,
  jobViolations,
  noise,
  type Outcome,
  type SagaUnderTest,
  submitCopy,
  submitDeletion,
  submitExport,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';
import { sql } from 'kysely';

const run = promisify(execFile);
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const QEMU_NAMES: Readonly<Record<string, string>> = { vhd: 'vpc' };

/** What happens instead of a call of the bucket about one object; `nth` counts those calls from 1 on. */
type Accident = (real: () => Promise<unknown>, nth: number, part: number) => Promise<unknown>;

/** The bucket, with accidents planned by call and object; whatever is not planned goes to the real one. */
class FailingBuckets {
  private readonly plans = new Map<string, { accident: Accident; calls: number }>();

  plan(call: 'startUpload' | 'pendingUploads' | 'putPart' | 'completeUpload' | 'objectOf', key: string, how: Accident) {
    this.plans.set(`${call} ${key}`, { accident: how, calls: 0 });
  }

  over(real: BucketStore): BucketStore {
    const meet = async <T>(call: string, { key }: BucketFile, run: () => Promise<T>, part = 0): Promise<T> => {
      const plan = this.plans.get(`${call} ${key}`);
      if (plan === undefined) return run();
      plan.calls += 1;
      // What comes back is what `run` gave.
      return (await plan.accident(run, plan.calls, part)) as T;
    };
    const failing: Partial<BucketStore> = {
      startUpload: (file, options) => meet('startUpload', file, () => real.startUpload(file, options)),
      pendingUploads: (file) => meet('pendingUploads', file, () => real.pendingUploads(file)),
      putPart: (upload, part, body, signal) =>
        meet('putPart', upload.file, () => real.putPart(upload, part, body, signal), part),
      completeUpload: (upload, parts) => meet('completeUpload', upload.file, () => real.completeUpload(upload, parts)),
      objectOf: (upload) => meet('objectOf', upload.file, () => real.objectOf(upload)),
    };
    return Object.assign(Object.create(real) as BucketStore, failing);
  }
}

describe('image-export (EXP-01)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let raw: string;
  let imageId: string;
  const failing = new FailingBuckets();

  beforeAll(async () => {
    cell = await TestCell.start({ buckets: (real) => failing.over(real) });
    raw = join(await temporaryDirectory(), 'disk.raw');
    // Something of each kind: what compresses, what does not, and a hole; little of it, because it is exported a hundred times.
    const file = await open(raw, 'w');
    await file.truncate(7 * MIB);
    await file.write(noise('exported', MIB), 0, MIB, 0);
    await file.write(Buffer.alloc(MIB, 'compressible '), 0, MIB, 5 * MIB);
    await file.close();
    imageId = await cell.anImage(raw);
    // Compressed, so that each law goes through what is hard to go on with.
    saga = exportSagaOf(cell, imageId, 'vmdk');
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'image-export',
      steps: ['checkImages', 'exportImage', 'checkExport', 'releaseExport'],
      // The first one is that of servers and disks.
      only: ['exportImage', 'checkExport', 'releaseExport'],
      undos: [
        { undo: 'withdrawExport', failAt: 'checkExport' },
        { undo: 'withdrawChecksum', failAt: 'releaseExport' },
      ],
    },
    () => saga,
  );

  const submit = (format: ExportFormat, key: string = randomUUID()) => submitExport(cell, { imageId, format, key });
  const rootOf = async (id: string) =>
    (await cell.db.selectFrom('image').select('content_root').where('id', '=', id).executeTakeFirstOrThrow())
      .content_root;
  const errorOf = async (id: string) =>
    (await cell.db.selectFrom('job').select('error_code').where('id', '=', id).executeTakeFirst())?.error_code;

  /** Fails unless the object is sound, holds the same disk, and has its sums beside it. */
  async function holdsTheDisk(format: ExportFormat, key: string): Promise<void> {
    const file = exportedFile(cell, key);
    await run('sha256sum', ['-c', `${key}.sha256`], { cwd: exportedFile(cell, '.') });
    if (format === 'zvhd' || format === 'zvhd2') {
      // qemu does not know them: imported again by our own readers, the disk is the same content.
      const { jobId: back, imageId: again } = await cell.submitImport({ key });
      expect(await cell.settle(back)).toBe('succeeded');
      expect(await rootOf(again)).toBe(await rootOf(imageId));
      return;
    }
    const qemu = QEMU_NAMES[format] ?? format;
    if (format === 'qcow2' || format === 'vmdk') await run('qemu-img', ['check', '-f', qemu, file]);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', qemu, raw, file]);
  }

  it('writes each format, and all of them hold the same disk (EXP-02)', async () => {
    await Promise.all(
      EXPORT_FORMATS.map(async (format) => {
        const { jobId, key } = await submit(format);
        expect(await cell.settle(jobId)).toBe('succeeded');
        await holdsTheDisk(format, key);
      }),
    );
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

  describe('whose worker or bucket fails in the middle', () => {
    const IN_PARTS = ['qcow2', 'vmdk', 'zvhd'] as const;
    const jobs = new Map<string, { jobId: string; outcome: Promise<Outcome> }>();
    const sent = new Map<string, number[]>();
    const folders = new Map<string, string>();
    const incoming = (...path: string[]) => exportedFile(cell, join('.ims-incoming', ...path));
    const folderOf = (uploadId: string): string => uploadId.split('.')[0] ?? '';
    const uploadOf = (key: string) =>
      cell.db.selectFrom('export_upload').selectAll().where('object_key', '=', key).executeTakeFirstOrThrow();
    let touches = 0;

    /** Parts of the usual length would need a large disk. */
    const inSmallParts = (key: string): void => {
      failing.plan('pendingUploads', key, async (real, nth) => {
        if (nth > 1) return real();
        const { id } = await cell.db
          .selectFrom('job')
          .select('id')
          .where(sql`request ->> 'bucket_url'`, '=', `images:${key}`)
          .executeTakeFirstOrThrow();
        const row = { job_id: id, bucket: 'images', object_key: key, part_bytes: 300_007, foreign_uploads: '[]' };
        await cell.db.insertInto('export_upload').values(row).execute();
        return real();
      });
      const numbers: number[] = [];
      sent.set(key, numbers);
      failing.plan('putPart', key, async (real, nth, part) => {
        numbers.push(part);
        const made = await real();
        if (nth === 3) throw new Error('died before the part was on record');
        return made;
      });
    };

    // All at once: each of them waits for the next attempt of its step.
    beforeAll(async () => {
      for (const format of IN_PARTS) inSmallParts(`in-parts.${format}`);
      failing.plan('completeUpload', 'half-tidied.raw', async (real, nth) => {
        if (nth > 1) return real();
        const folder = folderOf((await uploadOf('half-tidied.raw')).upload_id ?? '');
        folders.set('half-tidied.raw', folder);
        // The object has its name, what it was made in is still there under its own.
        await run('cp', ['-al', incoming(folder), incoming('saved')]);
        await real();
        await rename(incoming('saved'), incoming(folder));
        throw new Error('died before the upload was removed');
      });
      failing.plan('startUpload', 'undone.raw', async (real) => {
        const { job_id: id } = await uploadOf('undone.raw');
        await saga.cancelInLog(id);
        await cell.db.deleteFrom('export_upload').where('job_id', '=', id).execute();
        const upload = (await real()) as ObjectUpload;
        folders.set('undone.raw', folderOf(upload.uploadId));
        return upload;
      });
      failing.plan('objectOf', 'touched.raw', async (real) => {
        const pinned = await real();
        if (pinned === undefined || touches > 0) return pinned;
        touches += 1;
        await utimes(exportedFile(cell, 'touched.raw'), 1, 1);
        return pinned;
      });
      const keys = [...IN_PARTS.map((format) => `in-parts.${format}`), 'half-tidied.raw', 'undone.raw', 'touched.raw'];
      for (const key of keys) {
        const format = EXPORT_FORMATS.find((each) => key.endsWith(`.${each}`)) ?? 'raw';
        const { jobId } = await submit(format, key);
        const outcome = cell.settle(jobId);
        // The test that owns the job reports its failure.
        outcome.catch(() => undefined);
        jobs.set(key, { jobId, outcome });
      }
    });
    const outcomeOf = (key: string) => jobs.get(key)?.outcome;

    it.each(IN_PARTS)('goes on with %s behind the parts that were sent', async (format) => {
      const key = `in-parts.${format}`;
      expect(await outcomeOf(key)).toBe('succeeded');
      expect(sent.get(key)?.slice(0, 5)).toEqual([1, 2, 3, 3, 4]);
      await holdsTheDisk(format, key);
    });

    it('leaves nothing of an upload whose worker died between its last two strokes', async () => {
      expect(await outcomeOf('half-tidied.raw')).toBe('succeeded');
      await holdsTheDisk('raw', 'half-tidied.raw');
      expect(folders.has('half-tidied.raw')).toBe(true);
      expect(await readdir(incoming())).not.toContain(folders.get('half-tidied.raw'));
    });

    it('leaves nothing of an upload that begins after its job was undone', async () => {
      expect(await outcomeOf('undone.raw')).toBe('cancelled');
      expect(folders.has('undone.raw')).toBe(true);
      expect(await readdir(incoming())).not.toContain(folders.get('undone.raw'));
    });

    it('reads an object again that somebody touched meanwhile', async () => {
      expect(await outcomeOf('touched.raw')).toBe('succeeded');
      expect(touches).toBe(1);
    });
  });

  it('gives its name back when the bucket goes before anything is in it', async () => {
    const bucket = exportedFile(cell, '../passing');
    await mkdir(bucket);
    failing.plan('startUpload', 'passing', async (real) => {
      await rmdir(bucket);
      return real();
    });
    const { jobId } = await submitExport(cell, { imageId, format: 'raw', key: 'passing', bucket: 'passing' });
    expect(await cell.settle(jobId)).toBe('failed');
    expect(await errorOf(jobId)).toBe('IMG.0069');
    expect(await jobViolations(cell.db, jobId)).toEqual([]);
  });

  it('takes a name that an ended job could not give back', async () => {
    const ended = await submitExport(cell, { imageId, format: 'raw', key: 'once' });
    expect(await cell.settle(ended.jobId)).toBe('succeeded');
    await cell.db
      .insertInto('export_upload')
      .values({ job_id: ended.jobId, bucket: 'images', object_key: 'again', part_bytes: 1, foreign_uploads: '[]' })
      .execute();
    const { jobId } = await submitExport(cell, { imageId, format: 'raw', key: 'again' });
    expect(await cell.settle(jobId)).toBe('succeeded');
    // Nor does a worker that wakes up late take another one for it.
    const late = { jobId: ended.jobId, bucket: 'images', key: 'late', partBytes: 1, foreignUploads: [] };
    expect(await new ExportsRepository(cell.db).claim(late)).toBeUndefined();
  });

  it('refuses a name under an object (IMG.0075)', async () => {
    await writeFile(exportedFile(cell, 'an-object'), 'mine');
    const { jobId } = await submitExport(cell, { imageId, format: 'raw', key: 'an-object/x' });
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
    expect(await rootOf(again)).toBe(await rootOf(large));
    await expect(submitExport(cell, { imageId: large, format: 'qcow2', key: 'x' })).rejects.toMatchObject({
      code: 'IMG.0160',
    });
  });
});
