import { spawn } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { once } from 'node:events';
import { dryRunAnswer, jobAccepted, jobDocument } from '@ims/contract';
import { convertDisk, makeDebianLikeDisk, temporaryDirectory, TestStack } from '@ims/testing';
import { z } from 'zod';

const CLI = resolve(__dirname, '../../apps/cli/dist/main.js');

describe('jobs by the command line', () => {
  let stack: TestStack;
  let url: string;

  beforeAll(async () => {
    stack = await TestStack.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    const file = await convertDisk(disk.path, 'qcow2-zlib');
    await copyFile(file, join(stack.bucketDirectory, basename(file)));
    url = `images:${basename(file)}`;
  });
  afterAll(() => stack.stop());

  async function ims(...words: string[]): Promise<{ code: number; out: string; err: string }> {
    const child = spawn(process.execPath, [CLI, ...words], {
      env: {
        PATH: process.env['PATH'] ?? '',
        IMS_ENDPOINT: stack.url,
        IMS_PROJECT_ID: stack.identity.projectId,
        HUAWEICLOUD_SDK_AK: stack.identity.access,
        HUAWEICLOUD_SDK_SK: stack.identity.secret,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return { code: Number(code), out, err };
  }
  const importing = (...more: string[]) =>
    ims('images', 'import', '--url', url, '--name', 'by-cli', '--min-disk', '1', ...more);
  const inDatabase = (id: string) =>
    stack.db.selectFrom('job').select(['status', 'outcome']).where('id', '=', id).executeTakeFirst();
  const attempts = (id: string) =>
    stack.db.selectFrom('step_attempt').select('step').where('job_id', '=', id).execute();

  /** Calls on an image, told and not done: what they would read is known, since the image is there. */
  async function triesOf(image: string): Promise<void> {
    const jobs = () => stack.db.selectFrom('job').select('id').execute();
    const before = await jobs();
    for (const [words, jobType] of [
      [['copy', image, '--name', 'copied'], 'imsCopyImageInRegionJob'],
      [['export', image, '--to', 'images:out.qcow2'], 'imsNativeExportImageJob'],
    ] as const) {
      const tried = await ims('images', ...words, '--dry-run', '-o', 'json');
      const plan = dryRunAnswer.parse(JSON.parse(tried.out));
      expect(plan).toMatchObject({ allowed: true, job_type: jobType, bytes: { source: expect.any(Number) } });
    }
    expect(await jobs()).toEqual(before);
  }

  it('says what an import would do and cost, and starts nothing', async () => {
    const { code, out } = await importing('--dry-run', '-o', 'json');
    expect(code).toBe(0);
    expect(dryRunAnswer.parse(JSON.parse(out))).toMatchObject({ allowed: true, job_type: 'imsImportImageJob' });
    const refused = await ims('images', 'import', '--url', url, '--name', '', '--min-disk', '1', '--dry-run');
    expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/would be refused: IMG\.\d{4}/) });
    expect(await stack.db.selectFrom('job').select('id').execute()).toEqual([]);
  });

  it('pauses a job before its first step: workers leave it alone until it is resumed, then it succeeds', async () => {
    await stack.kill('worker', 'SIGTERM');
    const started = await importing('-o', 'json');
    const { job_id: id } = jobAccepted.parse(JSON.parse(started.out));
    expect((await ims('jobs', 'pause', id)).code).toBe(0);
    await stack.run('worker');
    // A job that came after it is done by the same worker; this one has not begun.
    const later = await importing('--wait', '--timeout', '60');
    expect(later.code).toBe(0);
    expect(z.uuid().safeParse(later.out.trim()).success).toBe(true);
    expect(await attempts(id)).toEqual([]);
    await triesOf(later.out.trim());
    const shown = jobDocument.parse(JSON.parse((await ims('jobs', 'show', id, '-o', 'json')).out));
    expect(shown).toMatchObject({ paused: true, paused_at: expect.stringMatching(/Z$/) });
    expect((await ims('jobs', 'list', '--status', 'open')).out).toMatch(/INIT, paused/);
    expect((await ims('jobs', 'resume', id)).code).toBe(0);
    const watched = await ims('jobs', 'watch', id, '--timeout', '60', '-o', 'json');
    expect([watched.code, jobDocument.parse(JSON.parse(watched.out)).status]).toEqual([0, 'SUCCESS']);
    expect(watched.err).toMatch(/100 %  SUCCESS/);
    const over = await ims('jobs', 'pause', id);
    expect(over).toMatchObject({ code: 6, err: expect.stringMatching(/409 IMG\.0105/) });
  });

  it('cancels a paused job at once, and tells a failed job by exit code 3', async () => {
    await stack.kill('worker', 'SIGTERM');
    const { job_id: id } = jobAccepted.parse(JSON.parse((await importing('-o', 'json')).out));
    await ims('jobs', 'pause', id);
    await stack.run('worker');
    expect((await ims('jobs', 'cancel', id)).code).toBe(0);
    const watched = await ims('jobs', 'watch', id, '--timeout', '60');
    expect(watched).toMatchObject({ code: 3, err: expect.stringMatching(/cancelled by alice/) });
    expect(await inDatabase(id)).toMatchObject({ outcome: 'cancelled' });
  });

  it('knows no job that is not there', async () => {
    expect(await ims('jobs', 'show', 'f'.repeat(32))).toMatchObject({
      code: 5,
      err: expect.stringMatching(/IMG\.0023/),
    });
  });
});
