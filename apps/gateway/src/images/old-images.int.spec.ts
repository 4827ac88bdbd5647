import { deflateRawSync } from 'node:zlib';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { publishImage, type PublishedImage } from '../testing/published-image';
import { OldImagesController } from './old-images.controller';

let gateway: GatewayUnderTest;
let token: string;
let image: PublishedImage;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  image = await publishImage(gateway, token, deflateRawSync(Buffer.alloc(64 * 1024)));
});
afterAll(() => gateway.close());

const call = (method: 'GET' | 'HEAD' | 'DELETE' | 'POST', url: string, as = token) =>
  gateway.app.inject({ method, url, headers: { 'x-auth-token': as } });
const create = (payload: object) =>
  gateway.app.inject({ method: 'POST', url: '/v2/images', headers: { 'x-auth-token': token }, payload });
interface Listed {
  images: { id: string; name: string; properties: Record<string, string> }[];
}
const names = async (url: string) => (await call('GET', url)).json<Listed>().images.map(({ name }) => name);

describe(OldImagesController.name, () => {
  it('lists images with their properties apart, and pages by marker (ims-api 3.3)', async () => {
    const response = await call('GET', '/v1.1/images/detail?disk_format=zvhd2&limit=10');
    expect([response.statusCode, response.json()]).toEqual([
      200,
      {
        images: [
          expect.objectContaining({
            id: image.id,
            name: 'debian',
            status: 'active',
            is_public: false,
            deleted: false,
            properties: expect.objectContaining({ __imagetype: 'private' }),
          }),
        ],
      },
    ]);
    expect(await names(`/v1.1/images/detail?marker=${image.id}`)).toEqual([]);
  });

  it('filters by fields, by properties and by who may see them', async () => {
    await create({ name: 'painted', disk_format: 'qcow2', color: 'red' });
    await create({ name: 'plain', disk_format: 'qcow2' });
    expect(await names('/v1.1/images/detail?property-color=red')).toEqual(['painted']);
    expect(await names('/v1.1/images/detail?name=plain&color=ignored')).toEqual(['plain']);
    expect(await names('/v1.1/images/detail?is_public=true')).toEqual([]);
    expect((await names('/v1.1/images/detail?is_public=false&sort_key=name&sort_dir=asc')).length).toBe(3);
    expect((await call('GET', '/v1.1/images/detail?limit=x')).statusCode).toBe(400);
  });

  it('shows an image in headers, text outside ASCII byte by byte (ims-api 3.3)', async () => {
    const { id } = (await create({ name: 'Größe', disk_format: 'qcow2', 'not a token': 'x' })).json<{ id: string }>();
    const { statusCode, headers, body } = await call('HEAD', `/v1/images/${id}`);
    expect([statusCode, body]).toEqual([200, '']);
    expect(headers).toMatchObject({
      'x-image-meta-id': id,
      'x-image-meta-status': 'queued',
      'x-image-meta-size': '0',
      'x-image-meta-protected': 'false',
      'x-image-meta-property-__imagetype': 'private',
    });
    expect(Buffer.from(String(headers['x-image-meta-name']), 'latin1').toString('utf8')).toBe('Größe');
    expect((await call('HEAD', '/v1/images/nope')).statusCode).toBe(404);
  });

  it('deletes an image, which is then gone from every list', async () => {
    const { id } = (await create({ name: 'short-lived', disk_format: 'qcow2' })).json<{ id: string }>();
    expect((await call('DELETE', `/v1.1/images/${id}`, (await gateway.anotherAccount()).token)).statusCode).toBe(404);
    expect((await call('DELETE', `/v1.1/images/${id}`)).statusCode).toBe(204);
    expect((await call('DELETE', `/v1.1/images/${id}`)).statusCode).toBe(404);
    expect((await call('GET', `/v2/cloudimages?id=${id}`)).json()).toEqual({ images: [] });
  });

  it.each([
    ['GET', '/v1/images/x', 405, 'HEAD'],
    ['POST', '/v1.1/images/detail', 405, 'DELETE, GET, HEAD'],
    ['GET', '/v1/images', 404, undefined],
    ['GET', '/v2/metadefs/namespaces', 404, undefined],
    ['GET', '/v2/cache', 404, undefined],
    ['GET', '/v2/tasks', 404, undefined],
    ['GET', '/v2/info/stores', 404, undefined],
  ] as const)('%s %s is %d in the words of OpenStack (ims-api 1.5, 12.10)', async (method, url, status, allow) => {
    const { statusCode, headers, body } = await call(method, url);
    expect([statusCode, headers.allow, headers['content-type']]).toEqual([status, allow, 'text/html; charset=UTF-8']);
    expect(body).toContain(`<h1>${status}`);
  });

  it.each([
    ['POST', '/v2/cloudimages', 405, 'GET, HEAD'],
    ['DELETE', '/v1/cloudimages/fuzzy', 405, 'GET, HEAD'],
    ['GET', '/v1/cloudimages/nothing', 404, undefined],
  ] as const)('%s %s is %d in the words of the gateway (ims-api 15.3)', async (method, url, status, allow) => {
    const response = await call(method, url);
    expect([response.statusCode, response.headers.allow]).toEqual([status, allow]);
    expect(response.json()).toEqual({
      error_code: 'APIGW.0101',
      error_msg: expect.any(String),
      request_id: response.headers['x-request-id'],
    });
  });
});
