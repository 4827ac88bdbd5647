import { execFile } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type Trace, trace, tracesAnswer, trailEventsAnswer, trailStateAnswer } from '@ims/contract';
import { convertDisk, type EndedJob, makeDebianLikeDisk, temporaryDirectory, TestStack, waitFor } from '@ims/testing';
import { z } from 'zod';

const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const CLI = resolve(__dirname, '../../apps/cli/dist/main.js');
const run = promisify(execFile);

/** What the client adds to or leaves out of what it reads is its own business; these are what a trace must have (cts-api 2.3). */
const readTrace = trace
  .pick({ trace_id: true, trace_name: true, trace_rating: true, trace_type: true, time: true, record_time: true })
  .extend({
    operation_id: z.string(),
    source_ip: z.string(),
    request_id: z.string().nullish(),
    response: z.string().nullish(),
    user: z.object({ user_name: z.string(), access_key_id: z.string().nullish() }).nullish(),
  });
const clientAnswer = z.object({
  traces: z.array(readTrace),
  by_user: z.number(),
  inside: z.number(),
  outside: z.number(),
  warnings: z.number(),
  one: z.array(z.string()),
  refusal: z.object({ status: z.number(), code: z.string() }),
});

describe('the trail of one import, as the clients people have read it', () => {
  let stack: TestStack;
  let job: EndedJob;

  beforeAll(async () => {
    stack = await TestStack.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    const file = await convertDisk(disk.path, 'qcow2-zlib');
    await copyFile(file, join(stack.bucketDirectory, basename(file)));
    job = await stack.runJob('/v2/cloudimages/action', {
      name: 'traced',
      image_url: `images:${basename(file)}`,
      min_disk: 1,
    });
    expect(job.status).toBe('SUCCESS');
  });
  afterAll(() => stack.stop());

  const getJson = async (path: string): Promise<unknown> => {
    const { projectId } = stack.identity;
    const answer = await stack.call('GET', path.replace('{project_id}', projectId));
    return answer.json;
  };

  it('is sealed by the worker within moments, and its last event is the end of the job (G3, cts-api 8.3)', async () => {
    // Rows alone: nobody has asked the gateway yet, which would seal as well.
    await waitFor(
      async () => {
        const row = await stack.db
          .selectFrom('event_seal')
          .select('log_index')
          .where('stream_id', '=', `job:${job.job_id}`)
          .where('type', '=', 'job.succeeded')
          .executeTakeFirst();
        return row !== undefined;
      },
      { deadlineMs: 20_000, what: 'the end of the job is sealed' },
    );
    const { events } = trailEventsAnswer.parse(await getJson(`/v1/{project_id}/events?job_id=${job.job_id}`));
    expect(events.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['job.accepted', 'image-create.step-completed', 'image.published', 'job.succeeded']),
    );
  });

  it('is listed by the official client: the call, its result, and steps on demand (ACC-02, AUD-01, AUD-03)', async () => {
    const { url, identity } = stack;
    const image = job.entities.image_id;
    const { stdout } = await run(PYTHON, [
      join(__dirname, '../clients/trace_list.py'),
      ...[url, identity.access, identity.secret, identity.projectId, image, '1'],
    ]);
    const read = clientAnswer.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));
    expect(read.traces).toMatchObject([
      { trace_name: 'createImage', trace_type: 'SystemAction', trace_rating: 'normal', operation_id: job.job_id },
      {
        trace_name: 'createImage',
        trace_type: 'ApiCall',
        operation_id: job.job_id,
        source_ip: '127.0.0.1',
        request_id: expect.stringMatching(/^[0-9a-f]{32}$/),
        user: { user_name: identity.userName },
      },
    ]);
    expect(JSON.parse(read.traces[0]?.response ?? '')).toMatchObject({
      status: 'SUCCESS',
      job_id: job.job_id,
      job_type: 'imsImportImageJob',
      entities: { image_id: image },
      error_code: null,
      fail_reason: null,
    });
    expect(read).toMatchObject({
      by_user: 1,
      outside: 0,
      warnings: 0,
      one: ['createImage'],
      refusal: { status: 400, code: 'CTS.0300' },
    });
    expect(read.inside).toBeGreaterThan(0);
    const { traces } = tracesAnswer.parse(await getJson(`/v3/{project_id}/traces?detail=steps&resource_id=${image}`));
    const steps = traces.map(({ trace_name }: Trace) => trace_name).filter((name) => name.includes('.'));
    expect(steps.toReversed()).toEqual(
      ['inspect', 'ingest', 'verify', 'identify-os', 'publish', 'meter'].map((step) => `createImage.${step}`),
    );
  });

  it('has every kind of job with its call and its result, by the official client (AUD-01, AUD-03)', async () => {
    const { projectId, access, secret } = stack.identity;
    const image = job.entities.image_id;
    const expected: Record<string, string[][]> = {};
    const did = async (traceName: string, path: string, body: object): Promise<EndedJob> => {
      const ended = await stack.runJob(path, body);
      expect(ended).toMatchObject({ status: 'SUCCESS' });
      expected[ended.job_id] = [
        [traceName, 'SystemAction', 'normal'],
        [traceName, 'ApiCall', 'normal'],
      ];
      return ended;
    };
    const { server_id: server } = (
      await did('createServer', `/v1/${projectId}/cloudservers`, {
        server: { name: 'web', imageRef: image, flavorRef: 's6.large.2' },
      })
    ).entities;
    await did('createImage', '/v2/cloudimages/action', { name: 'of-server', instance_id: server });
    await did('copyImage', `/v1/cloudimages/${image}/copy`, { name: 'copied' });
    await did('exportImage', `/v1/cloudimages/${image}/file`, { bucket_url: 'images:out.raw', file_format: 'raw' });
    const vault = await stack.call('POST', `/v3/${projectId}/vaults`, {
      vault: { name: 'v', billing: { object_type: 'server', protect_type: 'backup', size: 10 } },
    });
    await did('createImage', '/v1/cloudimages/wholeimages/action', {
      name: 'whole',
      instance_id: server,
      vault_id: (vault.json as { vault: { id: string } }).vault.id,
    });
    const { stdout } = await run(PYTHON, [
      join(__dirname, '../clients/trace_operations.py'),
      ...[stack.url, access, secret, projectId],
    ]);
    expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toMatchObject(expected);
  });

  it('is shown and replayed by the command line', async () => {
    const { url, identity } = stack;
    const env = {
      ...process.env,
      // Where it runs unattended, colours may be on by default.
      NO_COLOR: '1',
      IMS_ENDPOINT: url,
      IMS_PROJECT_ID: identity.projectId,
      HUAWEICLOUD_SDK_AK: identity.access,
      HUAWEICLOUD_SDK_SK: identity.secret,
    };
    const ims = async (...words: string[]): Promise<string> =>
      (await run(process.execPath, [CLI, ...words], { env })).stdout;
    const table = (await ims('audit', 'show', job.job_id)).trimEnd().split('\n');
    expect(table[0]).toMatch(/^INDEX +TIME +EVENT +STEP +ACTOR +BYTES$/);
    expect(table[1]).toMatch(/ job\.accepted +alice$/);
    expect(table.find((line) => / image-create\.step-completed +ingest /.test(line))).toMatch(/ system +[\d,]+$/);
    expect(table.findLast((line) => line.includes('job.'))).toContain('job.succeeded');
    const accepted = trailEventsAnswer.shape.events.parse(
      JSON.parse(await ims('audit', 'show', job.job_id, '-o', 'json')),
    )[0];
    const then = await ims(
      'audit',
      'replay',
      '--job',
      job.job_id,
      '--index',
      String(accepted?.log_index),
      '-o',
      'json',
    );
    expect(trailStateAnswer.parse(JSON.parse(then))).toMatchObject({ events_applied: 1, state: { status: 'INIT' } });
    const now = await ims('audit', 'replay', '--image', job.entities.image_id);
    expect(now).toMatch(/status +active/);
    const unknown = run(process.execPath, [CLI, 'audit', 'show', '0'.repeat(32)], { env });
    await expect(unknown).rejects.toMatchObject({ code: 5, stderr: expect.stringContaining('nothing is recorded') });
  });
});
