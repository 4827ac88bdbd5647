import { randomBytes, randomUUID } from 'node:crypto';
import type { SeededIdentity } from '@ims/access';
import { trailViolations } from '@ims/testing';
import { z } from 'zod';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { publishImage } from '../testing/published-image';

type Tenant = SeededIdentity & { token: string };
const LIMIT = 4;

/** What these calls answer with, as far as it is looked at here. */
const answered = z.looseObject({
  job_id: z.string().optional(),
  status: z.string().optional(),
  images: z.array(z.looseObject({ id: z.string() })).optional(),
  members: z.array(z.unknown()).optional(),
  page_info: z.object({ next_marker: z.string(), current_count: z.number() }).optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});
type Answered = z.infer<typeof answered>;

describe('shared images', () => {
  let gateway: GatewayUnderTest;
  let owner: Tenant;
  let friend: Tenant;
  let stranger: Tenant;
  let image: string;

  const call = async (who: Tenant, method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, payload?: object) => {
    const headers = { 'x-auth-token': who.token };
    const response = await gateway.app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) });
    return { status: response.statusCode, text: response.body, body: bodyOf(response.body) };
  };
  const bodyOf = (text: string): Answered => answered.parse(text.startsWith('{') ? JSON.parse(text) : {});
  const jobOf = async (who: Tenant, answer: { body: Answered }) =>
    (await call(who, 'GET', `/v1/cloudimages/job/${answer.body.job_id}`)).body;
  const listed = async (who: Tenant, query = '') =>
    (await call(who, 'GET', `/v2/cloudimages?${query}`)).body.images?.map(({ id }) => id);
  const anImage = async () => (await publishImage(gateway, owner.token, randomBytes(65_536))).id;

  beforeAll(async () => {
    gateway = await gatewayUnderTest({}, { IMS_SHARES_PER_IMAGE: String(LIMIT) });
    [owner, friend, stranger] = [
      await gateway.anotherAccount(),
      await gateway.anotherAccount(),
      await gateway.anotherAccount(),
    ];
    image = await anImage();
  });
  afterAll(() => gateway.close());

  it('are seen by their receiver by id at once, in lists once accepted, by a stranger never (IMG-07, IMG-13, SHR-01)', async () => {
    const shared = await call(owner, 'POST', '/v1/cloudimages/members', {
      images: [image],
      projects: [friend.projectId],
    });
    expect(await jobOf(owner, shared)).toMatchObject({
      status: 'SUCCESS',
      job_type: 'imsAddImageMembersJob',
      entities: { results: [{ image_id: image, project_id: friend.projectId, status: 'success' }] },
    });
    expect(await listed(friend)).toEqual([]);
    expect(await listed(friend, 'visibility=shared&member_status=pending&__imagetype=shared')).toEqual([image]);
    expect(await listed(friend, `id=${image}`)).toEqual([image]);
    const accepted = await call(friend, 'PUT', '/v1/cloudimages/members', {
      images: [image],
      project_id: friend.projectId,
      status: 'accepted',
    });
    expect(await jobOf(friend, accepted)).toMatchObject({ status: 'SUCCESS', job_type: 'imsUpdateImageMembersJob' });
    expect(await listed(friend, 'visibility=shared&member_status=accepted&__imagetype=shared')).toEqual([image]);
    expect((await call(friend, 'GET', `/v2/images/${image}`)).body).toMatchObject({
      id: image,
      visibility: 'shared',
      __imagetype: 'shared',
      owner: owner.projectId,
    });
    expect((await call(owner, 'GET', `/v2/images/${image}`)).body).toMatchObject({
      visibility: 'shared',
      __imagetype: 'private',
    });
    expect(await listed(owner, 'visibility=private')).toEqual([]);
    const unknown = randomUUID();
    for (const path of ['', '/members', `/members/${friend.projectId}`]) {
      const [theirs, none] = [
        await call(stranger, 'GET', `/v2/images/${image}${path}`),
        await call(stranger, 'GET', `/v2/images/${unknown}${path}`),
      ];
      expect(theirs).toEqual(none);
      expect(theirs.status).toBe(404);
    }
    expect(await listed(stranger, `id=${image}`)).toEqual([]);
  });

  it('are changed and shared on by their owner alone, in each dialect', async () => {
    expect((await call(friend, 'DELETE', `/v2/images/${image}`)).status).toBe(403);
    expect((await call(friend, 'POST', `/v2/images/${image}/members`, { member: stranger.projectId })).status).toBe(
      403,
    );
    const on = await call(friend, 'POST', '/v1/cloudimages/members', {
      images: [image],
      projects: [stranger.projectId],
    });
    expect([on.status, on.body.error?.code]).toEqual([400, 'IMG.0106']);
    const probe = await call(stranger, 'POST', '/v1/cloudimages/members', {
      images: [image],
      projects: [friend.projectId],
    });
    expect([probe.status, probe.body.error?.code]).toEqual([400, 'IMG.0027']);
    const url = `/v2/images/${image}/members/${friend.projectId}`;
    expect((await call(owner, 'PUT', url, { status: 'rejected' })).status).toBe(403);
    expect((await call(friend, 'PUT', url, { status: 'rejected' })).body.status).toBe('rejected');
    expect(await listed(friend)).toEqual([]);
    expect((await call(friend, 'GET', `/v2/images/${image}`)).status).toBe(200);
    expect((await call(friend, 'PUT', url, { status: 'accepted' })).body.status).toBe('accepted');
  });

  it.each([
    ['oneself', () => owner.projectId, 'IMG.0076'],
    ['a malformed id', () => 'no-id', 'IMG.0067'],
    ['nobody of this region', () => randomBytes(16).toString('hex'), 'IMG.0108'],
  ])('are not shared with %s (SHR-02, SHR-07, SHR-08)', async (_, target, code) => {
    const { status, body } = await call(owner, 'POST', '/v1/cloudimages/members', {
      images: [image],
      projects: [target()],
    });
    expect([status, body.error?.code]).toEqual([400, code]);
    if (code === 'IMG.0108') expect(body.error?.message).toContain('replicate');
  });

  it('are shared with an account, whose projects answer each for itself (SHR-02)', async () => {
    const id = await anImage();
    await call(owner, 'POST', '/v1/cloudimages/members', { images: [id], domains: [friend.accountId] });
    expect(await listed(friend, 'visibility=shared&member_status=pending')).toEqual([id]);
    const answer = { images: [id], project_id: friend.projectId, status: 'accepted' };
    await call(friend, 'PUT', '/v1/cloudimages/members', answer);
    expect(await listed(friend)).toContain(id);
    const { body } = await call(owner, 'GET', `/v1/${owner.projectId}/cloudimages/${id}/members`);
    expect(body.members).toMatchObject([{ member_id: friend.accountId, member_type: 'domain', status: 'accepted' }]);
    await call(owner, 'DELETE', '/v1/cloudimages/members', { images: [id], domains: [friend.accountId] });
    expect((await call(friend, 'GET', `/v2/images/${id}`)).status).toBe(404);
  });

  it('have as many members as the setting allows, however many calls race for the last place (SHR-03)', async () => {
    const id = await anImage();
    const others: Tenant[] = [];
    for (let n = 0; n < LIMIT + 2; n += 1) others.push(await gateway.anotherAccount());
    const jobs = await Promise.all(
      others.map(async ({ projectId }) =>
        jobOf(owner, await call(owner, 'POST', '/v1/cloudimages/members', { images: [id], projects: [projectId] })),
      ),
    );
    expect(jobs.filter(({ status }) => status === 'SUCCESS')).toHaveLength(LIMIT);
    for (const job of jobs.filter(({ status }) => status === 'FAIL'))
      expect(job).toMatchObject({ error_code: 'IMG.0088', entities: { results: [{ status: 'fail' }] } });
    const { body } = await call(owner, 'GET', `/v2/images/${id}/members`);
    expect(body.members).toHaveLength(LIMIT);
    const page = await call(owner, 'GET', `/v2/images/${id}/members?limit=3`);
    const marker = page.body.page_info?.next_marker ?? '';
    const rest = await call(owner, 'GET', `/v2/images/${id}/members?limit=3&marker=${encodeURIComponent(marker)}`);
    expect([...(page.body.members ?? []), ...(rest.body.members ?? [])]).toEqual(body.members);
    expect(rest.body.page_info).toEqual({ next_marker: '', current_count: 1 });
    expect((await call(owner, 'POST', `/v2/images/${id}/members`, { member: stranger.projectId })).status).toBe(413);
  });

  it('end with the share, with the image, and when the member gives them back', async () => {
    const [left, taken, gone] = [await anImage(), await anImage(), await anImage()];
    for (const id of [left, taken, gone]) {
      const url = `/v2/images/${id}/members`;
      expect((await call(owner, 'POST', url, { member: friend.projectId })).body.status).toBe('pending');
      expect((await call(owner, 'POST', url, { member: friend.projectId })).status).toBe(409);
    }
    expect((await call(friend, 'DELETE', `/v2/images/${left}/members/${friend.projectId}`)).status).toBe(204);
    expect((await call(owner, 'DELETE', `/v2/images/${taken}/members/${friend.projectId}`)).status).toBe(204);
    expect((await call(owner, 'DELETE', `/v2/images/${taken}/members/${friend.projectId}`)).status).toBe(404);
    expect((await call(owner, 'DELETE', `/v2/images/${gone}`)).status).toBe(204);
    for (const id of [left, taken, gone]) expect((await call(friend, 'GET', `/v2/images/${id}`)).status).toBe(404);
    expect((await call(owner, 'GET', `/v2/images/${left}/members`)).body.members).toEqual([]);
  });

  it('are what their events say (G12)', async () => {
    expect(await trailViolations(gateway.parts.db)).toEqual([]);
  });
});
