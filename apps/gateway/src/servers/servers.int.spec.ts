import { randomUUID } from 'node:crypto';
import type { NewServer, Server } from '@ims/neighbours';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { publishImage } from '../testing/published-image';
import { ServerJobsService } from './server-jobs.service';
import { ServersService } from './servers.service';

let gateway: GatewayUnderTest;
let token: string;
let project: string;
let imageId: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  project = gateway.identity.projectId;
  imageId = (await publishImage(gateway, token, Buffer.alloc(2 ** 20, 7))).id;
});
afterAll(() => gateway.close());

const aServer = (request: Partial<NewServer> = {}): Promise<Server> =>
  gateway.cloud.servers.create({
    id: randomUUID(),
    projectId: project,
    name: 'web-01',
    kind: 'ecs',
    flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
    availabilityZone: 'az1',
    volumes: [
      {
        id: randomUUID(),
        create: { sizeGib: 1, use: 'system', origin: { from: 'blank' } },
        bootIndex: 0,
        deleteOnTermination: true,
      },
      { id: randomUUID(), create: { sizeGib: 10, origin: { from: 'blank' } }, bootIndex: null },
    ],
    initialStatus: 'SHUTOFF',
    ...request,
  });

const call = (method: 'GET' | 'POST', path: string, payload?: object, as = token, from = project) =>
  gateway.app.inject({
    method,
    url: path.replace('{p}', from),
    headers: { 'x-auth-token': as, 'content-type': 'application/json' },
    ...(payload === undefined ? {} : { payload }),
  });

const create = (server: object = {}, as = token, from = project) =>
  call(
    'POST',
    '/v1.1/{p}/cloudservers',
    { server: { name: 'web', imageRef: imageId, flavorRef: 's6.large.2', ...server } },
    as,
    from,
  );

const openJobs = () => gateway.database.db.selectFrom('job').select('id').where('outcome', 'is', null).execute();

describe(ServerJobsService.name, () => {
  it('accepts servers from an image with ids that are theirs already, and shows their job (backends E4)', async () => {
    const answer = await create({
      count: 2,
      nics: [{ subnet_id: 's' }],
      vpcid: 'vpc',
      root_volume: { volumetype: 'SSD', size: 10 },
    });
    expect(answer.statusCode).toBe(200);
    const { job_id: jobId, serverIds } = answer.json<{ job_id: string; serverIds: string[] }>();
    expect(new Set(serverIds).size).toBe(2);
    const job = await call('GET', `/v1/{p}/jobs/${jobId}`);
    expect(job.json()).toMatchObject({ status: 'INIT', job_type: 'createServer', entities: { sub_jobs: [] } });
    expect(job.json<{ entities: object }>().entities).not.toHaveProperty('image_name');
    const outbox = await gateway.database.db
      .selectFrom('outbox')
      .selectAll()
      .where('workflow_id', '=', jobId)
      .executeTakeFirstOrThrow();
    expect(outbox).toMatchObject({
      workflow_type: 'serverCreate',
      input: { servers: serverIds.map((id) => ({ id })), images: [{ imageId }], metadata: { vpc_id: 'vpc' } },
    });
    expect(gateway.handedToEngine.started).toContain(outbox.id);
  });

  it.each([
    ['a Kunpeng flavour (CRE-26, CRE-27)', { flavorRef: 'kc1.large.2' }, /is arm/],
    ['an unknown image (IMG-19)', { imageRef: randomUUID() }, /no active image/],
    ['an image id that is none', { imageRef: "'; drop table image;--" }, /no active image/],
    ['a small disk', { root_volume: { size: 1 } }, /10 GB/],
    ['a body without a name', { name: 7 }, /name must be a string/],
    ['a count in words', { count: 'many' }, /count must be a number/],
  ])('refuses %s as the vendor does, and leaves no job', async (_, server, message) => {
    const before = await openJobs();
    const answer = await create(server);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toEqual({ error: { code: 'Ecs.0000', message: expect.stringMatching(message) } });
    expect(await openJobs()).toEqual(before);
  });

  it('does not know images and servers of another project (IMG-19, SHR-09)', async () => {
    const other = await gateway.anotherAccount();
    const made = await create({}, other.token, other.projectId);
    expect([made.statusCode, made.json<{ error: { code: string } }>().error.code]).toEqual([400, 'Ecs.0000']);
    const { id } = await aServer();
    for (const answer of [
      await call('GET', `/v1/{p}/cloudservers/${id}`, undefined, other.token, other.projectId),
      await call('POST', '/v1/{p}/cloudservers/delete', { servers: [{ id }] }, other.token, other.projectId),
      await call('POST', `/v1/{p}/cloudservers/${id}/action`, { 'os-start': {} }, other.token, other.projectId),
      await call(
        'POST',
        `/v2/{p}/cloudservers/${id}/changeos`,
        { 'os-change': { imageid: imageId } },
        other.token,
        other.projectId,
      ),
    ]) {
      expect([answer.statusCode, answer.json<{ error: { code: string } }>().error.code]).toEqual([404, 'Ecs.0114']);
    }
  });

  it('accepts start, stop, delete, another system and the same one afresh (CRE-09, SCN-04)', async () => {
    const server = await aServer();
    const { id } = server;
    const inputOf = async (answer: Awaited<ReturnType<typeof call>>) => {
      expect([answer.statusCode, answer.body]).toEqual([200, expect.stringContaining('job_id')]);
      const { job_id: jobId } = answer.json<{ job_id: string }>();
      const row = await gateway.database.db
        .selectFrom('outbox')
        .select('input')
        .where('workflow_id', '=', jobId)
        .executeTakeFirst();
      return row?.input;
    };
    expect(
      await inputOf(await call('POST', '/v1/{p}/cloudservers/action', { 'os-start': { servers: [{ id }] } })),
    ).toMatchObject({
      change: { kind: 'start-servers', serverIds: [id] },
    });
    expect(await inputOf(await call('POST', `/v1/{p}/cloudservers/${id}/action`, { 'os-stop': {} }))).toMatchObject({
      change: { kind: 'stop-servers', serverIds: [id] },
    });
    const [, data] = server.volumes;
    expect(
      await inputOf(await call('POST', '/v1/{p}/cloudservers/delete', { servers: [{ id }], delete_volume: true })),
    ).toMatchObject({ change: { kind: 'delete-servers', volumeIds: [data?.volumeId] } });
    expect(
      await inputOf(await call('POST', `/v2/{p}/cloudservers/${id}/changeos`, { 'os-change': { imageid: imageId } })),
    ).toMatchObject({ change: { kind: 'change-os', guest: { imageId }, rootVolume: { sizeGib: 10 } } });
    // It was made from no image, so there is none to install afresh.
    const afresh = await call('POST', `/v2/{p}/cloudservers/${id}/reinstallos`, { 'os-reinstall': {} });
    expect(afresh.json()).toMatchObject({ error: { code: 'Ecs.0000' } });
  });

  it('asks for the permission that the action means, not for either', async () => {
    const { id } = await aServer();
    const owner = await gateway.anotherAccount(['ecs:cloudServers:start']);
    const answer = await call(
      'POST',
      `/v1/{p}/cloudservers/${id}/action`,
      { 'os-stop': {} },
      owner.token,
      owner.projectId,
    );
    expect([answer.statusCode, answer.json()]).toEqual([
      403,
      { error: { code: 'IMG.0026', message: expect.stringContaining('ecs:cloudServers:stop') } },
    ]);
    const neither = await call('POST', `/v1/{p}/cloudservers/${id}/action`, {});
    expect(neither.json()).toMatchObject({ error: { code: 'Ecs.0000' } });
  });

  it('lets whoever may start such a job cancel it, but never calls a change back', async () => {
    const made = (await create()).json<{ job_id: string }>();
    const cancelled = await call('POST', `/v1/{p}/jobs/${made.job_id}/cancel`);
    expect(cancelled.statusCode).toBe(202);
    const { id } = await aServer();
    const change = (await call('POST', `/v1/{p}/cloudservers/${id}/action`, { 'os-start': {} })).json<{
      job_id: string;
    }>();
    const refused = await call('POST', `/v1/{p}/jobs/${change.job_id}/cancel`);
    expect([refused.statusCode, refused.json<{ error: { code: string } }>().error.code]).toEqual([409, 'IMG.0105']);
  });
});

describe(ServersService.name, () => {
  it('shows a server with texts where the vendor has texts (backends E4)', async () => {
    const server = await aServer({ metadata: { os_bit: '64' } });
    const answer = await call('GET', `/v1/{p}/cloudservers/${server.id}`);
    const [root, data] = server.volumes;
    expect(answer.json()).toMatchObject({
      server: {
        id: server.id,
        status: 'SHUTOFF',
        flavor: { id: 's6.large.2', vcpus: '2', ram: '4096', disk: '0' },
        metadata: { EcmResStatus: 'normal', os_bit: '64' },
        'os-extended-volumes:volumes_attached': [
          { id: root?.volumeId, device: '/dev/vda', bootIndex: '0', delete_on_termination: 'true' },
          { id: data?.volumeId, device: '/dev/vdb', bootIndex: null, delete_on_termination: 'false' },
        ],
        'OS-EXT-STS:vm_state': 'stopped',
        'OS-EXT-STS:power_state': 4,
        'OS-EXT-SRV-ATTR:root_device_name': '/dev/vda',
      },
    });
  });

  it.each([
    ['networks', { nics: [{ subnet_id: 's'.repeat(70_000) }] }],
    [
      'metadata',
      {
        metadata: Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`${n}${'€'.repeat(200)}`, '€'.repeat(200)])),
      },
    ],
  ])('refuses more %s than the log of a job can hold (backends E4)', async (_what, more) => {
    const answer = await create(more);
    expect([answer.statusCode, answer.json<{ error: { code: string } }>().error.code]).toEqual([400, 'Ecs.0000']);
  });

  it('shows that a server is frozen for unpaid bills (CRE-25)', async () => {
    const { id } = await aServer();
    await gateway.cloud.servers.freeze(project, id);
    const shown = await call('GET', `/v1/{p}/cloudservers/${id}`);
    expect(shown.json()).toMatchObject({ server: { metadata: { EcmResStatus: 'freeze' } } });
    const start = await call('POST', `/v1/{p}/cloudservers/${id}/action`, { 'os-start': {} });
    expect(start.json()).toMatchObject({ error: { message: expect.stringContaining('renew') } });
  });

  it('lists page by page, by name and state', async () => {
    const owner = await gateway.anotherAccount();
    for (const name of ['a-1', 'a-2', 'b-1']) await aServer({ projectId: owner.projectId, name, volumes: [] });
    const list = async (query: string) => {
      const answer = await call('GET', `/v1/{p}/cloudservers/detail${query}`, undefined, owner.token, owner.projectId);
      const { count, servers } = answer.json<{ count: number; servers: { name: string }[] }>();
      return [count, servers.map(({ name }) => name)];
    };
    expect(await list('')).toEqual([3, ['a-1', 'a-2', 'b-1']]);
    expect(await list('?limit=2&offset=2')).toEqual([3, ['b-1']]);
    expect(await list('?name=a-&limit=1')).toEqual([2, ['a-1']]);
    expect(await list('?status=ACTIVE')).toEqual([0, []]);
  });

  it('shows the disks of a server, and one of them', async () => {
    const { id, volumes } = await aServer();
    const all = await call('GET', `/v1/{p}/cloudservers/${id}/block_device`);
    expect(all.json()).toMatchObject({
      attachableQuantity: { free_blk: 22 },
      volumeAttachments: [
        { volumeId: volumes[0]?.volumeId, device: '/dev/vda', size: 1, bootIndex: 0 },
        { volumeId: volumes[1]?.volumeId, device: '/dev/vdb', size: 10 },
      ],
    });
    const one = await call('GET', `/v1/{p}/cloudservers/${id}/block_device/${volumes[1]?.volumeId}`);
    expect(one.json()).toMatchObject({ volumeAttachment: { device: '/dev/vdb', serverId: id } });
    const none = await call('GET', `/v1/{p}/cloudservers/${id}/block_device/${randomUUID()}`);
    expect([none.statusCode, none.json<{ error: { code: string } }>().error.code]).toEqual([404, 'EVS.1002']);
  });

  it('knows bare metal by its own path alone (backends E6, SVC-02)', async () => {
    const { id } = await aServer({ kind: 'bms' });
    expect((await call('GET', `/v1/{p}/cloudservers/${id}`)).statusCode).toBe(404);
    expect((await call('GET', `/v1/{p}/baremetalservers/${id}`)).json()).toMatchObject({
      server: { id, tags: ['__type_baremetal'], 'OS-EXT-SRV-ATTR:root_device_name': '/dev/sda' },
    });
    const made = await call('POST', '/v1/{p}/baremetalservers', {
      server: { name: 'iron', imageRef: imageId, flavorRef: 'physical.s4.medium' },
    });
    expect(made.json()).toMatchObject({ error: { code: 'Ecs.0000', message: expect.stringContaining('ECSs') } });
  });
});
