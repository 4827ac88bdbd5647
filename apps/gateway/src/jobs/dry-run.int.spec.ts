import { readdir } from 'node:fs/promises';
import { dryRunAnswer } from '@ims/contract';
import { sql } from 'kysely';
import { DryRunInterceptor } from '../http/dry-run';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';

let gateway: GatewayUnderTest;
let token: string;
let waiting: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  const made = await call('/v2/images', { name: 'waiting', min_disk: 10, disk_format: 'raw' }, {});
  waiting = made.json<{ id: string }>().id;
});
afterAll(() => gateway.close());

const DRY = { 'x-dry-run': 'true' };
const call = (url: string, payload: object, headers: Record<string, string> = DRY, method: 'POST' | 'PUT' = 'POST') =>
  gateway.app.inject({ method, url, payload, headers: { 'x-auth-token': token, ...headers } });

const FILE = { name: 'debian', image_url: 'images:disk.raw', min_disk: 10 };
const disk = { availability_zone: 'az-1', size: 12, volume_type: 'SSD', name: 'disk', count: 2 };

/**
 * Everything that a call could leave: rows of every table, files of the store, and what the engine was told. That a call was refused is in the trail
 * a moment after its answer, which is no part of this.
 */
async function traces(): Promise<unknown> {
  // Of the service and of the embedded neighbours; partitions are read with their table.
  const { rows: tables } = await sql<{ name: string }>`
    select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('ims', 'cloud') and c.relkind in ('r', 'p') and not c.relispartition
      and has_table_privilege(c.oid, 'select') order by 1`.execute(gateway.parts.db);
  expect(tables.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['ims.event', 'ims.job', 'ims.outbox', 'cloud.volume']),
  );
  const counts: Record<string, string | undefined> = {};
  for (const { name } of tables) {
    const { rows } = await sql<{ digest: string }>`
      select count(*) || ':' || coalesce(md5(string_agg(each::text, ',' order by each::text)), '') as digest
      from ${sql.table(name)} each where coalesce(to_jsonb(each) ->> 'stream_id', '') not like 'calls:%'`.execute(
      gateway.parts.db,
    );
    counts[name] = rows[0]?.digest;
  }
  const { storeDirectory } = gateway.parts.config;
  return { counts, files: (await readdir(storeDirectory, { recursive: true })).toSorted(), ...gateway.handedToEngine };
}

describe(DryRunInterceptor.name, () => {
  const jobs = () =>
    [
      ['/v2/cloudimages/action', FILE, 'imsImportImageJob'],
      ['/v2/cloudimages/quickimport/action', { ...FILE, type: 'DataImage', min_disk: 40 }, 'imsImportImageJob'],
      ['/v1/cloudimages/dataimages/action', { ...FILE, min_disk: 40 }, 'imsImportDataImageJob'],
      [`/v2/${gateway.identity.projectId}/cloudvolumes`, { volume: disk }, 'createVolume'],
    ] as const;

  it('says what a job would do and keeps nothing of it: no row, no file, no workflow', async () => {
    const before = await traces();
    for (const [url, body, jobType] of jobs()) {
      const answer = await call(url, body);
      expect([url, answer.statusCode]).toEqual([url, 200]);
      const plan = dryRunAnswer.parse(answer.json());
      expect(plan).toMatchObject({ dry_run: true, allowed: true, refusals: [], bytes: { source: null } });
      expect([url, plan.job_type]).toEqual([url, jobType]);
      expect(plan.steps.length).toBeGreaterThan(0);
      expect(plan.cost?.lines.length).toBeGreaterThan(0);
    }
    const register = await call(`/v1/cloudimages/${waiting}/upload`, { image_url: 'images:disk.raw' }, DRY, 'PUT');
    expect(register.json()).toMatchObject({ allowed: true, job_type: 'imsNativeImportImageJob' });
    expect(await traces()).toEqual(before);
  });

  it('tells of disks what they cost elsewhere (BIL-07)', async () => {
    const answer = await call(`/v2/${gateway.identity.projectId}/cloudvolumes`, { volume: disk });
    expect(dryRunAnswer.parse(answer.json()).cost?.lines).toMatchObject([
      { meter: 'volume.storage', charged_by: 'evs', quantity: '24', amount: null },
    ]);
  });

  it('says which rule refuses, with its code, also when only the quota does', async () => {
    const owner = await gateway.anotherAccount();
    await call('/v2/cloudimages/action', FILE, { 'x-auth-token': owner.token });
    await gateway.parts.db
      .updateTable('quota')
      .set({ quota_limit: 1 })
      .where('project_id', '=', owner.projectId)
      .where('resource', '=', 'image')
      .execute();
    const before = await traces();
    const malformed = await call('/v2/cloudimages/action', { ...FILE, name: '' });
    const unknown = await call(
      '/v1/cloudimages/00000000-0000-4000-8000-000000000000/upload',
      { image_url: 'a:b' },
      DRY,
      'PUT',
    );
    const full = await call('/v2/cloudimages/action', FILE, { ...DRY, 'x-auth-token': owner.token });
    for (const answer of [malformed, unknown, full]) {
      expect(answer.statusCode).toBe(200);
      expect(answer.json()).toMatchObject({ dry_run: true, allowed: false, job_type: null, steps: [], cost: null });
    }
    expect(full.json()).toMatchObject({ refusals: [{ error_code: 'IMG.0015' }] });
    expect(await traces()).toEqual(before);
  });

  it('lets nobody in who may not call: 401 and 403 stay what they are (IMG.0026)', async () => {
    const reader = await gateway.anotherAccount(['ims:images:get']);
    const answers = [
      await call('/v2/cloudimages/action', FILE, { ...DRY, 'x-auth-token': '' }),
      await call('/v2/cloudimages/action', FILE, { ...DRY, 'x-auth-token': reader.token }),
      // The body says which action it is, so the service asks.
      await call(
        '/v2/cloudimages/quickimport/action',
        { ...FILE, os_version: 'x' },
        {
          ...DRY,
          'x-auth-token': (await gateway.anotherAccount(['ims:dataImages:create'])).token,
        },
      ),
    ];
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([401, 403, 403]);
  });

  it('is refused with any other value, and by calls that cannot be tried, which then do nothing', async () => {
    const before = await traces();
    const answers = [
      await call('/v2/cloudimages/action', FILE, { 'x-dry-run': 'yes' }),
      await call('/v2/cloudimages/action', FILE, { 'x-dry-run': '' }),
      await call('/v2/images', { name: 'never' }),
      await gateway.app.inject({
        method: 'DELETE',
        url: `/v2/images/${waiting}`,
        headers: { 'x-auth-token': token, ...DRY },
      }),
      await gateway.app.inject({ url: '/v2/cloudimages', headers: { 'x-auth-token': token, 'x-dry-run': 'false' } }),
    ];
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([400, 400, 400, 400, 400]);
    expect(await traces()).toEqual(before);
  });

  it('does the work when the header says false', async () => {
    const answer = await call('/v2/cloudimages/action', FILE, { 'x-dry-run': 'false' });
    expect(Object.keys(answer.json<object>())).toEqual(['job_id']);
  });
});
