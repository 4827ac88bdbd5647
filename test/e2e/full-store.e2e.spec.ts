import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { noise, TestCell } from '@ims/testing';

const run = promisify(execFile);
const MIB = 2 ** 20;
const STORE_MIB = 8;

const mountTmpfs = (at: string): string[] => ['-t', 'tmpfs', '-o', `size=${STORE_MIB}m`, 'tmpfs', at];

/** A disk that is full can only be had by those who may mount one. */
function mayMount(): boolean {
  const at = mkdtempSync(join(tmpdir(), 'ims-mount-'));
  try {
    execFileSync('mount', mountTmpfs(at), { stdio: 'ignore' });
    execFileSync('umount', [at]);
    return true;
  } catch {
    return false;
  } finally {
    rmdirSync(at);
  }
}

describe('an image store without space', () => {
  (mayMount() ? it : it.skip)(
    'fails the job with its reason, keeps nothing of it, and goes on with what fits',
    async () => {
      const cell = await TestCell.start();
      const store = join(cell.directory, 'store');
      await mkdir(store, { recursive: true });
      await run('mount', mountTmpfs(store));
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
        await run('umount', [store]);
      }
    },
  );
});
