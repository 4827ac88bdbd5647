import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mayMount, mountSmallDisk, noise, TestCell, unmountSmallDisk } from '@ims/testing';

const MIB = 2 ** 20;
const STORE_MIB = 8;

describe('an image store without space', () => {
  (mayMount() ? it : it.skip)(
    'fails the job with its reason, keeps nothing of it, and goes on with what fits',
    async () => {
      const cell = await TestCell.start();
      const store = join(cell.directory, 'store');
      await mkdir(store, { recursive: true });
      mountSmallDisk(store, STORE_MIB);
      try {
        const bucket = join(cell.directory, 'buckets', 'images');
        await writeFile(join(bucket, 'too-much.raw'), noise('too much', 3 * STORE_MIB * MIB));
        await writeFile(join(bucket, 'fits.raw'), noise('fits', MIB));
        const { jobId } = await cell.submitImport({ key: 'too-much.raw' });
        expect(await cell.settle(jobId)).toBe('failed');
        await cell.checkJob(jobId, 'failed');
        const job = await cell.db
          .selectFrom('job')
          .select(['error_code', 'fail_reason'])
          .where('id', '=', jobId)
          .executeTakeFirstOrThrow();
        expect(job).toEqual({ error_code: 'IMG.0061', fail_reason: 'the image store has no space left' });
        await cell.checkSystem();

        const fitting = await cell.submitImport({ key: 'fits.raw' });
        expect(await cell.settle(fitting.jobId)).toBe('succeeded');
        await cell.checkSystem();
      } finally {
        await cell.stop();
        unmountSmallDisk(store);
      }
    },
  );
});
