import { randomUUID } from 'node:crypto';
import { dryRunAnswer } from '@ims/contract';
import type { NewServer, NewVolume, Server } from '@ims/neighbours';
import { noise } from '@ims/testing';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { publishImage } from '../testing/published-image';
import { ImageSources } from './image-sources';

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const UBUNTU = 'Ubuntu 18.04 Server 64bit';
const DISK = { sizeGib: 1, use: 'system', origin: { from: 'blank' } } as const;

const aVolume = (request: Partial<NewVolume> = {}) =>
  gateway.cloud.volumes.create({ ...DISK, id: randomUUID(), projectId: gateway.identity.projectId, ...request });

/** A server with a system disk and two data disks. */
const aServer = (request: Partial<NewServer> = {}): Promise<Server> =>
  gateway.cloud.servers.create({
    id: randomUUID(),
    projectId: gateway.identity.projectId,
    name: 'web-01',
    kind: 'ecs',
    flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
    availabilityZone: 'az1',
    volumes: [0, null, null].map((bootIndex) => ({ id: randomUUID(), create: DISK, bootIndex })),
    initialStatus: 'SHUTOFF',
    ...request,
  });
const dataDisksOf = ({ volumes }: Server): string[] =>
  volumes.filter(({ bootIndex }) => bootIndex === null).map(({ volumeId }) => volumeId);

const call = (url: string, as: string, payload?: object) =>
  gateway.app.inject({
    method: payload === undefined ? 'GET' : 'POST',
    url,
    headers: { 'x-auth-token': as, ...(payload === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(payload === undefined ? {} : { payload }),
  });
const create = (payload: object, as = token) => call('/v2/cloudimages/action', as, payload);
const ofDisks = (ids: readonly string[], as = token) =>
  create({ data_images: ids.map((volume_id, n) => ({ name: `data-${n}`, volume_id })) }, as);
const ofVolume = (volume_id: string, as = token) => create({ name: 'from-vol', volume_id, os_version: UBUNTU }, as);

interface Job {
  job_type: string;
  status: string;
  entities: {
    image_id?: string;
    sub_jobs_list?: string[];
    sub_jobs_result?: { job_id: string; job_type: string; entities: { image_id?: string; image_name: string } }[];
  };
}
const jobOf = async (answer: Awaited<ReturnType<typeof create>>): Promise<Job & { id: string }> => {
  expect(answer.statusCode).toBe(200);
  const { job_id: id } = answer.json<{ job_id: string }>();
  return { id, ...(await call(`/v1/${gateway.identity.projectId}/jobs/${id}`, token)).json<Job>() };
};
const imageOf = async (id: string | undefined) =>
  (await call(`/v2/cloudimages?id=${id ?? ''}`, token)).json<{ images: object[] }>().images[0];
const rows = () => gateway.database.db.selectFrom('job').select('id').execute();

describe('images of disks', () => {
  it('accepts one disk by its id, free or in use (ims-api 6.2 E)', async () => {
    const server = await aServer({ initialStatus: 'ACTIVE' });
    for (const id of [(await aVolume()).id, server.volumes[0]?.volumeId ?? '']) {
      const job = await jobOf(await ofVolume(id));
      expect(job).toMatchObject({ status: 'INIT', job_type: 'imsVolumeCreateImageJob' });
      expect(await imageOf(job.entities.image_id)).toMatchObject({
        min_disk: 1,
        virtual_env_type: 'FusionCompute',
        __data_origin: `volume,${id}`,
      });
    }
  });

  it('makes a job for each disk of a server under one that has no image of its own (CRE-06, ims-api 10.3)', async () => {
    const ids = dataDisksOf(await aServer());
    const job = await jobOf(await ofDisks(ids));
    expect(job).toMatchObject({ status: 'INIT', job_type: 'imsVolumesToSysDataImagesJob' });
    expect(job.entities).not.toHaveProperty('image_id');
    const parts = job.entities.sub_jobs_result ?? [];
    expect(parts.map(({ job_type, entities }) => [job_type, entities.image_name])).toEqual([
      ['imsCopyVolumeToImageJob', 'data-0'],
      ['imsCopyVolumeToImageJob', 'data-1'],
    ]);
    expect(job.entities.sub_jobs_list).toEqual(parts.map(({ job_id }) => job_id));
    for (const [n, part] of parts.entries()) {
      expect(await imageOf(part.entities.image_id)).toMatchObject({
        name: `data-${n}`,
        virtual_env_type: 'DataImage',
        __data_origin: `volume,${ids[n]}`,
      });
    }
    // The engine gets a workflow for the job and for each of its parts.
    const outbox = await gateway.database.db
      .selectFrom('outbox')
      .select(['id', 'workflow_id', 'workflow_type'])
      .where('workflow_id', 'in', [job.id, ...parts.map(({ job_id }) => job_id)])
      .orderBy('id')
      .execute();
    expect(outbox.map(({ workflow_type }) => workflow_type)).toEqual(['imageCreate', 'imageCreate', 'imageBatch']);
    expect(gateway.handedToEngine.started).toEqual(expect.arrayContaining(outbox.map(({ id }) => id)));
  });

  it('passes on what the image was that a disk came from, so that its price follows (BIL-08)', async () => {
    const { id: imageId, disk } = await publishImage(gateway, token, noise('product', 2 ** 20));
    const { db } = gateway.database;
    await db.updateTable('image').set({ product_code: 'db-1' }).where('id', '=', imageId).execute();
    const { domainId, manifestHash } = disk;
    const of = (role: 'system' | 'data') =>
      ({
        sizeGib: role === 'system' ? 1 : 10,
        use: role,
        origin: { from: 'image', image: { imageId, domainId, manifestHash }, role },
      }) as const;
    const server = await aServer({
      volumes: [
        { id: randomUUID(), create: of('system'), bootIndex: 0 },
        { id: randomUUID(), create: of('data'), bootIndex: null },
        { id: randomUUID(), create: DISK, bootIndex: null },
      ],
    });
    const [system = '', ...data] = server.volumes.map(({ volumeId }) => volumeId);
    const one = await jobOf(await ofVolume(system));
    const several = await jobOf(await ofDisks(data));
    const made = [one, ...(several.entities.sub_jobs_result ?? [])].map(({ entities }) => entities.image_id ?? '');
    const lineages = await db.selectFrom('image').select(['id', 'parent_id', 'product_code']).execute();
    expect(made.map((id) => lineages.find((image) => image.id === id))).toMatchObject([
      { parent_id: imageId, product_code: 'db-1' },
      { parent_id: imageId, product_code: 'db-1' },
      { parent_id: null, product_code: null },
    ]);
    // The same is told of calls that are only tried.
    const metersOf = async (url: string, payload: object) => {
      const headers = { 'x-auth-token': token, 'x-dry-run': 'true' };
      const answer = await gateway.app.inject({ method: 'POST', url, headers, payload });
      return dryRunAnswer.parse(answer.json()).cost?.lines.map(({ meter }) => meter);
    };
    const both = ['image.storage', 'market.image'];
    const request = { name: 'from-vol', volume_id: system, os_version: UBUNTU };
    expect(await metersOf('/v2/cloudimages/action', request)).toEqual(both);
    const disks = data.map((volume_id, n) => ({ name: `data-${n}`, volume_id }));
    expect(await metersOf('/v2/cloudimages/action', { data_images: disks })).toEqual(both);
    expect(await metersOf(`/v1/cloudimages/${imageId}/copy`, { name: 'copy' })).toEqual(both);
  });

  it('imports a system file with its data files as one job, the system first (ims-api 6.2 C)', async () => {
    const data_images = [{ name: 'db-data', image_url: 'images:data.raw', min_disk: 1 }];
    const job = await jobOf(await create({ name: 'db', image_url: 'images:db.raw', min_disk: 10, data_images }));
    expect(job).toMatchObject({ job_type: 'imsImportImageJob' });
    expect(job.entities.sub_jobs_result).toMatchObject([
      { job_type: 'imsImportImageJob', entities: { image_name: 'db' } },
      { job_type: 'imsImportDataImageJob', entities: { image_name: 'db-data' } },
    ]);
  });

  const spoilt = async (of: (server: Server) => Promise<unknown>): Promise<string[]> => {
    const server = await aServer();
    await of(server);
    return dataDisksOf(server);
  };
  const disk = async (changes: Partial<NewVolume>): Promise<string[]> => {
    const { id } = await aVolume(changes);
    return [id];
  };
  const attached = async (changes: Partial<NewVolume>): Promise<string[]> => {
    const create = { ...DISK, ...changes };
    const volumes = [
      { id: randomUUID(), create: DISK, bootIndex: 0 },
      { id: randomUUID(), create, bootIndex: null },
    ];
    return dataDisksOf(await aServer({ volumes }));
  };
  it.each<[string, string, string, () => Promise<string[]>]>([
    ['an unknown disk', 'IMG.0120', 'IMG.0120', async () => [randomUUID()]],
    ['a disk of a dedicated pool (SVC-05)', 'IMG.0153', 'IMG.0153', () => attached({ pool: 'dss' })],
    ['a disk above one tebibyte (CRE-08)', 'IMG.0120', 'IMG.0120', () => attached({ sizeGib: 1025, use: 'data' })],
    ['an encrypted disk (ENC-02)', 'IMG.0105', 'IMG.0105', () => attached({ keyId: 'key' })],
    [
      'a system disk (CRE-06)',
      'none',
      'IMG.0120',
      async () => (await aServer()).volumes.filter(({ bootIndex }) => bootIndex === 0).map(({ volumeId }) => volumeId),
    ],
    ['a free disk', 'none', 'IMG.0120', () => disk({})],
    [
      'a failed disk',
      'IMG.0022',
      'IMG.0022',
      () =>
        spoilt(async ({ projectId, volumes }) => {
          for (const { volumeId } of volumes) await gateway.cloud.volumes.setFailed(projectId, volumeId, true);
        }),
    ],
    [
      'a disk of a busy server',
      'IMG.0139',
      'IMG.0139',
      () =>
        spoilt(({ projectId, id: serverId }) =>
          gateway.cloud.servers.beginTask({ projectId, serverId, task: 'resizing', holder: 'spec' }),
        ),
    ],
    [
      'a disk of a frozen server (CRE-25)',
      'IMG.0008',
      'IMG.0008',
      () => spoilt(({ projectId, id }) => gateway.cloud.servers.freeze(projectId, id)),
    ],
    [
      'a disk of a server in another state (CRE-06)',
      'IMG.0008',
      'IMG.0008',
      () => spoilt(({ projectId, id }) => gateway.cloud.servers.setStatus(projectId, id, 'REBUILD')),
    ],
    [
      'disks of two servers (CRE-06)',
      'none',
      'IMG.0140',
      async () => [...dataDisksOf(await aServer()).slice(1), ...dataDisksOf(await aServer()).slice(1)],
    ],
  ])('%s: %s by its id, %s among data_images, and no row remains of a refusal', async (_, alone, among, make) => {
    const ids = await make();
    const codeOf = (answer: Awaited<ReturnType<typeof create>>) =>
      answer.statusCode === 200 ? 'none' : answer.json<{ error: { code: string } }>().error.code;
    expect(codeOf(await ofVolume(ids[0] ?? ''))).toBe(alone);
    const before = await rows();
    expect(codeOf(await ofDisks(ids))).toBe(among);
    expect(await rows()).toEqual(before);
  });

  it("does not know another project's disks", async () => {
    const other = await gateway.anotherAccount();
    const { id } = await aVolume();
    for (const answer of [await ofVolume(id, other.token), await ofDisks(dataDisksOf(await aServer()), other.token)])
      expect(answer.json()).toMatchObject({ error: { code: 'IMG.0120' } });
  });

  it('accepts all images of a call or none (CRE-23)', async () => {
    const owner = await gateway.anotherAccount();
    const url = (n: number) => `images:data-${n}.raw`;
    const data_images = [1, 2, 3].map((n) => ({ image_url: url(n), min_disk: 1 }));
    const submit = () => create({ name: 'db', image_url: 'images:db.raw', min_disk: 1, data_images }, owner.token);
    for (let n = 0; n < 10; n += 1) expect((await submit()).statusCode).toBe(200);
    // 40 tasks at once (CRE-24): the next four do not fit, whatever the image quota says.
    expect((await submit()).json()).toMatchObject({ error: { code: 'IMG.0060' } });
    const images = await gateway.database.db
      .selectFrom('image')
      .select('id')
      .where('project_id', '=', owner.projectId)
      .execute();
    expect(images).toHaveLength(40);
  });
});

describe('cancelling a job of several images', () => {
  const aBatch = async () => {
    const job = await jobOf(await ofDisks(dataDisksOf(await aServer())));
    return { id: job.id, parts: job.entities.sub_jobs_list ?? [] };
  };
  const cancel = (id: string, as = token, project = gateway.identity.projectId) =>
    call(`/v1/${project}/jobs/${id}/cancel`, as, {});
  const reasons = async (ids: readonly string[]) =>
    (
      await gateway.database.db
        .selectFrom('job')
        .select(['id', 'cancel_reason'])
        .where('id', 'in', ids)
        .orderBy('id')
        .execute()
    ).map(({ cancel_reason }) => cancel_reason);

  it('asks all its parts to end, and tells the engine of each', async () => {
    const { id, parts } = await aBatch();
    expect((await cancel(id)).statusCode).toBe(202);
    expect(await reasons([id, ...parts])).toEqual(Array(3).fill('cancelled by alice'));
    expect(gateway.handedToEngine.cancelled).toEqual(expect.arrayContaining([id, ...parts]));
    expect((await cancel(id)).statusCode).toBe(202);
  });

  it('can be done for one part alone', async () => {
    const { id, parts } = await aBatch();
    expect((await cancel(parts[0] ?? '')).statusCode).toBe(202);
    expect(await reasons(parts)).toEqual(['cancelled by alice', null]);
    expect(await reasons([id])).toEqual([null]);
  });

  it('needs what starting it needed, whatever its images are', async () => {
    const owner = await gateway.anotherAccount();
    const data_images = [{ image_url: 'images:data.raw', min_disk: 1 }];
    const created = await create({ name: 'db', image_url: 'images:db.raw', min_disk: 1, data_images }, owner.token);
    const { job_id: id } = created.json<{ job_id: string }>();
    const parts = await gateway.database.db.selectFrom('job').select('id').where('parent_id', '=', id).execute();
    expect(parts).toHaveLength(2);
    const jobs = [...parts.map((part) => part.id), id];
    for (const [permission, status] of [
      ['ims:dataImages:create', 403],
      ['ims:serverImages:create', 202],
    ] as const) {
      await gateway.parts.db
        .updateTable('iam_user')
        .set({ permissions: [permission] })
        .where('id', '=', owner.userId)
        .execute();
      for (const job of jobs) expect((await cancel(job, owner.token, owner.projectId)).statusCode).toBe(status);
    }
  });
});

describe(ImageSources.name, () => {
  it('asks for the right to make images before anything else (14.1)', async () => {
    const stranger = await gateway.anotherAccount(['ims:dataImages:create']);
    const answer = await ofVolume(randomUUID(), stranger.token);
    expect([answer.statusCode, answer.json<{ error: { code: string } }>().error.code]).toEqual([403, 'IMG.0026']);
    const nobody = await gateway.app.inject({
      method: 'POST',
      url: '/v2/cloudimages/action',
      payload: { data_images: [] },
    });
    expect(nobody.statusCode).toBe(401);
  });
});
