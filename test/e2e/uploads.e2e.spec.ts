import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import {
  convertDisk,
  jobViolations,
  makeDebianLikeDisk,
  temporaryDirectory,
  TestStack,
  TestWebServer,
  waitFor,
} from '@ims/testing';

const run = promisify(execFile);
const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const DEADLINE_MS = 90_000;
// A piece that a test sends while it waits for something to happen: the file lasts for thousands of looks.
const PIECE_BYTES = 4 * 1024;

describe('bytes that arrive in pieces', () => {
  let stack: TestStack;
  let web: TestWebServer;
  let path: string;
  let file: Buffer;

  beforeAll(async () => {
    web = await TestWebServer.start();
    stack = await TestStack.start({
      env: { IMS_WEB_DOWNLOAD_PORTS: String(web.port), IMS_WEB_DOWNLOAD_ALLOW: '127.0.0.1' },
    });
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    path = await convertDisk(disk.path, 'qcow2-zlib');
    file = await readFile(path);
    web.files.set('/disk.qcow2', { bytes: file, etag: '"1"' });
  }, DEADLINE_MS);
  afterAll(async () => {
    await stack.stop();
    await web.stop();
  });

  const queue = async (): Promise<string> => {
    const answer = await stack.call('POST', '/v2/images', { name: 'in pieces', disk_format: 'qcow2' });
    if (answer.status !== 201) throw new Error(`POST /v2/images: ${answer.status} ${answer.text}`);
    return (answer.json as { id: string }).id;
  };
  const statusOf = async (id: string): Promise<string> =>
    ((await stack.call('GET', `/v2/images/${id}`)).json as { status: string }).status;
  const isActive = (id: string): Promise<unknown> =>
    waitFor(async () => (await statusOf(id)) === 'active', { deadlineMs: DEADLINE_MS, what: `image ${id} is active` });
  const durableOf = async (condition: { image_id: string } | { job_id: string }): Promise<number> => {
    const [[column, value]] = Object.entries(condition) as [['image_id' | 'job_id', string]];
    const row = await stack.db
      .selectFrom('staged_file')
      .select('length_bytes')
      .where(column, '=', value)
      .executeTakeFirst();
    return row?.length_bytes ?? 0;
  };
  const comesBackWhole = async (id: string): Promise<void> => {
    expect((await stack.download(`/v2/images/${id}/file`)).equals(file)).toBe(true);
    const jobs = await stack.db.selectFrom('job').select('id').where('image_id', '=', id).execute();
    for (const job of jobs) expect(await jobViolations(stack.db, job.id)).toEqual([]);
  };
  const isSwept = (): Promise<unknown> =>
    waitFor(async () => (await stack.db.selectFrom('staged_file').select('id').execute()).length === 0, {
      deadlineMs: DEADLINE_MS,
      what: 'nothing is staged any more',
    });

  it('are an image after the gateway was killed in the middle, and nothing durable is sent twice (P7)', async () => {
    const id = await queue();
    const upload = `/v2/images/${id}/upload`;
    expect((await stack.call('POST', upload)).status).toBe(201);
    const patch = (offset: number, body: Uint8Array | AsyncIterable<Uint8Array>) =>
      stack.sendBytes('PATCH', upload, body, {
        'content-type': 'application/offset+octet-stream',
        'upload-offset': String(offset),
      });
    let sent = 0;
    const untilDurable = async function* (): AsyncGenerator<Uint8Array> {
      while ((await durableOf({ image_id: id })) === 0) {
        if (sent >= file.length) throw new Error('all was sent and nothing is durable');
        yield file.subarray(sent, sent + PIECE_BYTES);
        sent += PIECE_BYTES;
      }
      await stack.kill('gateway');
      yield file.subarray(sent);
    };
    await expect(patch(0, untilDurable())).rejects.toThrow();
    await stack.run('gateway');
    const { offset } = (await stack.call('GET', upload)).json as { offset: number };
    expect(offset).toBeGreaterThan(0);
    expect(offset).toBeLessThanOrEqual(sent);
    const added = await waitFor(
      async () => {
        const answer = await patch(offset, file.subarray(offset));
        // Postgres notices the end of the killed gateway's session a moment later.
        return answer.status === 423 ? undefined : answer;
      },
      { deadlineMs: DEADLINE_MS, what: 'the upload goes on' },
    );
    expect(added.status).toBe(204);
    expect(added.headers.get('upload-offset')).toBe(String(file.length));
    expect((await stack.call('POST', `${upload}/complete`, { size: file.length })).status).toBe(202);
    await isActive(id);
    await comesBackWhole(id);
  });

  it('are fetched on by the next worker after theirs was killed in the middle', async () => {
    const id = await queue();
    let job = '';
    web.handlers.set('/slow.qcow2', (_request, response) => {
      web.handlers.delete('/slow.qcow2');
      web.files.set('/slow.qcow2', { bytes: file, etag: '"2"' });
      response.writeHead(200, { etag: '"2"', 'content-length': file.length });
      let at = 0;
      void waitFor(
        async () => {
          response.write(file.subarray(at, at + PIECE_BYTES));
          at += PIECE_BYTES;
          return response.destroyed;
        },
        { deadlineMs: DEADLINE_MS, what: 'the fetch is cut' },
      );
    });
    const order = { method: { name: 'web-download', uri: web.urlOf('/slow.qcow2') } };
    const accepted = await stack.call('POST', `/v2/images/${id}/import`, order);
    expect(accepted.status).toBe(202);
    job = accepted.headers.get('x-job-id') ?? '';
    const isHalfThere = async (): Promise<boolean> => (await durableOf({ job_id: job })) > 0;
    await waitFor(isHalfThere, { deadlineMs: DEADLINE_MS, what: 'some of the file is durable' });
    await stack.restart('worker');
    await isActive(id);
    const ranges = web.requests.filter((request) => request.path === '/slow.qcow2').map(({ headers }) => headers.range);
    expect(ranges).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
    await comesBackWhole(id);
  });

  it('become images while servers of the web send nothing to whoever fetches from them', async () => {
    web.handlers.set('/stalled.qcow2', (_request, response) => {
      response.writeHead(200, { 'content-length': file.length });
      response.write('a');
    });
    const order = { method: { name: 'web-download', uri: web.urlOf('/stalled.qcow2') } };
    const stalled: string[] = [];
    // More than there are transfers at a time.
    for (let n = 0; n < 3; n += 1) {
      const accepted = await stack.call('POST', `/v2/images/${await queue()}/import`, order);
      stalled.push(accepted.headers.get('x-job-id') ?? '');
    }
    await waitFor(() => web.requests.filter(({ path: at }) => at === '/stalled.qcow2').length === stalled.length, {
      deadlineMs: DEADLINE_MS,
      what: 'every one of them is being fetched',
    });
    const id = await queue();
    expect((await stack.upload(id, file)).status).toBe(204);
    await comesBackWhole(id);
    for (const job of stalled) await stack.call('POST', `/v1/${stack.identity.projectId}/jobs/${job}/cancel`);
    const open = () => stack.db.selectFrom('job').select('id').where('outcome', 'is', null).execute();
    await waitFor(async () => (await open()).length === 0, { deadlineMs: DEADLINE_MS, what: 'the jobs end' });
  });

  it('are imported by glanceclient and openstacksdk, which upload in one request unless they are told to import (ACC-02)', async () => {
    const { url, region, identity } = stack;
    const { stdout } = await run(PYTHON, [
      join(__dirname, '../clients/image_import.py'),
      `${url}/v3`,
      identity.userName,
      identity.password,
      region,
      identity.accountName,
      path,
      web.urlOf('/disk.qcow2'),
    ]);
    // One line of JSON, as the client script writes it.
    const made = JSON.parse(stdout) as Record<string, string>;
    expect(made).toMatchObject({ status_when_staged: 'uploading', sdk_plain_status: 'active' });
    const { status_when_staged: _staged, sdk_plain_status: _plain, ...ids } = made;
    expect(Object.keys(ids)).toHaveLength(6);
    for (const id of Object.values(ids)) {
      await isActive(id);
      await comesBackWhole(id);
    }
    const types = await stack.db
      .selectFrom('event')
      .select('type')
      .where('stream_id', '=', `image:${ids['sdk_plain'] ?? ''}`)
      .execute();
    expect(types.map(({ type }) => type)).not.toContain('image.uploading');
    await isSwept();
  });
});
