import { randomUUID } from 'node:crypto';
import { imageId, imageStream, SYSTEM } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents } from '@ims/event-log';
import type { Backup, NewVault, Server } from '@ims/neighbours';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { CloudImagesController } from './cloud-images.controller';

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const project = (): string => gateway.identity.projectId;

const aServer = (pool: 'evs' | 'dss' = 'evs'): Promise<Server> =>
  gateway.cloud.servers.create({
    id: randomUUID(),
    projectId: project(),
    name: 'web-01',
    kind: 'ecs',
    flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
    availabilityZone: 'az1',
    volumes: [
      { id: randomUUID(), create: { sizeGib: 1, use: 'system', pool, origin: { from: 'blank' } }, bootIndex: 0 },
    ],
    initialStatus: 'SHUTOFF',
  });

const aVault = async (changes: Partial<NewVault> = {}): Promise<string> => {
  const vault = await gateway.cloud.backups.createVault({
    id: randomUUID(),
    projectId: project(),
    name: 'vault',
    objectType: 'server',
    protectType: 'backup',
    sizeGib: 10,
    ...changes,
  });
  return vault.id;
};

const setStatus = (id: string, status: string) =>
  gateway.database.db.updateTable('cloud.server').set({ status }).where('id', '=', id).execute();

/** A call for a server and a vault with which something is wrong. */
async function ofServer(
  spoil: (serverId: string, vaultId: string) => unknown,
  vault: Partial<NewVault> = {},
  pool: 'evs' | 'dss' = 'evs',
): Promise<{ instance_id: string; vault_id: string }> {
  const { id } = await aServer(pool);
  const vaultId = await aVault(vault);
  await spoil(id, vaultId);
  return { instance_id: id, vault_id: vaultId };
}

async function aBackup(line: 'CBR' | 'CSBS' = 'CBR'): Promise<Backup> {
  const { backups } = gateway.cloud;
  const request = { id: randomUUID(), projectId: project(), serverId: (await aServer()).id, name: 'nightly' };
  if (line === 'CSBS') return backups.recordCsbsItem(request);
  const vault = await backups.createVault({
    id: randomUUID(),
    projectId: project(),
    name: 'vault',
    objectType: 'server',
    protectType: 'backup',
    sizeGib: 10,
  });
  const { backupId } = await backups.createCheckpoint({ ...request, vaultId: vault.id });
  const backup = await backups.get(project(), backupId);
  if (backup === undefined) throw new Error('no backup was made');
  return backup;
}

const create = (payload: object, as = token, more: Record<string, string> = {}) =>
  gateway.app.inject({
    method: 'POST',
    url: '/v1/cloudimages/wholeimages/action',
    headers: { 'x-auth-token': as, 'content-type': 'application/json', ...more },
    payload: { name: 'erp-full', ...payload },
  });

describe(`${CloudImagesController.name}: images of whole servers`, () => {
  it('accepts a backup of either service and lists the image by what it is (CRE-16, IMG-08)', async () => {
    for (const line of ['CBR', 'CSBS'] as const) {
      const backup = await aBackup(line);
      const answer = await create({
        backup_id: backup.id,
        ...(line === 'CBR' ? { whole_image_type: line } : {}),
        image_tags: [{ key: 'app', value: line }],
      });
      expect(answer.statusCode).toBe(200);
      const { job_id: id } = answer.json<{ job_id: string }>();
      const headers = { 'x-auth-token': token };
      const job = await gateway.app.inject({ url: `/v1/${project()}/jobs/${id}`, headers });
      expect(job.json()).toMatchObject({ status: 'INIT', job_type: 'imsCreateWholeImageByBackupJob' });
      const list = await gateway.app.inject({ url: `/v2/cloudimages?__whole_image=true&tag=app.${line}`, headers });
      expect(list.json()).toMatchObject({
        images: [
          {
            name: 'erp-full',
            min_disk: 1,
            __whole_image: 'true',
            __backup_id: backup.id,
            __data_origin: `server_backup,${backup.id}`,
          },
        ],
      });
    }
  });

  it('accepts a server with a vault, to be backed up by the job (CRE-16)', async () => {
    const { id } = await aServer();
    const request = { instance_id: id, vault_id: await aVault() };
    const tried = await create(request, token, { 'x-dry-run': 'true' });
    // What it costs is its backup, which is charged once (BIL-03).
    expect(tried.json()).toMatchObject({
      allowed: true,
      bytes: { source: 2 ** 30 },
      cost: { lines: [{ meter: 'backup.storage', quantity: '1' }] },
    });
    const answer = await create(request);
    expect(answer.statusCode).toBe(200);
    const { job_id: jobId } = answer.json<{ job_id: string }>();
    const headers = { 'x-auth-token': token };
    const job = await gateway.app.inject({ url: `/v1/${project()}/jobs/${jobId}`, headers });
    expect(job.json()).toMatchObject({ status: 'INIT', job_type: 'imsCreateWholeImageByInstanceJob' });
    const other = await gateway.anotherAccount();
    const foreign = await create({ instance_id: id, vault_id: await aVault() }, other.token);
    expect(foreign.json()).toMatchObject({ error: { code: 'IMG.0137' } });
  });

  it.each([
    ['no backup', 'IMG.0019', () => Promise.resolve({})],
    ['an unknown backup', 'IMG.0020', () => Promise.resolve({ backup_id: randomUUID(), whole_image_type: 'CBR' })],
    ['an unknown CSBS backup', 'IMG.0127', () => Promise.resolve({ backup_id: randomUUID() })],
    ['a backup of the other service', 'IMG.0198', async () => ({ backup_id: (await aBackup('CBR')).id })],
    [
      'a backup in use',
      'IMG.0032',
      async () => {
        const { id } = await aBackup();
        await gateway.cloud.backups.setStatus(project(), id, 'restoring');
        return { backup_id: id, whole_image_type: 'CBR' };
      },
    ],
    [
      'a backup that has its image (CRE-18)',
      'IMG.0029',
      async () => {
        const { id } = await aBackup();
        await gateway.cloud.backups.claimForImage({ projectId: project(), backupId: id, imageId: randomUUID() });
        return { backup_id: id, whole_image_type: 'CBR' };
      },
    ],
    [
      'a CSBS backup that has its image (CRE-18)',
      'IMG.0134',
      async () => {
        const { id } = await aBackup('CSBS');
        await gateway.cloud.backups.claimForImage({ projectId: project(), backupId: id, imageId: randomUUID() });
        return { backup_id: id };
      },
    ],
    ['a server without a vault', 'IMG.0184', async () => ({ instance_id: (await aServer()).id })],
    ['a server into an unknown vault', 'IMG.0184', async () => ({ instance_id: (await aServer()).id, vault_id: 'v' })],
    ['an unknown server', 'IMG.0137', async () => ({ instance_id: randomUUID(), vault_id: await aVault() })],
    ['a server in another state (CRE-17)', 'IMG.0126', () => ofServer((id) => setStatus(id, 'ERROR'))],
    [
      'a server that is being backed up (CRE-17)',
      'IMG.0136',
      () =>
        ofServer((serverId) =>
          gateway.cloud.servers.beginTask({ projectId: project(), serverId, task: 'backing-up', holder: 'another' }),
        ),
    ],
    [
      'a server that CSBS has backed up',
      'IMG.0186',
      () =>
        ofServer((serverId) =>
          gateway.cloud.backups.recordCsbsItem({ id: randomUUID(), projectId: project(), serverId, name: 'old' }),
        ),
    ],
    ['a vault of another kind', 'IMG.0193', () => ofServer(() => undefined, { objectType: 'disk' })],
    [
      'a vault that is locked',
      'IMG.0188',
      () => ofServer((_, vaultId) => gateway.cloud.backups.setVaultStatus(project(), vaultId, 'lock')),
    ],
    [
      'a server of another vault',
      'IMG.0183',
      () =>
        ofServer(async (serverId) => {
          await gateway.cloud.backups.addServer({ projectId: project(), vaultId: await aVault(), serverId });
        }),
    ],
    [
      'a vault that is full of servers',
      'IMG.0185',
      () =>
        ofServer(
          async (_, vaultId) => {
            const { id: serverId } = await aServer();
            await gateway.cloud.backups.addServer({ projectId: project(), vaultId, serverId });
          },
          { memberLimit: 1 },
        ),
    ],
    ['a disk of a dedicated pool', 'IMG.0153', () => ofServer(() => undefined, {}, 'dss')],
  ] as const)('refuses %s with %s and leaves no job', async (_, code, request) => {
    const jobs = () => gateway.database.db.selectFrom('job').select('id').execute();
    const payload = await request();
    const before = await jobs();
    const answer = await create(payload);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ error: { code } });
    expect(await jobs()).toEqual(before);
  });

  it('takes a backup whose image is gone, also when nobody has ended the claim yet (CRE-18)', async () => {
    const { id } = await aBackup();
    const request = { backup_id: id, whole_image_type: 'CBR' };
    const first = (await create(request)).json<{ job_id: string }>();
    const job = await gateway.database.db
      .selectFrom('job')
      .select('image_id')
      .where('id', '=', first.job_id)
      .executeTakeFirstOrThrow();
    const image = imageId(job.image_id ?? '');
    await gateway.cloud.backups.claimForImage({ projectId: project(), backupId: id, imageId: image });
    expect((await create(request)).json()).toMatchObject({ error: { code: 'IMG.0029' } });
    await inTransaction(gateway.parts.db, (trx) =>
      appendEvents(trx, { projectId: project(), actor: SYSTEM }, [
        { type: 'image.withdrawn', stream: imageStream(image), key: 'withdrawn', data: { reason: 'for the spec' } },
      ]),
    );
    expect((await create(request)).statusCode).toBe(200);
    expect((await gateway.cloud.backups.get(project(), id))?.imageId).toBeNull();
  });

  it('is not deleted with delete_backup when its backup cannot go, and says so (IMG.0176)', async () => {
    const { id } = await aBackup('CSBS');
    const { job_id: jobId } = (await create({ backup_id: id })).json<{ job_id: string }>();
    const job = await gateway.database.db
      .selectFrom('job')
      .select('image_id')
      .where('id', '=', jobId)
      .executeTakeFirstOrThrow();
    const remove = (payload: object) =>
      gateway.app.inject({
        method: 'DELETE',
        url: `/v2/images/${job.image_id}`,
        headers: { 'x-auth-token': token, 'content-type': 'application/json' },
        payload,
      });
    const refused = await remove({ delete_backup: true });
    expect([refused.statusCode, refused.body]).toEqual([400, expect.stringContaining('IMG.0176')]);
    // It is being made still; that is all that is wrong with a deletion of the image alone.
    expect((await remove({})).body).toContain('IMG.0090');
  });

  it('needs a token, its own permission to start and to cancel, and knows no backup of other projects', async () => {
    const backup = await aBackup();
    const request = { backup_id: backup.id, whole_image_type: 'CBR' };
    expect((await create(request, 'nonsense')).statusCode).toBe(401);
    const imager = await gateway.anotherAccount(['ims:serverImages:create', 'ims:dataImages:create']);
    const denied = await create(request, imager.token);
    expect([denied.statusCode, denied.json<{ error: { code: string } }>().error.code]).toEqual([403, 'IMG.0026']);
    const other = await gateway.anotherAccount();
    expect((await create(request, other.token)).json()).toMatchObject({ error: { code: 'IMG.0020' } });

    const { job_id: id } = (await create(request)).json<{ job_id: string }>();
    const permit = (permissions: string[]) =>
      gateway.parts.db.updateTable('iam_user').set({ permissions }).where('id', '=', gateway.identity.userId).execute();
    const cancel = async () => {
      const headers = { 'x-auth-token': token };
      const url = `/v1/${project()}/jobs/${id}/cancel`;
      return (await gateway.app.inject({ method: 'POST', url, headers })).statusCode;
    };
    try {
      await permit(['ims:serverImages:create']);
      expect(await cancel()).toBe(403);
      await permit(['ims:wholeImages:create']);
      expect(await cancel()).toBe(202);
    } finally {
      await permit(['*']);
    }
  });
});
