import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { SCHEMA_DOCUMENTS } from '../schemas/schema-documents';
import { VersionsService } from './versions.service';

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
});
afterAll(() => gateway.close());

describe(VersionsService.name, () => {
  it.each([
    ['/', 300],
    ['/v2', 300],
    ['/v2/', 300],
    ['/versions', 200],
  ])('GET %s lists all versions with %d and no Location (ims-api 13.2)', async (url, status) => {
    const response = await gateway.app.inject({ url });
    expect(response.statusCode).toBe(status);
    expect(response.headers).not.toHaveProperty('location');
    expect(response.json<{ versions: { id: string }[] }>().versions.map(({ id }) => id)).toEqual([
      'v2.2',
      'v2.1',
      'v2.0',
      'v1.1',
      'v1.0',
    ]);
  });

  it('shows the one version asked for, and 404 for another', async () => {
    const response = await gateway.app.inject({ url: '/v2.0' });
    expect([response.statusCode, response.json()]).toEqual([
      300,
      {
        versions: [
          { id: 'v2.0', status: 'SUPPORTED', links: [{ rel: 'self', href: 'https://ims.region-1.example.test/v2/' }] },
        ],
      },
    ]);
    expect((await gateway.app.inject({ url: '/v7' })).statusCode).toBe(404);
  });

  it.each(Object.entries(SCHEMA_DOCUMENTS))('serves the schema of %s (libraries rule 7)', async (name, document) => {
    const token = await gateway.tokenOf('acme', 'alice');
    const response = await gateway.app.inject({ url: `/v2/schemas/${name}`, headers: { 'x-auth-token': token } });
    expect(response.json()).toEqual(JSON.parse(JSON.stringify(document)));
  });
});
