import { randomBytes, randomUUID } from 'node:crypto';
import { imageId, imageStream, projectId, quotaStream, SYSTEM } from '@ims/contract';
import { type Clock, inTransaction, systemClock } from '@ims/db';
import { appendEvents, rebuildProjections, sealVisible } from '@ims/event-log';
import { sweepRecycleBin } from '@ims/job-engine';
import { trailViolations } from '@ims/testing';
import { gatewayUnderTest, type GatewayUnderTest, REGION } from '../testing/gateway-under-test';
import { publishImage } from '../testing/published-image';
import { ImageDeleteService } from './image-delete.service';
import { ImageLineageService } from './image-lineage.service';
import { ImageStatesService } from './image-states.service';
import { RecycleBinService } from './recycle-bin.service';

const DAY_MS = 24 * 3_600_000;
const DEADLINE_MS = 30_000;

let gateway: GatewayUnderTest;
let token: string;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE' | 'PATCH';
const call = (method: Method, url: string, payload?: object, as = token) =>
  gateway.app.inject({
    method,
    url,
    headers: { 'x-auth-token': as, ...(payload === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(payload === undefined ? {} : { payload }),
  });
const of = (id: string, what: string) => `/v1/cloudimages/${id}/${what}`;
const outcome = (answer: { statusCode: number; body: string }) => [
  answer.statusCode,
  /(?:IMG|Ecs|EVS)\.\d{4}/.exec(answer.body)?.[0],
];
const used = async () =>
  (await call('GET', '/v1/cloudimages/quota')).json<{ quotas: { resources: { used: number }[] } }>().quotas.resources[0]
    ?.used;
const rowOf = (id: string) =>
  gateway.parts.db.selectFrom('image').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const aStored = async () => (await publishImage(gateway, token, randomBytes(2 ** 12))).id;
const retain = (days: number | null) => call('PUT', '/v1/cloudimages/recycle-bin', { retention_days: days });
const bin = async () =>
  (await call('GET', '/v1/cloudimages/recycle-bin')).json<{
    retention_days: number;
    is_own_choice: boolean;
    images: { id: string; purge_after: string; legal_hold?: string }[];
    next_marker?: string;
  }>();
const sweepAt = (ms: number) => {
  const clock: Clock = { now: () => new Date(systemClock.now().getTime() + ms) };
  const { db, jobs } = gateway.parts;
  return sweepRecycleBin({ db, clock, region: REGION, store: gateway.store, starter: jobs });
};
const aServer = (imageRef: string, as = token, project = gateway.identity.projectId) =>
  call('POST', `/v1.1/${project}/cloudservers`, { server: { name: 'web', imageRef, flavorRef: 's6.large.2' } }, as);
const reason = (text: string) => ({ reason: text });

/** An image that was made from another one, as its job would record it: for the line alone it needs no bytes of its own. */
async function madeFrom(parentImageId: string, project: string): Promise<string> {
  const id = imageId(randomUUID());
  const disk = await rowOf(parentImageId);
  await inTransaction(gateway.parts.db, (trx) =>
    appendEvents(trx, { projectId: project, actor: SYSTEM }, [
      {
        type: 'image.queued',
        stream: imageStream(id),
        key: 'queued',
        data: {
          name: 'child',
          diskFormat: 'zvhd2',
          minDiskGib: 10,
          minRamMib: 0,
          tags: [],
          attributes: { __data_origin: `image,${parentImageId}` },
          lineage: { parentImageId, publicPlatform: null, productCode: null },
        },
      },
      {
        type: 'quota.reserved',
        stream: quotaStream(projectId(project), 'image'),
        key: `reserve:${id}`,
        data: { resource: 'image', amount: 1, holder: id },
      },
      {
        type: 'image.published',
        stream: imageStream(id),
        key: 'published',
        data: {
          domainId: String(disk.domain_id),
          manifestHash: String(disk.manifest_hash),
          contentRoot: String(disk.content_root),
          virtualSizeBytes: Number(disk.virtual_size_bytes),
          storedBytes: Number(disk.stored_bytes),
          fileBytes: Number(disk.file_bytes),
          attributes: {},
        },
      },
      {
        type: 'quota.settled',
        stream: quotaStream(projectId(project), 'image'),
        key: `settle:${id}`,
        data: { resource: 'image', amount: 1, holder: id },
      },
    ]),
  );
  return id;
}

describe(RecycleBinService.name, () => {
  it('keeps nothing unless it was chosen (MGT-05)', async () => {
    expect(await bin()).toEqual({ retention_days: 0, is_own_choice: false, images: [] });
    const id = await aStored();
    expect((await call('DELETE', `/v2/images/${id}`)).statusCode).toBe(204);
    expect((await rowOf(id)).status).toBe('deleted');
    expect(outcome(await call('POST', of(id, 'restore')))).toEqual([404, 'IMG.0144']);
  });

  it('hides a deleted image everywhere and gives it back as it was (MGT-05)', async () => {
    expect((await retain(7)).statusCode).toBe(204);
    const id = await aStored();
    const tag = { key: 'kept', value: 'yes' };
    const project = gateway.identity.projectId;
    await call('POST', `/v2/${project}/images/${id}/tags`, { tag });
    const before = (await call('GET', `/v2/images/${id}`)).json();
    const taken = await used();
    expect((await call('DELETE', `/v2/images/${id}`)).statusCode).toBe(204);
    expect(await used()).toBe((taken ?? 0) - 1);
    for (const url of [`/v2/images/${id}`, `/v2/images/${id}/file`])
      expect((await call('GET', url)).statusCode).toBe(404);
    for (const url of ['/v2/images', '/v2/cloudimages', `/v2/cloudimages?id=${id}`])
      expect((await call('GET', url)).json<{ images: { id: string }[] }>().images.map((each) => each.id)).not.toContain(
        id,
      );
    const tagged = await call('POST', `/v2/${project}/images/resource_instances/action`, {
      action: 'count',
      tags: [{ key: 'kept', values: [] }],
    });
    expect(tagged.json()).toMatchObject({ total_count: 0 });
    expect(outcome(await call('DELETE', `/v2/images/${id}`))).toEqual([404, 'IMG.0144']);
    expect(outcome(await aServer(id))).toEqual([400, 'Ecs.0000']);
    const listed = (await bin()).images.find((each) => each.id === id);
    const days = (Date.parse(listed?.purge_after ?? '') - systemClock.now().getTime()) / DAY_MS;
    expect(Math.round(days)).toBe(7);
    expect((await call('POST', of(id, 'restore'))).statusCode).toBe(204);
    const { updated_at: _was, ...same } = before as Record<string, unknown>;
    expect((await call('GET', `/v2/images/${id}`)).json()).toMatchObject(same);
    expect((await call('GET', `/v2/images/${id}/file`)).statusCode).toBe(200);
    expect(await used()).toBe(taken);
    expect((await call('DELETE', `/v2/images/${id}`)).statusCode).toBe(204);
    expect((await call('DELETE', `/v1/cloudimages/recycle-bin/${id}`)).statusCode).toBe(204);
    expect((await rowOf(id)).status).toBe('deleted');
    const open = gateway.parts.db.selectFrom('usage_record').where('image_id', '=', id).where('closed_at', 'is', null);
    expect(await open.select('id').execute()).toEqual([]);
  });

  it('asks for a place in the quota anew when an image comes back (CRE-23)', async () => {
    const id = await aStored();
    await call('DELETE', `/v2/images/${id}`);
    const project = projectId(gateway.identity.projectId);
    const limit = (value: number, key: string) =>
      inTransaction(gateway.parts.db, (trx) =>
        appendEvents(trx, { projectId: project, actor: SYSTEM }, [
          {
            type: 'quota.limit-set',
            stream: quotaStream(project, 'image'),
            key,
            data: { resource: 'image', limit: value },
          },
        ]),
      );
    await limit((await used()) ?? 0, 'full');
    expect(outcome(await call('POST', of(id, 'restore')))).toEqual([400, 'IMG.0015']);
    await limit(50, 'free');
    expect((await call('POST', of(id, 'restore'))).statusCode).toBe(204);
  });

  it('is swept after the time of each image; of a sweep and a restoration exactly one finds it (MGT-05)', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 6; n += 1) ids.push(await aStored());
    for (const id of ids) await call('DELETE', `/v2/images/${id}`);
    expect(await sweepAt(6 * DAY_MS)).toEqual([]);
    const [swept, ...restored] = await Promise.all([
      sweepAt(8 * DAY_MS),
      ...ids.map((id) => call('POST', of(id, 'restore'))),
    ]);
    for (const [n, id] of ids.entries()) {
      const wasRestored = restored[n]?.statusCode === 204;
      expect([id, wasRestored, swept.includes(id)]).toEqual([id, wasRestored, !wasRestored]);
      expect((await rowOf(id)).status).toBe(wasRestored ? 'active' : 'deleted');
    }
  });

  it('keeps no image that should never have come about, unless it is held', async () => {
    const id = await aStored();
    await call('DELETE', `/v2/images/${id}`);
    await call('PUT', of(id, 'legal-hold'), reason('case 9'));
    const deletions = gateway.app.get(ImageDeleteService);
    await expect(deletions.removeUnwanted(gateway.identity.projectId, id)).rejects.toMatchObject({ code: 'IMG.0091' });
    await call('DELETE', of(id, 'legal-hold'));
    for (let n = 0; n < 2; n += 1) await deletions.removeUnwanted(gateway.identity.projectId, id);
    expect((await rowOf(id)).status).toBe('deleted');
  });

  it('is the project’s own (SHR-09), and refuses times that nobody means', async () => {
    const id = await aStored();
    await call('DELETE', `/v2/images/${id}`);
    const other = await gateway.anotherAccount();
    for (const [method, url] of [
      ['POST', of(id, 'restore')],
      ['DELETE', `/v1/cloudimages/recycle-bin/${id}`],
    ] as const)
      expect(outcome(await call(method, url, undefined, other.token))).toEqual([404, 'IMG.0144']);
    expect((await call('GET', '/v1/cloudimages/recycle-bin', undefined, other.token)).json()).toMatchObject({
      images: [],
      is_own_choice: false,
    });
    for (const days of [-1, 366, 1.5, 'a week'])
      expect(outcome(await call('PUT', '/v1/cloudimages/recycle-bin', { retention_days: days }))).toEqual([
        400,
        'IMG.0001',
      ]);
    expect((await retain(null)).statusCode).toBe(204);
    expect(await bin()).toMatchObject({ retention_days: 0, is_own_choice: false, images: [{ id }] });
  });
});

describe(ImageStatesService.name, () => {
  it('lets nothing delete or purge an image under a legal hold, and says why', async () => {
    await retain(1);
    const id = await aStored();
    const held = await call('PUT', of(id, 'legal-hold'), reason('case 7'));
    expect([held.statusCode, held.json()]).toMatchObject([200, { image_id: id, reason: 'case 7', held_by: 'alice' }]);
    const refused = await call('DELETE', `/v2/images/${id}`);
    expect(outcome(refused)).toEqual([403, 'IMG.0091']);
    expect(refused.body).toContain('case 7');
    expect((await call('DELETE', of(id, 'legal-hold'), reason('closed'))).statusCode).toBe(204);
    expect(outcome(await call('GET', of(id, 'legal-hold')))).toEqual([404, 'IMG.0144']);
    expect((await call('DELETE', `/v2/images/${id}`)).statusCode).toBe(204);
    expect((await call('PUT', of(id, 'legal-hold'), reason('case 8'))).statusCode).toBe(200);
    expect(await sweepAt(3 * DAY_MS)).not.toContain(id);
    expect(outcome(await call('DELETE', `/v1/cloudimages/recycle-bin/${id}`))).toEqual([403, 'IMG.0091']);
    expect((await bin()).images.find((each) => each.id === id)).toMatchObject({ legal_hold: 'case 8' });
    expect((await call('DELETE', of(id, 'legal-hold'))).statusCode).toBe(204);
    expect(await sweepAt(3 * DAY_MS)).toContain(id);
    await retain(null);
  });

  it('takes an image out of use and back as OpenStack does', async () => {
    const id = await aStored();
    const act = (what: string) => call('POST', `/v2/images/${id}/actions/${what}`);
    expect([(await act('deactivate')).statusCode, (await act('deactivate')).statusCode]).toEqual([204, 204]);
    expect((await call('GET', `/v2/images/${id}`)).json()).toMatchObject({ status: 'deactivated' });
    expect((await call('GET', `/v2/images/${id}/file`)).statusCode).toBe(403);
    expect(outcome(await aServer(id))).toEqual([400, 'Ecs.0000']);
    expect((await call('GET', '/v2/cloudimages?status=deactivated')).json()).toMatchObject({ images: [{ id }] });
    expect([(await act('reactivate')).statusCode, (await act('reactivate')).statusCode]).toEqual([204, 204]);
    expect((await call('GET', `/v2/images/${id}/file`)).statusCode).toBe(200);
    expect((await aServer(id)).statusCode).toBe(200);
    const waiting = (await call('POST', '/v2/images', { name: 'waits' })).json<{ id: string }>().id;
    expect((await call('POST', `/v2/images/${waiting}/actions/deactivate`)).statusCode).toBe(403);
  });

  it('warns whoever makes a server of a deprecated image, and tells which one to use', async () => {
    const [id, newer] = [await aStored(), await aStored()];
    const body = { deprecated_at: '2027-01-01T00:00:00Z', replacement_image_id: newer };
    expect((await call('PUT', of(id, 'deprecation'), body)).statusCode).toBe(204);
    const shown = { __deprecated_at: '2027-01-01T00:00:00Z', __replacement_image_id: newer };
    expect((await call('GET', `/v2/images/${id}`)).json()).toMatchObject(shown);
    expect((await call('GET', `/v2/cloudimages?id=${id}`)).json()).toMatchObject({ images: [shown] });
    const warning = `image ${id} is deprecated from 2027-01-01T00:00:00.000Z on; use image ${newer}`;
    const made = await aServer(id);
    expect([made.statusCode, made.json()]).toMatchObject([200, { warnings: [warning] }]);
    const accepted = await gateway.parts.db
      .selectFrom('event')
      .select('data')
      .where('stream_id', '=', `job:${made.json<{ job_id: string }>().job_id}`)
      .where('type', '=', 'job.accepted')
      .executeTakeFirstOrThrow();
    expect(accepted.data).toMatchObject({ warnings: [warning] });
    expect(outcome(await call('PUT', of(id, 'deprecation'), { replacement_image_id: randomUUID() }))).toEqual([
      400,
      'IMG.0027',
    ]);
    expect((await call('DELETE', of(id, 'deprecation'))).statusCode).toBe(204);
    expect((await aServer(id)).json()).not.toHaveProperty('warnings');
  });
});

describe(ImageLineageService.name, () => {
  it('refuses servers and disks of every descendant of a revoked image, and makes them again once it is reinstated', async () => {
    const other = await gateway.anotherAccount();
    const { projectId: mine } = gateway.identity;
    const root = await aStored();
    let deep = await madeFrom(root, mine);
    for (let n = 0; n < 4; n += 1) deep = await madeFrom(deep, mine);
    const foreign = await madeFrom(deep, other.projectId);
    await call('DELETE', `/v2/images/${root}`);
    expect((await call('PUT', of(root, 'revocation'), reason('back door'))).statusCode).toBe(200);
    const own = await aServer(deep);
    expect(outcome(own)).toEqual([400, 'Ecs.0000']);
    expect(own.body).toContain(`comes from image ${root} that was revoked: back door`);
    const theirs = await aServer(foreign, other.token, other.projectId);
    expect(theirs.body).toContain(`image ${foreign} comes from an image that was revoked: back door`);
    const disk = { volume: { availability_zone: 'az1', size: 10, volume_type: 'SAS', imageRef: deep } };
    expect(outcome(await call('POST', `/v2.1/${mine}/cloudvolumes`, disk))).toEqual([400, 'EVS.1009']);
    expect((await call('DELETE', of(root, 'revocation'), reason('false alarm'))).statusCode).toBe(204);
    expect((await aServer(deep)).statusCode).toBe(200);
    expect((await aServer(foreign, other.token, other.projectId)).statusCode).toBe(200);
    expect(outcome(await call('PUT', of(root, 'revocation'), reason('x'), other.token))).toEqual([404, 'IMG.0144']);
  });

  it('shows the line up and down, and of others’ images no more than that there are some', async () => {
    const other = await gateway.anotherAccount();
    const { projectId: mine } = gateway.identity;
    const root = await aStored();
    const theirs = await madeFrom(root, other.projectId);
    const grandchild = await madeFrom(theirs, mine);
    const seen = (await call('GET', of(grandchild, 'lineage'))).json();
    expect(seen).toMatchObject({
      image: { id: grandchild, depth: 0, parent_ref: 'hidden-1', origin: { kind: 'image', reference: theirs } },
      ancestors: [
        { ref: 'hidden-1', id: null, name: null, parent_ref: root, depth: 1 },
        { ref: root, id: root, parent_ref: null, depth: 2, status: 'active' },
      ],
      descendants: [],
      truncated: false,
    });
    const down = (await call('GET', of(root, 'lineage'))).json();
    expect(down).toMatchObject({
      ancestors: [],
      descendants: [
        { id: null, depth: 1, parent_ref: root },
        { id: grandchild, depth: 2 },
      ],
    });
    const asOther = (await call('GET', of(theirs, 'lineage'), undefined, other.token)).json();
    expect(asOther).toMatchObject({ image: { id: theirs }, ancestors: [{ id: null }], descendants: [{ id: null }] });
    for (const id of [root, grandchild, randomUUID()])
      expect(outcome(await call('GET', of(id, 'lineage'), undefined, other.token))).toEqual([404, 'IMG.0144']);
  });
});

describe('all of it', () => {
  it('is rebuilt from events, and the past is what they say (I5, G12)', async () => {
    expect(await sealVisible(gateway.parts.db, DEADLINE_MS)).toBe(true);
    const { differences } = await rebuildProjections(gateway.database.ownerUrl);
    expect(differences).toEqual([]);
    expect(await trailViolations(gateway.parts.db)).toEqual([]);
  });
});
