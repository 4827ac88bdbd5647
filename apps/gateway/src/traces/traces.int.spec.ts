import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TracesAnswer, tracesAnswer } from '@ims/contract';
import { systemClock } from '@ims/db';
import { operationOfCall } from '@ims/event-log';
import { waitFor } from '@ims/testing';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { createJob, publishImage, type PublishedImage } from '../testing/published-image';
import { TracesController } from './traces.controller';

let gateway: GatewayUnderTest;
/** By how much the gateway's clock is ahead. */
let aheadMs = 0;
let token: string;
let image: PublishedImage;

beforeAll(async () => {
  gateway = await gatewayUnderTest({ clock: { now: () => new Date(systemClock.now().getTime() + aheadMs) } });
  token = await gateway.tokenOf('acme', 'alice');
  image = await publishImage(gateway, token, Buffer.alloc(1 << 20, 7));
});
afterAll(() => gateway.close());

const get = (query = '') =>
  gateway.app.inject({ url: `/v3/${gateway.identity.projectId}/traces${query}`, headers: { 'x-auth-token': token } });
const list = async (query = ''): Promise<TracesAnswer> => tracesAnswer.parse((await get(query)).json());
const names = async (query: string) => (await list(query)).traces.map(({ trace_name }) => trace_name);

describe(TracesController.name, () => {
  it('shows an operation twice: as it was asked for, and how it ended (cts-api 2.4, AUD-01)', async () => {
    const { traces, meta_data } = await list(`?trace_type=system&resource_id=${image.id}`);
    expect(meta_data).toEqual({ count: 2, marker: null });
    expect(traces).toMatchObject([
      { trace_name: 'createImage', trace_type: 'SystemAction', trace_rating: 'normal', user: null },
      {
        trace_name: 'createImage',
        trace_type: 'ApiCall',
        code: '200',
        api_version: 'v2',
        source_ip: '127.0.0.1',
        user: {
          user_name: 'alice',
          domain: { name: 'acme' },
          account_id: gateway.identity.accountId,
          principal_is_root_user: 'false',
        },
        response: JSON.stringify({ job_id: image.jobId }),
        operation_id: image.jobId,
      },
    ]);
    expect(traces[0]?.operation_id).toBe(image.jobId);
  });

  it('has the request id that the caller was told (cts-api 2.3, AUD-03)', async () => {
    const called = await gateway.app.inject({
      method: 'POST',
      url: '/v2/images',
      headers: { 'x-auth-token': token },
      payload: { name: 'by-and-by' },
    });
    const { id } = called.json<{ id: string }>();
    const { traces } = await list(`?resource_id=${id}`);
    expect(traces).toMatchObject([
      {
        trace_name: 'createImage',
        resource_type: 'image',
        resource_name: 'by-and-by',
        code: '201',
        request_id: called.headers['x-request-id'],
        operation_id: null,
      },
    ]);
  });

  it('shows a call that was refused, by policy or for what it asked, to the project of its caller (cts-api 7, AUD-03)', async () => {
    const reader = await gateway.anotherAccount(['ims:images:get', 'cts:trace:list']);
    const call = (method: 'DELETE' | 'POST', url: string, payload?: object) =>
      gateway.app.inject({
        method,
        url,
        headers: { 'x-auth-token': reader.token, 'content-type': 'application/json' },
        ...(payload === undefined ? {} : { payload }),
      });
    const refused = await call('DELETE', `/v2/images/${image.id}`);
    expect(refused.statusCode).toBe(403);
    // Nothing of a read, and nothing of whoever is nobody.
    await gateway.app.inject({ url: `/v2/images/${randomUUID()}`, headers: { 'x-auth-token': reader.token } });
    await gateway.app.inject({ method: 'DELETE', url: `/v2/images/${image.id}`, headers: { 'x-auth-token': 'none' } });
    const tracesOf = async (who: { projectId: string; token: string }, query = '') =>
      tracesAnswer.parse(
        (
          await gateway.app.inject({
            url: `/v3/${who.projectId}/traces?limit=200&trace_rating=warning${query}`,
            headers: { 'x-auth-token': who.token },
          })
        ).json(),
      ).traces;
    const traces = await waitFor(
      async () => {
        const found = await tracesOf(reader);
        return found.length > 0 ? found : undefined;
      },
      { deadlineMs: 20_000, what: 'the trace of the refusal' },
    );
    expect(traces).toMatchObject([
      {
        trace_name: 'deleteImage',
        trace_rating: 'warning',
        trace_type: 'ApiCall',
        code: '403',
        resource_id: image.id,
        request_id: refused.headers['x-request-id'],
        project_id: reader.projectId,
      },
    ]);
    expect(await tracesOf({ projectId: gateway.identity.projectId, token }, `&resource_id=${image.id}`)).toEqual([]);
  });

  it('is not filled by refusals: some of a minute are recorded, and the next one says how many were not', async () => {
    const other = await gateway.anotherAccount();
    for (let n = 0; n < 25; n += 1)
      await gateway.app.inject({
        method: 'POST',
        url: '/v2/cloudimages/action',
        headers: { 'x-auth-token': other.token, 'content-type': 'application/json' },
        payload: { name: `\u0000-${n}` },
      });
    const recorded = () =>
      gateway.database.db
        .selectFrom('event')
        .select('data')
        .where('stream_id', '=', `calls:${other.projectId}`)
        .orderBy('stream_position')
        .execute();
    await waitFor(async () => (await recorded()).length >= 20, { deadlineMs: 20_000, what: 'the first of them' });
    expect(await recorded()).toHaveLength(20);
    aheadMs += 61_000;
    await gateway.app.inject({
      method: 'DELETE',
      url: `/v2/images/${randomUUID()}`,
      headers: { 'x-auth-token': other.token },
    });
    await waitFor(async () => (await recorded()).length > 20, {
      deadlineMs: 20_000,
      what: 'the one of the next minute',
    });
    expect((await recorded()).at(-1)?.data).toMatchObject({ unrecorded: 5 });
  });

  it('knows what to trace every call as that changes something', () => {
    const changing = readFileSync(join(__dirname, '../../routes.txt'), 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.split(/ {2,}/))
      .filter(([, method]) => ['POST', 'PUT', 'PATCH', 'DELETE'].includes(method ?? ''))
      .filter(([, , path]) => !/\/kms\/|\/auth\/tokens/.test(path ?? ''))
      .map(([operation = '']) => operation)
      // Lists that are asked for by a body.
      .filter((operation) => !operation.startsWith('List'));
    expect(changing.length).toBeGreaterThan(30);
    expect(changing.filter((operation) => operationOfCall(operation) === undefined)).toEqual([]);
  });

  it('shows a deletion as one call with one end (AUD-03)', async () => {
    const doomed = await publishImage(gateway, token, Buffer.alloc(1 << 20, 9));
    await gateway.app.inject({ method: 'DELETE', url: `/v2/images/${doomed.id}`, headers: { 'x-auth-token': token } });
    const { traces } = await list(`?resource_id=${doomed.id}&trace_name=deleteImage`);
    expect(traces).toMatchObject([{ trace_type: 'ApiCall', code: '204', resource_type: 'image' }]);
  });

  it('filters by each of its parameters, and together', async () => {
    const all = (await list('?limit=200')).traces;
    expect(all.length).toBeGreaterThan(4);
    expect((await list('?limit=200&user=alice')).traces).toEqual(all.filter(({ user }) => user?.user_name === 'alice'));
    expect((await list('?limit=200&user=nobody')).traces).toEqual([]);
    expect((await list('?limit=200&trace_rating=normal')).traces).toEqual(all);
    expect((await list('?limit=200&trace_rating=warning')).traces).toEqual([]);
    expect((await list('?limit=200&service_type=IMS&resource_type=image')).traces).toEqual(
      all.filter(({ resource_type }) => resource_type === 'image'),
    );
    expect((await list('?limit=200&resource_name=debian&trace_name=createImage')).traces).toEqual(
      all.filter(({ resource_name, trace_name }) => resource_name === 'debian' && trace_name === 'createImage'),
    );
    expect((await list('?limit=200&service_type=ims')).traces).toEqual([]);
    expect((await list('?trace_type=data')).traces).toEqual([]);
    // An identifier alone decides.
    const [one] = all;
    expect((await list(`?trace_id=${one?.trace_id}&user=nobody&from=1&to=2`)).traces).toEqual([one]);
    expect((await list(`?trace_id=${randomUUID()}`)).traces).toEqual([]);
  });

  it('leaves both bounds of a window out (cts-api 9, check 4)', async () => {
    const [, operation] = (await list(`?resource_id=${image.id}`)).traces;
    const at = operation?.record_time ?? 0;
    const isIn = async (from: number, to: number) =>
      (await list(`?limit=200&from=${from}&to=${to}`)).traces.some(({ trace_id }) => trace_id === operation?.trace_id);
    expect(await isIn(at - 1, at + 1)).toBe(true);
    expect(await isIn(at, at + 1)).toBe(false);
    expect(await isIn(at - 1, at)).toBe(false);
    expect(await isIn(at + 1, at + 2)).toBe(false);
  });

  it('pages by marker from the newest to the oldest, and says when it is over (cts-api 2.2)', async () => {
    for (let n = 0; n < 4; n += 1) await createJob(gateway, token);
    const all = (await list('?limit=200')).traces.map(({ trace_id }) => trace_id);
    const walked: string[] = [];
    let next = '';
    do {
      const page = await list(`?limit=3${next === '' ? '' : `&next=${next}`}`);
      expect(page.meta_data.count).toBe(page.traces.length);
      walked.push(...page.traces.map(({ trace_id }) => trace_id));
      next = page.meta_data.marker ?? '';
    } while (next !== '');
    expect(walked).toEqual(all);
    expect((await list()).traces).toHaveLength(10);
  });

  it('shows steps only when asked for them (cts-api 8.1)', async () => {
    // No worker runs here, so none of the jobs has taken a step.
    expect(await names('?detail=steps&limit=200')).toEqual(await names('?limit=200'));
    expect((await get('?detail=everything')).json()).toMatchObject({ error_code: 'CTS.0300' });
  });

  it.each([
    'limit=0',
    'limit=201',
    'limit=ten',
    'from=2&to=1',
    'from=yesterday',
    'trace_rating=dreadful',
    'trace_type=other',
    'next=nothing',
    `next=${randomUUID()}`,
    'user=%00',
  ])('refuses %s with CTS.0300 (cts-api 2.1)', async (query) => {
    const answer = await get(`?${query}`);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toEqual({ error_code: 'CTS.0300', error_msg: expect.stringMatching(/^Query failed: /) });
  });

  it('shows nothing of another project, and takes none of its markers', async () => {
    const other = await gateway.anotherAccount();
    const ask = (query: string) =>
      gateway.app.inject({ url: `/v3/${other.projectId}/traces${query}`, headers: { 'x-auth-token': other.token } });
    const [mine] = (await list()).traces;
    expect((await ask('')).json()).toEqual({ traces: [], meta_data: { count: 0, marker: null } });
    expect((await ask(`?trace_id=${mine?.trace_id}`)).json()).toMatchObject({ traces: [] });
    expect((await ask(`?next=${mine?.trace_id}`)).json()).toMatchObject({ error_code: 'CTS.0300' });
  });
});
