import { randomUUID } from 'node:crypto';
import type { NewServer, Server } from '@ims/neighbours';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { ImageSources } from './image-sources';

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const aServer = (request: Partial<NewServer> = {}): Promise<Server> =>
  gateway.cloud.servers.create({
    id: randomUUID(),
    projectId: gateway.identity.projectId,
    name: 'web-01',
    kind: 'ecs',
    flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
    availabilityZone: 'az1',
    volumes: [{ id: randomUUID(), create: { sizeGib: 1, use: 'system', origin: { from: 'blank' } }, bootIndex: 0 }],
    initialStatus: 'SHUTOFF',
    ...request,
  });

const create = (payload: object, as = token) =>
  gateway.app.inject({
    method: 'POST',
    url: '/v2/cloudimages/action',
    headers: { 'x-auth-token': as, 'content-type': 'application/json' },
    payload,
  });

const jobs = () => gateway.database.db.selectFrom('job').select('id').execute();

describe(ImageSources.name, () => {
  it('accepts a running and a stopped server (CRE-01, CRE-03)', async () => {
    for (const initialStatus of ['ACTIVE', 'SHUTOFF'] as const) {
      const server = await aServer({ initialStatus });
      expect(await create({ name: 'web', instance_id: server.id })).toMatchObject({ statusCode: 200 });
    }
  });

  const change = async (of: (server: Server) => Promise<unknown>): Promise<string> => {
    const server = await aServer();
    await of(server);
    return server.id;
  };
  it.each([
    ['an unknown server (CRE-01)', 'IMG.0005', () => Promise.resolve(randomUUID())],
    ['an empty id (CRE-01)', 'IMG.0012', () => Promise.resolve('')],
    [
      'a server that is being rebuilt (CRE-03)',
      'IMG.0008',
      () => change(({ projectId, id }) => gateway.cloud.servers.setStatus(projectId, id, 'REBUILD')),
    ],
    [
      'a server that is busy (CRE-03)',
      'IMG.0010',
      () =>
        change(({ projectId, id: serverId }) =>
          gateway.cloud.servers.beginTask({ projectId, serverId, task: 'resizing', holder: 'spec' }),
        ),
    ],
    [
      'a server frozen for unpaid bills (CRE-25)',
      'IMG.0008',
      () => change(({ projectId, id }) => gateway.cloud.servers.freeze(projectId, id)),
    ],
    [
      'a failed disk',
      'IMG.0022',
      () =>
        change(async ({ projectId, volumes }) => {
          for (const { volumeId } of volumes) await gateway.cloud.volumes.setFailed(projectId, volumeId, true);
        }),
    ],
    ['a server that is being reclaimed', 'IMG.0164', async () => (await aServer({ isBeingReclaimed: true })).id],
    [
      'bare metal that runs (CRE-04)',
      'IMG.0008',
      async () => (await aServer({ kind: 'bms', initialStatus: 'ACTIVE' })).id,
    ],
  ] as const)('refuses %s with %s and leaves no job', async (_, code, serverId) => {
    const before = await jobs();
    const answer = await create({ name: 'web', instance_id: await serverId() });
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ error: { code } });
    expect(await jobs()).toEqual(before);
  });

  it('does not know servers of other projects', async () => {
    const other = await gateway.anotherAccount();
    const answer = await create({ name: 'web', instance_id: (await aServer()).id }, other.token);
    expect(answer.json()).toMatchObject({ error: { code: 'IMG.0005' } });
  });
});
