import { randomBytes } from 'node:crypto';
import { rebuildProjections, sealVisible } from '@ims/event-log';
import { trailViolations, waitFor } from '@ims/testing';
import { sql } from 'kysely';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { createJob, publishImage, type PublishedImage } from '../testing/published-image';
import { ImageUpdateService } from './image-update.service';

const GLANCE = 'application/openstack-images-v2.1-json-patch';
const GLANCE_OLD = 'application/openstack-images-v2.0-json-patch';
const DEADLINE_MS = 30_000;

let gateway: GatewayUnderTest;
let token: string;
let image: PublishedImage;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  image = await publishImage(gateway, token, randomBytes(2 ** 20));
});
afterAll(() => gateway.close());

const get = (url: string) => gateway.app.inject({ url, headers: { 'x-auth-token': token } });
const patch = (url: string, payload: unknown, type = 'application/json;charset=UTF-8', as = token) =>
  gateway.app.inject({
    method: 'PATCH',
    url,
    headers: { 'x-auth-token': as, 'content-type': type },
    payload: JSON.stringify(payload),
  });
const update = (payload: unknown, id = image.id, as = token) => patch(`/v2/cloudimages/${id}`, payload, undefined, as);
const glance = (payload: unknown, id = image.id, type = GLANCE, as = token) =>
  patch(`/v2/images/${id}`, payload, type, as);
const replace = (path: string, value: unknown) => ({ op: 'replace', path, value });
const add = (path: string, value: unknown) => ({ op: 'add', path, value });
const codeOf = (answer: { body: string }) => /IMG\.\d{4}/.exec(answer.body)?.[0];

const eventsOf = (id = image.id) =>
  gateway.parts.db
    .selectFrom('event')
    .select(['type', 'data', 'actor', 'request_id'])
    .where('stream_id', '=', `image:${id}`)
    .orderBy('stream_position')
    .execute();

describe(ImageUpdateService.name, () => {
  it('changes an image and answers with the whole of it; one event has before and after (IMG-18, MGT-01, ims-api 5)', async () => {
    const answer = await update([
      replace('/name', 'web 2'),
      add('/__description', 'a base'),
      replace('/min_ram', '1024'),
      add('/max_ram', 4096),
      add('/hw_vif_multiqueue_enabled', 'true'),
      add('/__support_kvm_hi1822_hisriov', 'true'),
      add('/own', 'mine'),
    ]);
    expect(answer.statusCode).toBe(200);
    const changed = {
      name: 'web 2',
      __description: 'a base',
      min_ram: 1024,
      max_ram: '4096',
      hw_vif_multiqueue_enabled: 'true',
      __support_kvm_hi1822_hisriov: 'true',
      own: 'mine',
    };
    expect(answer.json()).toMatchObject({ id: image.id, ...changed });
    const listed = await get(`/v2/cloudimages?id=${image.id}`);
    expect(listed.json<{ images: unknown[] }>().images).toEqual([answer.json()]);
    const last = (await eventsOf()).at(-1);
    expect(last).toMatchObject({
      type: 'image.updated',
      request_id: answer.headers['x-request-id'],
      actor: { userName: 'alice', call: { operation: 'UpdateImage' } },
      data: {
        name: 'web 2',
        before: { name: 'debian', minRamMib: 0, attributes: { own: null, max_ram: null } },
        after: { name: 'web 2', minRamMib: 1024, attributes: { own: 'mine', max_ram: '4096' } },
      },
    });
  });

  it('refuses what is not set so that Terraform goes on with add, and changes nothing of the rest (ims-api 5, 19.2)', async () => {
    const before = await eventsOf();
    const refused = await update([replace('/name', 'other'), replace('/os_shutdown_timeout', '90')]);
    expect([refused.statusCode, codeOf(refused)]).toEqual([400, 'IMG.0035']);
    expect(await eventsOf()).toEqual(before);
    expect((await update([add('/os_shutdown_timeout', '90')])).json()).toMatchObject({
      name: 'web 2',
      os_shutdown_timeout: '90',
    });
    expect(
      (await update([{ op: 'remove', path: '/os_shutdown_timeout', value: 'anything' }])).json(),
    ).not.toHaveProperty('os_shutdown_timeout');
  });

  it('keeps the key of an image (ENC-03)', async () => {
    const key = '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c';
    const answers = [await update([add('/__system__cmkid', key)]), await glance([add('/__system__cmkid', key)])];
    expect(answers.map((answer) => [answer.statusCode, codeOf(answer)])).toEqual([
      [400, 'IMG.0105'],
      [403, 'IMG.0105'],
    ]);
  });

  it('speaks both forms of OpenStack’s patches, each under its media type alone (ims-api 12.5)', async () => {
    const answer = await glance([replace('/name', 'g'), add('/OwnKey', 'a'), replace('/protected', true)]);
    expect([answer.statusCode, answer.headers['content-type']]).toEqual([200, 'application/json; charset=utf-8']);
    expect(answer.json()).toMatchObject({ name: 'g', OwnKey: 'a', protected: true, os_hidden: false });
    expect((await get(`/v2/images/${image.id}`)).json()).toEqual(answer.json());
    const old = await glance(
      [{ replace: '/name', value: 'h' }, { remove: '/OwnKey' }, { replace: '/protected', value: false }],
      image.id,
      GLANCE_OLD,
    );
    expect([old.statusCode, old.json<{ name: string }>().name]).toEqual([200, 'h']);
    expect(old.json()).not.toHaveProperty('OwnKey');
    for (const [type, body, status] of [
      ['application/json', [replace('/name', 'i')], 415],
      [GLANCE, [{ replace: '/name', value: 'i' }], 400],
      [GLANCE_OLD, [replace('/name', 'i')], 400],
      [GLANCE, [{ op: 'test', path: '/name', value: 'h' }], 400],
      [GLANCE, [replace('name', 'i')], 400],
      [GLANCE, { op: 'replace' }, 400],
      [GLANCE, [replace('/none', 'i')], 409],
      [GLANCE, [replace('/status', 'killed')], 403],
      [GLANCE, [{ op: 'remove', path: '/name' }], 403],
    ] as const) {
      const refused = await glance(body, image.id, type);
      expect([JSON.stringify(body), refused.statusCode]).toEqual([JSON.stringify(body), status]);
      expect(refused.headers['content-type']).toContain('text/html');
    }
  });

  it('deletes nothing that was protected by it, and deletes once that is taken back', async () => {
    const id = (await publishImage(gateway, token, randomBytes(2 ** 12))).id;
    const remove = () =>
      gateway.app.inject({ method: 'DELETE', url: `/v2/images/${id}`, headers: { 'x-auth-token': token } });
    await update([replace('/protected', 'true')], id);
    expect(codeOf(await remove())).toBe('IMG.0091');
    await update([replace('/protected', 'false')], id);
    expect((await remove()).statusCode).toBe(204);
    for (const change of [update, glance]) expect((await change([replace('/name', 'late')], id)).statusCode).toBe(404);
  });

  it('hides an image from every list that does not ask for it (ims-api 12.2)', async () => {
    await glance([replace('/os_hidden', true)]);
    const names = async (query: string) =>
      (await get(query)).json<{ images: { id: string }[] }>().images.map(({ id }) => id);
    for (const url of ['/v2/images', '/v2/cloudimages']) {
      expect(await names(url)).not.toContain(image.id);
      expect(await names(`${url}?os_hidden=true`)).toEqual([image.id]);
    }
    expect(await names(`/v2/cloudimages?id=${image.id}`)).toEqual([image.id]);
    expect((await get(`/v2/images/${image.id}`)).json()).toMatchObject({ os_hidden: true });
    await glance([replace('/os_hidden', false)]);
    expect(await names('/v2/images')).toContain(image.id);
  });

  it('moves an image between enterprise projects for who may make images there, and finds it there', async () => {
    const project = '9a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c';
    expect((await update([replace('/enterprise_project_id', project)])).statusCode).toBe(200);
    const found = async (id: string) =>
      (await get(`/v2/cloudimages?enterprise_project_id=${id}`)).json<{ images: { id: string }[] }>().images;
    expect(await found(project)).toMatchObject([{ id: image.id }]);
    expect(await found('all_granted_eps')).toContainEqual(expect.objectContaining({ id: image.id }));
    expect(await found('0')).not.toContainEqual(expect.objectContaining({ id: image.id }));
    const other = await gateway.anotherAccount(['ims:images:update']);
    const refused = await update([replace('/enterprise_project_id', '0')], image.id, other.token);
    expect([refused.statusCode, codeOf(refused)]).toEqual([403, 'IMG.0026']);
  });

  it('is the owner’s alone: others meet nothing, and leave a trace of their try', async () => {
    const other = await gateway.anotherAccount();
    const tries = [
      await update([replace('/name', 'theirs')], image.id, other.token),
      await glance([replace('/name', 'theirs')], image.id, GLANCE, other.token),
      await update([replace('/name', 'x')], '00000000-0000-4000-8000-000000000000', other.token),
    ];
    expect(tries.map((answer) => [answer.statusCode, codeOf(answer)])).toEqual(
      Array.from({ length: 3 }, () => [404, 'IMG.0144']),
    );
    const recorded = () =>
      gateway.parts.db
        .selectFrom('event')
        .select(['data', 'actor'])
        .where('type', '=', 'call.refused')
        .where('project_id', '=', other.projectId)
        .orderBy('stream_position')
        .execute();
    const found = await waitFor(
      async () => {
        const events = await recorded();
        return events.length < tries.length ? undefined : events;
      },
      { deadlineMs: DEADLINE_MS, what: 'the refusals are recorded' },
    );
    expect(found).toHaveLength(tries.length);
    expect(found).toContainEqual({
      data: expect.objectContaining({ errorCode: 'IMG.0144', resourceId: image.id }),
      actor: expect.objectContaining({ userName: 'bob', call: expect.objectContaining({ operation: 'UpdateImage' }) }),
    });
    const waiting = await createJob(gateway, token);
    const refused = await update([replace('/name', 'x')], waiting.imageId);
    expect([refused.statusCode, codeOf(refused)]).toEqual([400, 'IMG.0046']);
  });

  it('leaves what everybody sees to whoever publishes it, and says so (ims-api 5, 12.1)', async () => {
    const { db } = gateway.parts;
    const open = '00000000-0000-4000-8000-00000000abcd';
    await sql`
      insert into image (id, project_id, name, status, image_type, disk_format, min_disk_gib, min_ram_mib, tags, attributes, created_at, updated_at)
      values (${open}, ${'e'.repeat(32)}, 'open', 'active', 'gold', 'zvhd2', 1, 0, '{}', '{}', now(), now())`.execute(
      db,
    );
    const tries = [
      await update([replace('/name', 'mine')], open),
      await glance([replace('/name', 'mine')], open),
      await gateway.app.inject({
        method: 'PUT',
        url: `/v2/images/${open}/tags/mine`,
        headers: { 'x-auth-token': token },
      }),
    ];
    expect(tries.map((answer) => [answer.statusCode, codeOf(answer)])).toEqual([
      [400, 'IMG.0083'],
      [403, 'IMG.0083'],
      [403, 'IMG.0083'],
    ]);
    await db.deleteFrom('image').where('id', '=', open).execute();
  });

  it('loses nothing of changes at once', async () => {
    const names = Array.from({ length: 12 }, (_, n) => `at-once-${n}`);
    const answers = await Promise.all(
      names.map((name, n) => (n % 2 === 0 ? update([add(`/${name}`, 'x')]) : glance([add(`/${name}`, 'x')]))),
    );
    expect(answers.map(({ statusCode }) => statusCode)).toEqual(names.map(() => 200));
    const shown = (await get(`/v2/images/${image.id}`)).json<Record<string, unknown>>();
    expect(names.filter((name) => shown[name] !== 'x')).toEqual([]);
  });

  it('is traced under the dialect that it came by (cts-api 7)', async () => {
    const { db } = gateway.parts;
    expect(await sealVisible(db, DEADLINE_MS)).toBe(true);
    const url = `/v3/${gateway.identity.projectId}/traces?limit=200&resource_id=${image.id}&trace_name=updateImage`;
    const { traces } = (await get(url)).json<{ traces: { resource_type: string; resource_name: string }[] }>();
    expect(new Set(traces.map(({ resource_type }) => resource_type))).toEqual(new Set(['ims', 'image']));
  });

  it('is what its events say, folded or rebuilt (I5)', async () => {
    expect(await trailViolations(gateway.parts.db)).toEqual([]);
    expect((await rebuildProjections(gateway.database.ownerUrl)).differences).toEqual([]);
  });
});

describe('the list as a CSV file (MGT-04, ims-api 18.2)', () => {
  const COUNT = 2_500;
  const PROJECT = 'c'.repeat(32);

  it('has exactly what the filters find, page after page, with names that no spreadsheet computes', async () => {
    const other = await gateway.anotherAccount();
    const { db } = gateway.parts;
    await sql`
      insert into image (id, project_id, name, status, disk_format, min_disk_gib, min_ram_mib, tags, attributes, file_bytes, created_at, updated_at)
      select gen_random_uuid(), case when n <= ${COUNT} then ${other.projectId} else ${PROJECT} end,
        case n % 3 when 0 then '=cmd|' || n when 1 then 'a "b", c ' || n else '-x' || n end, 'active', 'zvhd2', 40, 512, '{}',
        jsonb_build_object('virtual_env_type', case when n % 2 = 0 then 'DataImage' else 'FusionCompute' end), n,
        now() - n * interval '1 second', now()
      from generate_series(1, ${COUNT + 10}) as n`.execute(db);
    const ask = (query: string) =>
      gateway.app.inject({ url: `/v2/cloudimages/csv${query}`, headers: { 'x-auth-token': other.token } });
    const all = await ask('');
    expect(all.headers['content-type']).toBe('text/csv; charset=utf-8; header=present');
    expect(all.headers['content-disposition']).toMatch(/^attachment; filename="private-images-region-1-\d{14}\.csv"$/);
    const [header, ...rows] = parseCsv(all.body);
    expect(header).toEqual([
      ...['Name', 'ID', 'Status', 'OS', 'Image Type', 'Created', 'Disk Capacity (GB)', 'Shared Disk'],
      ...['Image Size (Bytes)', 'Minimum Memory (MB)', 'Encrypted'],
    ]);
    expect(new Set(rows.map(([, id]) => id)).size).toBe(COUNT);
    expect(rows.slice(0, 3).map(([name]) => name)).toEqual(['a "b", c 1', "'-x2", "'=cmd|3"]);
    expect(rows.map((row) => row[8])).toEqual(rows.map((_row, at) => String(at + 1)));
    const data = parseCsv((await ask('?virtual_env_type=DataImage&sort_key=name&sort_dir=asc')).body).slice(1);
    expect(data).toHaveLength(COUNT / 2);
    expect(new Set(data.map(([, , , , kind]) => kind))).toEqual(new Set(['Data disk image']));
    const open = await ask('?__imagetype=gold&visibility=public');
    expect(open.headers['content-disposition']).toContain('filename="public-images-region-1-');
    expect(parseCsv(open.body)[0]).toEqual([
      ...['Name', 'Status', 'OS', 'Image Type', 'Created', 'System Disk (GB)', 'Minimum Memory (MB)'],
    ]);
    expect((await ask('?architecture=mips')).statusCode).toBe(400);
    await db.deleteFrom('image').where('project_id', 'in', [other.projectId, PROJECT]).execute();
  });
});

/** RFC 4180. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    row.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'));
    if (end === ',') continue;
    rows.push(row);
    row = [];
  }
  return rows;
}
