import { randomBytes } from 'node:crypto';
import { execFile } from 'node:child_process';
import { mkdir, rename, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type SeededIdentity, signRequest } from '@ims/access';
import { systemClock } from '@ims/db';
import { type Fault, noise, TestCell, TestStack, temporaryDirectory, waitFor } from '@ims/testing';

const run = promisify(execFile);
const MIB = 2 ** 20;
const GIB = 2 ** 30;

interface JobDocument {
  status: string;
  end_time: string;
  error_code: string | null;
  fail_reason: string | null;
  entities: { image_id?: string; process_percent: number };
}

describe('attacks on an import from within the region', () => {
  let cell: TestCell;
  const bucketPath = (key: string): string => join(cell.directory, 'buckets', 'images', key);

  beforeAll(async () => {
    cell = await TestCell.start();
    await writeFile(bucketPath('good.raw'), randomBytes(3 * MIB));
  });
  afterAll(async () => {
    try {
      // Whatever was tried above, nothing is left of it.
      await cell.checkSystem();
    } finally {
      await cell.stop();
    }
  });

  async function failureOf(id: string): Promise<{ code: string | null; reason: string | null }> {
    expect(await cell.settle(id)).toBe('failed');
    await cell.checkJob(id, 'failed');
    const row = await cell.db
      .selectFrom('job')
      .select(['error_code', 'fail_reason', 'end_at'])
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
    expect(row.end_at).not.toBeNull();
    return { code: row.error_code, reason: row.fail_reason };
  }

  /** Does something just before the activity runs for the first time. */
  const before =
    (act: () => Promise<unknown>): Fault =>
    async ({ real, call }) => {
      if (call === 1) await act();
      return real();
    };

  const replaced = async (key: string): Promise<void> => {
    await writeFile(bucketPath(`${key}.new`), randomBytes(3 * MIB));
    await rename(bucketPath(`${key}.new`), bucketPath(key));
  };

  it.each<[string, string, (key: string) => Promise<unknown>]>([
    ['replaced by another file', 'ingestDisk', replaced],
    ['truncated', 'ingestDisk', (key) => truncate(bucketPath(key), MIB)],
    [
      'overwritten in its place',
      'ingestDisk',
      (key) => writeFile(bucketPath(key), randomBytes(3 * MIB), { flag: 'r+' }),
    ],
    ['removed', 'ingestDisk', (key) => rename(bucketPath(key), bucketPath(`${key}.gone`))],
    [
      'turned into a link to a foreign file',
      'ingestDisk',
      async (key) => {
        await rename(bucketPath(key), bucketPath(`${key}.gone`));
        await symlink('/etc/passwd', bucketPath(key));
      },
    ],
  ])('a source that is %s after it was inspected ends with IMG.0057', async (what, step, act) => {
    const key = `${what.replaceAll(' ', '-')}.raw`;
    await writeFile(bucketPath(key), randomBytes(3 * MIB));
    const { jobId: id } = await cell.submitImport(
      { key },
      { before: (job) => cell.faults.plan(job, { [step]: before(() => act(key)) }) },
    );
    expect(await failureOf(id)).toMatchObject({ code: 'IMG.0057' });
    expect(cell.faults.hits(id, step)).toBeGreaterThan(0);
  });

  it('a source that is replaced after it was stored does no harm: the stored bytes are the pinned ones', async () => {
    await writeFile(bucketPath('late.raw'), randomBytes(3 * MIB));
    const { jobId: id } = await cell.submitImport(
      { key: 'late.raw' },
      { before: (job) => cell.faults.plan(job, { verifyDisk: before(() => replaced('late.raw')) }) },
    );
    expect(await cell.settle(id)).toBe('succeeded');
    await cell.checkJob(id, 'succeeded');
  });

  it('a source that is no file of its bucket ends with IMG.0057', async () => {
    const outside = join(await temporaryDirectory(), 'outside.raw');
    await writeFile(outside, randomBytes(MIB));
    await symlink(outside, bucketPath('link.raw'));
    await symlink('loop.raw', bucketPath('loop.raw'));
    await mkdir(bucketPath('folder.raw'));
    await run('mkfifo', [bucketPath('pipe.raw')]);
    await symlink('/dev/zero', bucketPath('zero.raw'));
    for (const key of ['link.raw', 'loop.raw', 'folder.raw', 'pipe.raw', 'zero.raw', 'absent.raw', 'good.raw/below']) {
      const { jobId: id } = await cell.submitImport({ key });
      expect([key, (await failureOf(id)).code]).toEqual([key, 'IMG.0057']);
    }
  });

  it('a disk that is replaced by one with a foreign backing file, after it was inspected, is never read', async () => {
    const [honest, evil] = [bucketPath('honest.qcow2'), bucketPath('evil.qcow2')];
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', bucketPath('good.raw'), honest]);
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw', evil, '3M']);
    const { jobId: id } = await cell.submitImport(
      { key: 'honest.qcow2' },
      { before: (job) => cell.faults.plan(job, { ingestDisk: before(() => rename(evil, honest)) }) },
    );
    expect((await failureOf(id)).code).toBe('IMG.0057');
  });

  it.each([
    ['as large as its minimum', GIB, 'succeeded'],
    ['one sector larger', GIB + 512, 'IMG.0055'],
  ])('a disk %s (FMT-07)', async (what, sizeBytes, end) => {
    const key = `${what.replaceAll(' ', '-')}.raw`;
    await writeFile(bucketPath(key), noise(what, MIB));
    await truncate(bucketPath(key), sizeBytes);
    const { jobId: id } = await cell.submitImport({ key, minDisk: 1 });
    if (end === 'succeeded') {
      expect(await cell.settle(id)).toBe('succeeded');
      await cell.checkJob(id, 'succeeded');
    } else expect((await failureOf(id)).code).toBe(end);
  });

  it.each([
    ['empty', Buffer.alloc(0)],
    ['one byte', Buffer.alloc(1, 1)],
    ['a qcow2 magic and nothing else', Buffer.from('QFI\xfb', 'latin1')],
    ['a page of text', Buffer.from('# Disk DescriptorFile\nversion=1\n'.repeat(40))],
  ])('a source that is %s ends with a documented code', async (what, bytes) => {
    const key = `${what.replaceAll(' ', '-')}.img`;
    await writeFile(bucketPath(key), bytes);
    const { jobId: id } = await cell.submitImport({ key });
    const { code, reason } = await failureOf(id);
    expect(code).toMatch(/^IMG\.\d{4}$/);
    expect(code).not.toBe('IMG.0061');
    expect(reason).not.toContain(cell.directory);
  });
});

describe('attacks on an import over HTTP', () => {
  let stack: TestStack;
  let stranger: SeededIdentity;

  beforeAll(async () => {
    stack = await TestStack.start();
    stranger = await stack.anotherAccount('stranger');
    await writeFile(join(stack.bucketDirectory, 'large.raw'), noise('large', 96 * MIB));
    await writeFile(join(stack.bucketDirectory, 'small.raw'), noise('small', 2 * MIB));
    // Buckets that are none.
    await writeFile(join(stack.bucketDirectory, '../a-file'), 'no bucket');
    await symlink('/etc', join(stack.bucketDirectory, '../Etc'));
  });
  afterAll(() => stack.stop());

  const jobPath = (id: string): string => `/v1/${stack.identity.projectId}/jobs/${id}`;
  const show = async (id: string): Promise<JobDocument> => (await stack.call('GET', jobPath(id))).json as JobDocument;
  const submit = async (imageUrl: string): Promise<string> => {
    const accepted = await stack.call('POST', '/v2/cloudimages/action', {
      name: 'target',
      image_url: imageUrl,
      min_disk: 1,
    });
    expect([accepted.status, accepted.text]).toEqual([200, expect.stringContaining('job_id')]);
    return (accepted.json as { job_id: string }).job_id;
  };

  /** Polls as a client does, until `is` holds; what the documents say must never contradict what they said before. */
  async function follow(id: string, is: (job: JobDocument) => boolean): Promise<JobDocument> {
    let last: JobDocument | undefined;
    const lies: string[] = [];
    const order = ['INIT', 'RUNNING', 'SUCCESS', 'FAIL'];
    const job = await waitFor(
      async () => {
        const now = await show(id);
        const said = JSON.stringify(now);
        if (last !== undefined) {
          if (now.entities.process_percent < last.entities.process_percent) lies.push(`progress went back: ${said}`);
          if (order.indexOf(now.status) < order.indexOf(last.status)) lies.push(`status went back: ${said}`);
        }
        const hasEnded = now.status === 'SUCCESS' || now.status === 'FAIL';
        if (hasEnded === (now.end_time === '')) lies.push(`end time: ${said}`);
        if (now.status !== 'FAIL' && now.entities.image_id === undefined) lies.push(`no image id: ${said}`);
        if ((now.status === 'FAIL') !== (now.error_code !== null)) lies.push(`error code: ${said}`);
        if ((now.entities.process_percent === 1) !== (now.status === 'SUCCESS')) lies.push(`percent: ${said}`);
        last = now;
        return is(now) ? now : undefined;
      },
      { deadlineMs: 60_000, what: `job ${id}`, everyMs: 20 },
    );
    expect(lies).toEqual([]);
    return job;
  }
  const hasEnded = ({ status }: JobDocument): boolean => status === 'SUCCESS' || status === 'FAIL';

  it('tells the truth from acceptance to the end, and refuses what comes too late', async () => {
    const id = await submit('images:small.raw');
    const job = await follow(id, hasEnded);
    expect(job.status).toBe('SUCCESS');
    const cancelled = await stack.call('POST', `${jobPath(id)}/cancel`);
    expect(cancelled.status).toBe(409);
    expect(await show(id)).toEqual(job);

    const image = `/v2/images/${job.entities.image_id}`;
    const answers = await Promise.all([1, 2, 3, 4].map(() => stack.call('DELETE', image)));
    for (const { status } of answers) expect([204, 404]).toContain(status);
    expect(answers.some(({ status }) => status === 204)).toBe(true);
    const quota = (await stack.call('GET', '/v1/cloudimages/quota')).json;
    expect(quota).toMatchObject({ quotas: { resources: [{ type: 'image', used: 0 }] } });
  });

  it('a cancellation in the middle ends the job once, and a deletion in the middle is refused', async () => {
    const id = await submit('images:large.raw');
    const running = await follow(id, ({ status, entities }) => status === 'RUNNING' && entities.process_percent > 0.01);
    const image = `/v2/images/${running.entities.image_id}`;
    expect((await stack.call('DELETE', image)).status).toBe(409);
    expect((await stack.call('GET', `${image}/file`)).status).toBe(204);
    const answers = await Promise.all([1, 2, 3].map(() => stack.call('POST', `${jobPath(id)}/cancel`)));
    for (const { status } of answers) expect(status).toBe(202);
    const ended = await follow(id, hasEnded);
    expect(ended).toMatchObject({ status: 'FAIL', fail_reason: 'cancelled by alice' });
    expect((await stack.call('POST', `${jobPath(id)}/cancel`)).status).toBe(409);
    expect((await stack.call('GET', image)).status).toBe(404);
    expect((await stack.call('DELETE', image)).status).toBe(404);
  });

  it.each([
    ['a-file', 'IMG.0069'],
    ['Etc', 'IMG.0069'],
    ['nobucket', 'IMG.0069'],
  ])('the bucket %s is none: %s', async (bucket, code) => {
    const accepted = await stack.call('POST', '/v2/cloudimages/action', {
      name: 'target',
      image_url: `${bucket}:passwd`,
      min_disk: 1,
    });
    if (accepted.status !== 200) {
      expect([accepted.status, accepted.text]).toEqual([400, expect.stringMatching(/"IMG\.\d{4}"/)]);
      return;
    }
    const job = await follow((accepted.json as { job_id: string }).job_id, hasEnded);
    expect(job).toMatchObject({ status: 'FAIL', error_code: code });
  });

  it('a stranger sees, cancels, loads and deletes nothing, by any path', async () => {
    const id = await submit('images:small.raw');
    const { entities } = await follow(id, hasEnded);
    const image = `/v2/images/${entities.image_id}`;
    const as = async (method: string, path: string): Promise<number> => {
      const url = new URL(path, stack.url);
      const headers = signRequest(
        { method, rawPath: url.pathname, rawQuery: url.search.slice(1), headers: { host: url.host } },
        stranger,
        systemClock.now(),
      );
      const answer = await fetch(url, { method, headers });
      const text = await answer.text();
      if (answer.status === 200) expect(text).not.toContain(entities.image_id);
      return answer.status;
    };
    expect(await as('GET', `/v1/${stranger.projectId}/jobs/${id}`)).toBe(404);
    expect(await as('GET', `/v1/cloudimages/job/${id}`)).toBe(404);
    expect(await as('POST', `/v1/${stranger.projectId}/jobs/${id}/cancel`)).toBe(404);
    expect([400, 403]).toContain(await as('POST', `${jobPath(id)}/cancel`));
    expect([400, 403]).toContain(await as('GET', jobPath(id)));
    for (const path of [image, `${image}/file`]) expect(await as('GET', path)).toBe(404);
    expect(await as('DELETE', image)).toBe(404);
    for (const path of ['/v2/cloudimages', `/v2/cloudimages?owner=${stack.identity.projectId}`, '/v2/images'])
      expect(await as('GET', path)).toBe(200);
    expect(await as('GET', `/v2/cloudimages?marker=${entities.image_id}`)).toBe(400);
    expect((await stack.call('GET', image)).status).toBe(200);
  });

  it('a download that is under way when its image is deleted comes to its end, whole', async () => {
    const id = await submit('images:large.raw');
    const { entities } = await follow(id, hasEnded);
    const path = `/v2/images/${entities.image_id}`;
    const whole = stack.download(`${path}/file?format=raw`);
    expect((await stack.call('DELETE', path)).status).toBe(204);
    expect((await stack.call('GET', `${path}/file`)).status).toBe(404);
    const body = await whole.catch((error: unknown) => error);
    // Asked before the deletion it is served whole, asked after it it is unknown; never cut short.
    if (body instanceof Buffer) expect(body.equals(noise('large', 96 * MIB))).toBe(true);
    else expect(String(body)).toContain('404');
  });
});
