import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { randomUUID } from 'node:crypto';
import { imageId, imageStream, type TrailEvent, trailEventsAnswer, trailStateAnswer } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents } from '@ims/event-log';
import { waitFor } from '@ims/testing';
import { LazyStream } from '../http/answer';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { createJob, publishImage, type PublishedImage } from '../testing/published-image';
import { EventStreamService } from './event-stream.service';
import { EventsController } from './events.controller';

let gateway: GatewayUnderTest;
let token: string;
let image: PublishedImage;
let base: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  image = await publishImage(gateway, token, Buffer.alloc(1 << 20, 7));
  base = `/v1/${gateway.identity.projectId}/events`;
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => gateway.close());

const get = (path: string) => gateway.app.inject({ url: `${base}${path}`, headers: { 'x-auth-token': token } });
const list = async (query = '') => trailEventsAnswer.parse((await get(query)).json());
const state = async (query: string) => trailStateAnswer.parse((await get(`/state?${query}`)).json());

describe(EventsController.name, () => {
  it('replays everything that happened, in pages without a gap (cts-api 8.5)', async () => {
    const all: TrailEvent[] = [];
    let from: number | null = 0;
    while (from !== null) {
      const page = await list(`?limit=3&from_index=${from}`);
      expect(page.events.length).toBeLessThanOrEqual(3);
      all.push(...page.events);
      from = page.next_index;
    }
    expect(all.map(({ log_index }) => log_index)).toEqual(all.map((_, place) => place));
    expect(all.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['job.accepted', 'image.queued', 'image.published', 'usage.opened', 'job.succeeded']),
    );
    expect(all[0]).toMatchObject({
      stream_id: `job:${image.jobId}`,
      type: 'job.accepted',
      actor: { kind: 'user', userName: 'alice', call: { operation: 'CreateImage', apiVersion: 'v2', status: 200 } },
      request_id: expect.stringMatching(/^[0-9a-f]{32}$/),
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('replays a job, an image and a type of event', async () => {
    const other = await createJob(gateway, token);
    const ofJob = await list(`?job_id=${image.jobId}`);
    expect(new Set(ofJob.events.map(({ job_id }) => job_id))).toEqual(new Set([image.jobId]));
    expect(await list(`?image_id=${image.id}`)).toEqual(ofJob);
    expect((await list(`?type=job.accepted`)).events.map(({ job_id }) => job_id)).toEqual([image.jobId, other.jobId]);
    expect((await list(`?from_index=100000`)).events).toEqual([]);
  });

  it('answers what was so at any index, from the events alone (G12)', async () => {
    const { events } = await list(`?image_id=${image.id}`);
    const seen: unknown[] = [];
    for (const { log_index } of events) {
      const answer = await get(`/state?image_id=${image.id}&at_index=${log_index}`);
      seen.push(answer.statusCode === 404 ? 'none' : trailStateAnswer.parse(answer.json()).state['status']);
    }
    expect(seen[0]).toBe('none');
    expect([...new Set(seen)]).toEqual(['none', 'queued', 'saving', 'active']);
    const published = events.find(({ type }) => type === 'image.published');
    const then = await state(`image_id=${image.id}&at_time=${published?.sealed_at}`);
    expect(then.state).toMatchObject({ id: image.id, status: 'active', content_root: image.disk.contentRoot });
    expect(await state(`job_id=${image.jobId}`)).toMatchObject({ state: { outcome: 'succeeded' } });
    expect(await state('quota=image&at_index=3')).toMatchObject({ state: { used: 0, reserved: 1 } });
    const accepted = (
      await get(`/state?job_id=${image.jobId}&at_time=${Date.parse(events[0]?.occurred_at ?? '') - 1}`)
    ).json();
    expect(accepted).toMatchObject({ error_code: 'CTS.0300' });
  });

  it.each([
    ['?limit=1001', 400],
    ['?limit=0', 400],
    ['?job_id=nope', 400],
    ['?image_id=nope', 400],
    ['?from_index=-1', 400],
    ['/state', 400],
    ['/state?job_id=ffffffffffffffffffffffffffffffff&quota=image', 400],
    ['/state?quota=image&at_index=1&at_time=2026-11-24T00:00:00Z', 400],
    ['/state?quota=image&at_time=yesterday', 400],
    ['/state?quota=image&at_time=2200-01-01T00:00:00Z', 400],
    ['/state?quota=image&at_index=100000', 404],
    [`/state?job_id=${'f'.repeat(32)}`, 404],
    ['/stream?from_index=x', 400],
  ])('refuses %s with CTS.0300 and status %s (cts-api 5)', async (path, status) => {
    const answer = await get(path);
    expect([answer.statusCode, answer.json<{ error_code: string }>().error_code]).toEqual([status, 'CTS.0300']);
  });

  it('keeps a page of large events short, and says where it goes on', async () => {
    const other = await gateway.anotherAccount();
    const actor = { kind: 'user' } as const;
    // As large as an event may be; more of them than a page of the largest size has.
    for (let n = 0; n < 8; n += 1)
      await inTransaction(gateway.database.db, (trx) =>
        appendEvents(
          trx,
          { projectId: other.projectId, actor },
          Array.from({ length: 10 }, (_, place) => ({
            type: 'image.queued' as const,
            stream: imageStream(imageId(randomUUID())),
            key: 'queued',
            data: {
              name: `large-${n}-${place}`,
              diskFormat: 'raw',
              minDiskGib: 1,
              minRamMib: 0,
              tags: [],
              attributes: { long: 'x'.repeat(60_000) },
            },
          })),
        ),
      );
    const names: string[] = [];
    let pages = 0;
    for (let from: number | null = 0; from !== null; pages += 1) {
      const answer = await gateway.app.inject({
        url: `/v1/${other.projectId}/events?limit=1000&from_index=${from}`,
        headers: { 'x-auth-token': other.token },
      });
      expect(answer.rawPayload.length).toBeLessThan(5 * 1024 * 1024);
      const page = trailEventsAnswer.parse(answer.json());
      names.push(...[...answer.payload.matchAll(/"name":"(large-\d+-\d+)"/g)].map(([, name]) => name ?? ''));
      from = page.next_index;
    }
    expect(pages).toBe(2);
    expect(new Set(names).size).toBe(80);
    expect(names).toHaveLength(80);
  });

  it("knows nothing of another project's trail", async () => {
    const other = await gateway.anotherAccount();
    const ask = (path: string) =>
      gateway.app.inject({ url: `/v1/${other.projectId}/events${path}`, headers: { 'x-auth-token': other.token } });
    expect((await ask(`?job_id=${image.jobId}`)).json()).toEqual({ events: [], next_index: null });
    const foreign = await ask(`/state?image_id=${image.id}`);
    expect(foreign.statusCode).toBe(404);
    const unknown = await ask(`/state?image_id=${randomUUID()}`);
    expect(unknown.statusCode).toBe(404);
  });
});

interface Listener {
  messages: { id: number; type: string }[];
  text: string;
  isOver: boolean;
  leave(): void;
}

/** Listens to the stream as a browser's EventSource does. */
async function listen(query = '', headers: Record<string, string> = {}): Promise<Listener> {
  const url = new URL(`${base}/stream${query}`, await gateway.app.getUrl());
  const request = httpRequest(url, {
    headers: { 'x-auth-token': token, accept: 'text/event-stream', ...headers },
  }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  expect(response.statusCode).toBe(200);
  expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
  const listener: Listener = { messages: [], text: '', isOver: false, leave: () => request.destroy() };
  response.setEncoding('utf8');
  let pending = '';
  response.on('data', (chunk: string) => {
    listener.text += chunk;
    const parts = (pending + chunk).split('\n\n');
    pending = parts.pop() ?? '';
    for (const part of parts) {
      const [, id, data] = /^id: (\d+)\ndata: (.*)$/.exec(part) ?? [];
      if (id === undefined || data === undefined) continue;
      listener.messages.push({ id: Number(id), type: (JSON.parse(data) as TrailEvent).type });
    }
  });
  response.on('end', () => (listener.isOver = true));
  // A connection that is cut is no end of the stream.
  response.on('error', () => undefined);
  request.on('error', () => undefined);
  return listener;
}

const DEADLINE_MS = 20_000;
const IMAGES = 20;

describe('the stream of events', () => {
  it('tells each event once, also to a reader that comes back (G4, cts-api 8.5)', async () => {
    const first = await listen();
    await waitFor(() => first.messages.length >= 5, { deadlineMs: DEADLINE_MS, what: 'the first messages' });
    first.leave();
    const lastId = first.messages.at(-1)?.id ?? -1;
    const second = await listen('', { 'last-event-id': String(lastId) });
    const made = await createJob(gateway, token);
    const newest = (await list(`?job_id=${made.jobId}`)).events.at(-1)?.log_index ?? -1;
    await waitFor(() => second.messages.at(-1)?.id === newest, { deadlineMs: DEADLINE_MS, what: 'the newest event' });
    second.leave();
    const ids = [...first.messages, ...second.messages].map(({ id }) => id);
    expect(ids).toEqual(ids.map((_, place) => place));
    expect(ids.at(-1)).toBe(newest);
  });

  it('begins where it is told to, and keeps to a job', async () => {
    const { events } = await list(`?job_id=${image.jobId}`);
    const listener = await listen(`?job_id=${image.jobId}&from_index=${events[2]?.log_index}`);
    const expected = events.slice(2).map(({ log_index, type }) => ({ id: log_index, type }));
    await waitFor(() => listener.messages.length >= expected.length, { deadlineMs: DEADLINE_MS, what: 'all of them' });
    expect(listener.messages).toEqual(expected);
    listener.leave();
  });

  it('reads no further for a reader that takes nothing, and tells it the rest when it does (G4)', async () => {
    const other = await gateway.anotherAccount();
    // Some kilobytes each, more than is kept for a reader.
    for (let n = 0; n < IMAGES; n += 1) {
      const made = await gateway.app.inject({
        method: 'POST',
        url: '/v2/images',
        headers: { 'x-auth-token': other.token },
        payload: { name: `image-${n}`, long: 'x'.repeat(8_000) },
      });
      expect(made.statusCode).toBe(201);
    }
    const { body } = gateway.app.get(EventStreamService).stream(other.projectId, { type: 'image.queued' }, undefined);
    if (!(body instanceof LazyStream)) throw new Error('it is no stream');
    const stream = body.open();
    stream.read(0);
    let kept = -1;
    await waitFor(
      () => {
        const before = kept;
        kept = stream.readableLength;
        return kept > 50_000 && kept === before;
      },
      { deadlineMs: DEADLINE_MS, everyMs: 300, what: 'nothing more is read for it' },
    );
    expect(kept).toBeLessThan(100_000);
    let text = '';
    for await (const chunk of stream) {
      text += String(chunk);
      if (text.includes(`image-${IMAGES - 1}`)) break;
    }
    const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
    expect(ids).toHaveLength(IMAGES);
    expect(ids).toEqual([...new Set(ids)].toSorted((a, b) => a - b));
  });

  it('ends after its time between two messages, so that whoever may no longer read does not (cts-api 8.5)', async () => {
    const another = await gatewayUnderTest({}, { IMS_EVENT_STREAM_SECONDS: '1' });
    const itsToken = await another.tokenOf('acme', 'alice');
    await createJob(another, itsToken);
    const answer = await another.app.inject({
      url: `/v1/${another.identity.projectId}/events/stream`,
      headers: { 'x-auth-token': itsToken },
    });
    expect(answer.payload.match(/^id: \d+$/gm)).toHaveLength(4);
    expect(answer.payload).toMatch(/\n\n$/);
    await another.close();
  });

  it('leaves room for other projects', async () => {
    const other = await gateway.anotherAccount();
    const streams = gateway.app.get(EventStreamService);
    const open = (project: string) => {
      const { body } = streams.stream(project, {}, undefined);
      if (!(body instanceof LazyStream)) throw new Error('it is no stream');
      return body.open();
    };
    const opened = Array.from({ length: 20 }, () => open(other.projectId));
    expect(() => open(other.projectId)).toThrow('too many streams');
    opened.push(open(gateway.identity.projectId));
    for (const stream of opened) stream.destroy();
    await waitFor(() => opened.every((stream) => stream.closed), {
      deadlineMs: DEADLINE_MS,
      what: 'all of them to end',
    });
    open(other.projectId).destroy();
  });

  it('ends between two messages when the gateway stops, also for a reader that takes nothing', async () => {
    const another = await gatewayUnderTest();
    const itsToken = await another.tokenOf('acme', 'alice');
    for (let n = 0; n < 3; n += 1) await createJob(another, itsToken);
    await another.app.listen({ host: '127.0.0.1', port: 0 });
    const url = new URL(`/v1/${another.identity.projectId}/events/stream`, await another.app.getUrl());
    const open = async () => {
      const request = httpRequest(url, { headers: { 'x-auth-token': itsToken } }).end();
      request.on('error', () => undefined);
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      return response;
    };
    const [attentive] = await Promise.all([open(), open()]);
    let text = '';
    attentive?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const ended = once(attentive ?? [], 'end');
    await waitFor(() => text.includes('id: 11\n'), { deadlineMs: DEADLINE_MS, what: 'every event has come' });
    await Promise.all([another.close(), ended]);
    expect(text).toMatch(/\n\n$/);
  });
});
