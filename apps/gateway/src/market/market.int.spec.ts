import { randomUUID } from 'node:crypto';
import { platformSeed, seedIdentity } from '@ims/access';
import { imageId, imageStream, type MarketListings, PLATFORM_PROJECT } from '@ims/contract';
import { readStream } from '@ims/event-log';
import { gatewayUnderTest, type GatewayUnderTest, PASSWORD, REGION } from '../testing/gateway-under-test';
import { publishImage } from '../testing/published-image';

let gateway: GatewayUnderTest;
let alice: string;
let market: string;
let stranger: string;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
  await seedIdentity(gateway.parts.db, gateway.rootKey, platformSeed(REGION, PASSWORD));
  alice = await gateway.tokenOf('acme', 'alice');
  market = await gateway.tokenOf('platform', 'operator');
  stranger = (await gateway.anotherAccount()).token;
});
afterAll(() => gateway.close());

const call = (token: string, method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) =>
  gateway.app.inject({
    method,
    url,
    headers: { 'x-auth-token': token },
    ...(payload === undefined ? {} : { payload }),
  });
const act = async (token: string, id: string, body: object) => {
  const answer = await call(token, 'POST', `/v1/cloudimages/${id}/market/action`, body);
  const document = answer.json<{ error?: { code: string }; status?: string }>();
  return document.error?.code ?? document.status;
};
const publish = { operation: 'publish', product_code: 'db-1' };
const anImage = async () => (await publishImage(gateway, alice, Buffer.alloc(4096, 'x'))).id;
const deletionOf = async (id: string) => (await call(alice, 'DELETE', `/v2/images/${id}`)).statusCode;

describe('the marketplace', () => {
  it('lists an image once its provider and the market have approved, and gives it back on withdrawal (IMG-14, MGT-06)', async () => {
    const id = await anImage();
    expect(await act(alice, id, publish)).toBe('requested');
    const shown = async () => (await call(alice, 'GET', `/v2/images/${id}`)).json<Record<string, unknown>>();
    expect(await shown()).toMatchObject({ __imagetype: 'private' });
    expect(await act(alice, id, { operation: 'approve' })).toBe('requested');
    expect(await act(alice, id, { operation: 'approve' })).toBe('IMG.0044');
    expect(await act(market, id, { operation: 'approve' })).toBe('listed');
    expect(await shown()).toMatchObject({ __imagetype: 'market', visibility: 'public', __productcode: 'db-1' });

    // Published: it cannot be deleted (MGT-06), exported (EXP-10) or published again.
    expect(await deletionOf(id)).toBe(403);
    const exported = await call(alice, 'POST', `/v1/cloudimages/${id}/file`, {
      bucket_url: 'images:out.qcow2',
      file_format: 'qcow2',
    });
    expect(exported.json()).toMatchObject({ error: { code: 'IMG.0078' } });
    expect(await act(alice, id, publish)).toBe('IMG.0049');

    expect(await act(alice, id, { operation: 'withdraw', reason: 'sold out' })).toBe('withdrawn');
    expect(await shown()).toMatchObject({ __imagetype: 'private' });
    expect(await shown()).not.toHaveProperty('__productcode');
    expect(await deletionOf(id)).toBe(204);
  });

  it('is seen by everybody while it is on sale, and changed by none of them (IMG-14)', async () => {
    const id = await anImage();
    const seen = async () => (await call(stranger, 'GET', `/v2/images/${id}`)).statusCode;
    const onSale = async () => {
      const answer = await call(stranger, 'GET', '/v2/cloudimages?__imagetype=market');
      return answer.json<{ images: { id: string }[] }>().images.some((image) => image.id === id);
    };
    await act(alice, id, publish);
    await act(alice, id, { operation: 'approve' });
    expect([await seen(), await onSale()]).toEqual([404, false]);
    await act(market, id, { operation: 'approve' });
    expect([await seen(), await onSale()]).toEqual([200, true]);
    const deletion = await call(stranger, 'DELETE', `/v2/images/${id}`);
    expect([deletion.statusCode, deletion.body.includes('IMG.0093')]).toEqual([403, true]);
    expect(await act(stranger, id, { operation: 'withdraw' })).toBe('IMG.0047');
    await act(market, id, { operation: 'withdraw' });
    expect([await seen(), await onSale()]).toEqual([404, false]);
  });

  it('has nothing that is another’s and only shared (IMG.0052), nor is what it has shared (IMG.0107)', async () => {
    const id = await anImage();
    const friend = await gateway.anotherAccount();
    const share = () => call(alice, 'POST', `/v2/images/${id}/members`, { member: friend.projectId });
    expect((await share()).statusCode).toBe(200);
    for (const operation of ['publish', 'approve', 'refuse', 'withdraw'])
      expect(await act(friend.token, id, { operation })).toBe('IMG.0052');
    const other = await anImage();
    for (const [token, body] of [
      [alice, publish],
      [alice, { operation: 'approve' }],
      [market, { operation: 'approve' }],
    ] as const)
      await act(token, other, body);
    const refused = await call(alice, 'POST', `/v2/images/${other}/members`, { member: friend.projectId });
    expect([refused.statusCode, refused.body.includes('IMG.0107')]).toEqual([403, true]);
  });

  it('passes its code on to what others make of it (BIL-08)', async () => {
    const product = await publishImage(gateway, alice, Buffer.alloc(4096, 'z'));
    for (const [token, body] of [
      [alice, { operation: 'publish', product_code: 'db-2' }],
      [alice, { operation: 'approve' }],
      [market, { operation: 'approve' }],
    ] as const)
      await act(token, product.id, body);
    const buyer = await gateway.anotherAccount();
    const { domainId, manifestHash } = product.disk;
    const image = { imageId: product.id, domainId, manifestHash };
    const server = await gateway.cloud.servers.create({
      id: randomUUID(),
      projectId: buyer.projectId,
      name: 'db',
      kind: 'ecs',
      flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
      availabilityZone: 'az1',
      volumes: [
        {
          id: randomUUID(),
          create: { sizeGib: 1, use: 'system', origin: { from: 'image', image, role: 'system' } },
          bootIndex: 0,
          deleteOnTermination: true,
        },
      ],
      initialStatus: 'SHUTOFF',
      image: { ...image, architecture: 'x86', osBit: '64', role: 'system', minDiskGib: 1 },
    });
    const made = await call(buyer.token, 'POST', '/v2/cloudimages/action', { name: 'child', instance_id: server.id });
    expect(made.statusCode).toBe(200);
    const child = await gateway.parts.db
      .selectFrom('image')
      .selectAll()
      .where('project_id', '=', buyer.projectId)
      .executeTakeFirstOrThrow();
    expect(child).toMatchObject({ parent_id: product.id, product_code: 'db-2', attributes: { __productcode: 'db-2' } });
  });

  it('is told of by whoever decided, in the trail of the owner (AUD-01)', async () => {
    const id = await anImage();
    await act(alice, id, publish);
    await act(market, id, { operation: 'refuse', reason: 'no support' });
    const events = await readStream(gateway.parts.db, imageStream(imageId(id)));
    const last = events.slice(-2).map(({ type, actor, projectId }) => [type, actor.userName, projectId]);
    expect(last).toEqual([
      ['image.listing-requested', 'alice', gateway.identity.projectId],
      ['image.listing-refused', 'operator', gateway.identity.projectId],
    ]);
  });

  it('shows a provider its own listings, and the market those of everybody (SVC-10)', async () => {
    const id = await anImage();
    await act(alice, id, publish);
    const listed = async (token: string) =>
      (await call(token, 'GET', '/v1/market/listings?status=requested')).json<MarketListings>().listings;
    for (const token of [alice, market]) expect((await listed(token)).map(({ image_id }) => image_id)).toContain(id);
    expect(await listed(stranger)).toEqual([]);
  });

  it('shows nobody else what is not on sale, not even that it exists', async () => {
    const id = await anImage();
    for (const operation of ['publish', 'approve', 'refuse', 'withdraw']) {
      expect(await act(stranger, id, { operation })).toBe('IMG.0144');
      // The market sees what is offered to it.
      expect(await act(market, id, { operation })).toBe('IMG.0144');
    }
    await act(alice, id, publish);
    for (const operation of ['publish', 'approve', 'refuse', 'withdraw'])
      expect(await act(stranger, id, { operation })).toBe('IMG.0144');
  });

  it('knows four operations (IMG.0048), one place to publish (IMG.0085), and one provider of each code (IMG.0045)', async () => {
    const id = await anImage();
    expect(await act(alice, id, { operation: 'auction' })).toBe('IMG.0048');
    expect(await act(alice, id, {})).toBe('IMG.0048');
    expect(await act(alice, id, { ...publish, mode: 'street' })).toBe('IMG.0085');
    expect(await act(alice, id, { ...publish, mode: 'public' })).toBe('IMG.0082');
    const other = await publishImage(gateway, stranger, Buffer.alloc(4096, 'y'));
    expect(await act(stranger, other.id, { ...publish, product_code: 'theirs' })).toBe('requested');
    expect(await act(alice, id, { ...publish, product_code: 'theirs' })).toBe('IMG.0045');
  });

  it('refuses images that nobody else may use: a data disk, one without bytes', async () => {
    const metadata = await call(alice, 'POST', '/v2/images', { name: 'empty', disk_format: 'qcow2' });
    expect(await act(alice, metadata.json<{ id: string }>().id, publish)).toBe('IMG.0046');
  });

  it('is nothing that a project of the platform’s number alone gives a right to', async () => {
    const headers = { 'x-auth-token': stranger, 'x-project-id': PLATFORM_PROJECT };
    const answer = await gateway.app.inject({ url: '/v1/market/listings', headers });
    const { listings } = answer.json<Partial<MarketListings>>();
    expect((listings ?? []).filter(({ owner }) => owner === gateway.identity.projectId)).toEqual([]);
  });
});
