import { randomBytes, randomUUID } from 'node:crypto';
import { projectId, quotaStream, SYSTEM } from '@ims/contract';
import { ClaimLostError, type ClaimRequest, IdempotencyRepository, inTransaction, systemClock } from '@ims/db';
import { appendEvents } from '@ims/event-log';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { IdempotencyInterceptor } from './idempotency.interceptor';

const IMAGE = { name: 'debian', image_url: 'images:disk.raw', min_disk: 10 };
const CREATE = '/v2/cloudimages/action';
const HOUR_MS = 3_600_000;

let gateway: GatewayUnderTest;
let token: string;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const post = (url: string, key: string, payload: object | string, headers: Record<string, string> = {}) =>
  gateway.app.inject({
    method: 'POST',
    url,
    headers: { 'x-auth-token': token, 'idempotency-key': key, 'content-type': 'application/json', ...headers },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  });
const jobs = async (): Promise<number> => (await gateway.database.db.selectFrom('job').select('id').execute()).length;
const keyRow = (key: string) =>
  gateway.database.db.selectFrom('idempotency_key').selectAll().where('key', '=', key).executeTakeFirst();
const held = (key: string) => gateway.database.db.updateTable('idempotency_key').where('key', '=', key);
const agedBy = (ms: number) => new Date(systemClock.now().getTime() - ms);

describe(IdempotencyInterceptor.name, () => {
  it.each([
    ['a job', CREATE, IMAGE, 200],
    ['an image that waits for bytes', '/v2/images', { name: 'waits', disk_format: 'qcow2' }, 201],
    ['a disk', () => `/v2/${gateway.identity.projectId}/cloudvolumes`, VOLUME(), 200],
    ['a vault, of which no event tells', () => `/v3/${gateway.identity.projectId}/vaults`, VAULT(), 200],
  ] as const)('gives %s once, and the same answer again', async (_, url, body, status) => {
    const path = typeof url === 'string' ? url : url();
    const key = randomUUID();
    const first = await post(path, key, body);
    expect([first.statusCode, first.headers]).toEqual([
      status,
      expect.not.objectContaining({ 'idempotency-replayed': 'true' }),
    ]);
    const before = await jobs();
    const again = await post(path, key, ` ${JSON.stringify(Object.fromEntries(Object.entries(body).reverse()))}`);
    expect([again.statusCode, again.body, again.headers.location]).toEqual([
      status,
      first.body,
      first.headers.location,
    ]);
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect(again.headers['openstack-image-import-methods']).toBe(first.headers['openstack-image-import-methods']);
    expect(await jobs()).toBe(before);
  });

  it('makes one job of twenty calls at once with one key', async () => {
    const key = randomUUID();
    const before = await jobs();
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(CREATE, key, IMAGE)));
    expect(await jobs()).toBe(before + 1);
    const good = answers.filter(({ statusCode }) => statusCode === 200);
    const { job_id: job } = (await post(CREATE, key, IMAGE)).json<{ job_id: string }>();
    expect(new Set(good.map(({ body }) => body))).toEqual(new Set([JSON.stringify({ job_id: job })]));
    for (const other of answers.filter(({ statusCode }) => statusCode !== 200))
      expect([other.statusCode, other.json<object>()]).toEqual([
        409,
        { error: expect.objectContaining({ code: 'Idempotency.0002' }) },
      ]);
  });

  it('refuses the key for another body with 409, and changes nothing', async () => {
    const key = randomUUID();
    await post(CREATE, key, IMAGE);
    const before = await jobs();
    const other = await post(CREATE, key, { ...IMAGE, name: 'other' });
    expect([other.statusCode, other.json()]).toEqual([
      409,
      { error: expect.objectContaining({ code: 'Idempotency.0001' }) },
    ]);
    expect(await jobs()).toBe(before);
  });

  it('keeps keys apart by project and by route', async () => {
    const key = randomUUID();
    const mine = (await post(CREATE, key, IMAGE)).json<{ job_id: string }>();
    const other = await gateway.anotherAccount();
    const theirs = await post(CREATE, key, IMAGE, { 'x-auth-token': other.token });
    const elsewhere = await post('/v2.1/cloudimages/action', key, IMAGE);
    expect([theirs.statusCode, elsewhere.statusCode]).toEqual([200, 200]);
    expect(theirs.json<{ job_id: string }>().job_id).not.toBe(mine.job_id);
    expect(elsewhere.json<{ job_id: string }>().job_id).not.toBe(mine.job_id);
  });

  it('keeps no key for a call that was refused or only tried', async () => {
    const key = randomUUID();
    expect((await post(CREATE, key, { ...IMAGE, min_disk: 0 })).statusCode).toBe(400);
    expect((await post(CREATE, key, IMAGE, { 'x-dry-run': 'true' })).statusCode).toBe(200);
    expect(await keyRow(key)).toBeUndefined();
    const done = await post(CREATE, key, IMAGE);
    expect([done.statusCode, done.headers['idempotency-replayed']]).toEqual([200, undefined]);
  });

  it.each(['', 'a b', 'x'.repeat(256)])('refuses %j as a key', async (key) => {
    expect((await post(CREATE, key, IMAGE)).statusCode).toBe(400);
  });

  it('refuses a key where none can be taken, rather than doing the call as if there were none', async () => {
    const response = await post('/v3/auth/tokens', randomUUID(), {});
    expect([response.statusCode, response.body]).toEqual([400, expect.stringContaining('knows no Idempotency-Key')]);
  });

  it('has the answer in the transaction of the job: a process that dies before it answers loses nothing', async () => {
    const key = randomUUID();
    const { body } = await post(CREATE, key, IMAGE);
    // `answer` changes nothing that the transaction kept, so what is there came with the job.
    const row = await keyRow(key);
    await new IdempotencyRepository(gateway.database.db).answer(
      { projectId: String(row?.project_id), operation: 'CreateImage', key, claimId: String(row?.claim_id) },
      { status: 500, headers: {}, body: null },
    );
    expect(row).toMatchObject({ status: 200, body, effect_at: expect.any(Date) });
    expect(await keyRow(key)).toEqual(row);
  });

  it.each([
    ['is under way while its holder may live', { claimed_at: agedBy(0), effect_at: null }, [409, 'Idempotency.0002']],
    [
      'is taken over from a holder that died before any effect',
      { claimed_at: agedBy(HOUR_MS), effect_at: null },
      [200, undefined],
    ],
    [
      'is never done again once it has an effect',
      { claimed_at: agedBy(HOUR_MS), effect_at: agedBy(HOUR_MS) },
      [409, 'Idempotency.0003'],
    ],
    [
      'is never done again when no event would tell of it',
      { claimed_at: agedBy(HOUR_MS), effect_at: null, is_recorded: false },
      [409, 'Idempotency.0003'],
    ],
  ] as const)('a key without an answer %s', async (_, state, expected) => {
    const key = randomUUID();
    await post(CREATE, key, IMAGE);
    await held(key)
      .set({ ...state, status: null, headers: null, body: null })
      .execute();
    const before = await jobs();
    const { statusCode, body } = await post(CREATE, key, IMAGE);
    expect([statusCode, /Idempotency\.\d{4}/.exec(body)?.[0]]).toEqual(expected);
    expect(await jobs()).toBe(before + (statusCode === 200 ? 1 : 0));
  });

  it('is a new call after a day', async () => {
    const key = randomUUID();
    const first = await post(CREATE, key, IMAGE);
    await held(key)
      .set({ claimed_at: agedBy(24 * HOUR_MS + 1_000) })
      .execute();
    const second = await post(CREATE, key, { ...IMAGE, name: 'next-day' });
    expect([second.statusCode, second.headers['idempotency-replayed']]).toEqual([200, undefined]);
    expect(second.body).not.toBe(first.body);
  });
});

describe(IdempotencyRepository.name, () => {
  const aClaim = (): ClaimRequest => ({
    projectId: randomBytes(16).toString('hex'),
    operation: 'CreateImage',
    key: randomUUID(),
    claimId: randomUUID(),
    fingerprint: 'f',
    isRecorded: true,
  });
  const TIMES = { keepMs: 24 * HOUR_MS, leaseMs: 60_000 };

  it('lets nobody commit what another call has taken the key over for', async () => {
    const { db } = gateway.database;
    const keys = new IdempotencyRepository(db);
    const slow = aClaim();
    const next = { ...slow, claimId: randomUUID() };
    const now = systemClock.now();
    expect(await keys.claim(slow, { ...TIMES, now: agedBy(HOUR_MS) })).toEqual({ kind: 'claimed' });
    expect(await keys.claim(next, { ...TIMES, now })).toEqual({ kind: 'claimed' });
    const stream = quotaStream(projectId(slow.projectId), 'image');
    const commit = (claim: ClaimRequest) =>
      inTransaction(db, (trx) =>
        appendEvents(trx, { projectId: slow.projectId, actor: SYSTEM, claim }, [
          { type: 'quota.limit-set', stream, key: claim.claimId, data: { resource: 'image', limit: 7 } },
        ]),
      );
    await expect(commit(slow)).rejects.toThrow(ClaimLostError);
    expect(await db.selectFrom('quota').selectAll().where('project_id', '=', slow.projectId).execute()).toEqual([]);
    await commit(next);
    expect(await keys.claim(aClaimOf(next), { ...TIMES, now })).toEqual({ kind: 'under-way' });
    // What has had an effect is not given back.
    await keys.release(next);
    expect(await keys.claim(aClaimOf(next), { ...TIMES, now: new Date(now.getTime() + HOUR_MS) })).toEqual({
      kind: 'unknown',
    });
  });

  it('removes keys that are past their time, and no others', async () => {
    const { db } = gateway.database;
    const keys = new IdempotencyRepository(db);
    const [old, young] = [aClaim(), aClaim()];
    await keys.claim(old, { ...TIMES, now: agedBy(48 * HOUR_MS) });
    await keys.claim(young, { ...TIMES, now: agedBy(HOUR_MS) });
    expect(await keys.sweep(agedBy(24 * HOUR_MS), 100)).toBe(1);
    expect(await keyRow(old.key)).toBeUndefined();
    expect(await keyRow(young.key)).toBeDefined();
  });

  const aClaimOf = (claim: ClaimRequest): ClaimRequest => ({ ...claim, claimId: randomUUID() });
});

function VOLUME() {
  return { volume: { name: 'disk', size: 10, volume_type: 'SSD', availability_zone: 'az-1' } };
}

function VAULT() {
  return {
    vault: {
      name: 'vault',
      backup_policy_id: null,
      billing: {
        cloud_type: 'public',
        consistent_level: 'crash_consistent',
        object_type: 'server',
        protect_type: 'backup',
        size: 100,
        charging_mode: 'post_paid',
      },
      resources: [],
    },
  };
}
