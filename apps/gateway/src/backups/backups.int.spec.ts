import { randomUUID } from 'node:crypto';
import { jobId, jobStream, type ServerBackupInput, SYSTEM, TERMINAL_KEY } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents } from '@ims/event-log';
import type { Backup, NewServer, Server } from '@ims/neighbours';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { BackupsController } from './backups.controller';

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const project = (): string => gateway.identity.projectId;

const call = (method: 'GET' | 'POST' | 'DELETE', path: string, payload?: object, as = token, inProject = project()) =>
  gateway.app.inject({
    method,
    url: path.replace('{p}', inProject),
    headers: { 'x-auth-token': as, 'content-type': 'application/json' },
    ...(payload === undefined ? {} : { payload }),
  });

const aServer = (request: Partial<NewServer> = {}): Promise<Server> =>
  gateway.cloud.servers.create({
    id: randomUUID(),
    projectId: project(),
    name: 'web-01',
    kind: 'ecs',
    flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
    availabilityZone: 'az1',
    volumes: [
      { id: randomUUID(), create: { sizeGib: 1, use: 'system', origin: { from: 'blank' } }, bootIndex: 0 },
      { id: randomUUID(), create: { sizeGib: 10, origin: { from: 'blank' } }, bootIndex: null },
    ],
    initialStatus: 'SHUTOFF',
    ...request,
  });

const VAULT = { name: 'vault', billing: { object_type: 'server', protect_type: 'backup', size: 10 } };

async function aVault(changes: object = {}): Promise<string> {
  const answer = await call('POST', '/v3/{p}/vaults', { vault: { ...VAULT, ...changes } });
  expect(answer.statusCode).toBe(200);
  return answer.json<{ vault: { id: string } }>().vault.id;
}

const checkpoint = (vault_id: string, resources: string[], as = token, inProject = project()) =>
  call(
    'POST',
    '/v3/{p}/checkpoints',
    { checkpoint: { vault_id, parameters: { name: 'nightly', resources } } },
    as,
    inProject,
  );

async function aBackup(serverId: string, vaultId?: string): Promise<Backup> {
  const { backupId } = await gateway.cloud.backups.createCheckpoint({
    id: randomUUID(),
    projectId: project(),
    vaultId: vaultId ?? (await aVault()),
    serverId,
    name: 'nightly',
  });
  const backup = await gateway.cloud.backups.get(project(), backupId);
  if (backup === undefined) throw new Error('no backup was made');
  return backup;
}

describe(BackupsController.name, () => {
  it('makes a vault and shows it with its servers (backends E1)', async () => {
    const server = await aServer();
    const resources = [{ id: server.id, type: 'OS::Nova::Server' }];
    const id = await aVault({ resources });
    const shown = await call('GET', `/v3/{p}/vaults/${id}`);
    expect(shown.json()).toMatchObject({
      vault: {
        id,
        name: 'vault',
        project_id: project(),
        billing: { object_type: 'server', protect_type: 'backup', size: 10, used: 0, status: 'available' },
        resources: [{ id: server.id, name: 'web-01', type: 'OS::Nova::Server' }],
      },
    });
    const list = await call('GET', '/v3/{p}/vaults');
    expect(list.json<{ vaults: { id: string }[] }>().vaults.map((vault) => vault.id)).toContain(id);
    const again = await call('POST', '/v3/{p}/vaults', { vault: { ...VAULT, resources } });
    expect(again.json()).toMatchObject({ error_code: 'BackupService.6103' });
  });

  it('accepts the backup of a server as a job, and tells how far it is by the checkpoint (CRE-16)', async () => {
    const server = await aServer();
    const vaultId = await aVault();
    const accepted = await checkpoint(vaultId, [server.id]);
    expect(accepted.statusCode).toBe(200);
    const { checkpoint: made } = accepted.json<{ checkpoint: { id: string } }>();
    expect(made).toMatchObject({
      status: 'protecting',
      project_id: project(),
      vault: {
        id: vaultId,
        name: 'vault',
        resources: [{ id: server.id, name: 'web-01', type: 'OS::Nova::Server', protect_status: 'protecting' }],
        skipped_resources: [],
      },
      extra_info: { name: 'nightly' },
    });
    const row = await gateway.database.db
      .selectFrom('outbox')
      .selectAll()
      .orderBy('id', 'desc')
      .executeTakeFirstOrThrow();
    expect(row.workflow_type).toBe('serverBackup');
    expect(gateway.handedToEngine.started).toContain(row.id);

    // As the worker does it. Written by the service just now.
    const input = row.input as ServerBackupInput;
    await gateway.cloud.backups.createCheckpoint({ ...input, id: input.checkpointId });
    const status = async (): Promise<string> =>
      (await call('GET', `/v3/{p}/checkpoints/${made.id}`)).json<{ checkpoint: { status: string } }>().checkpoint
        .status;
    expect(await status()).toBe('protecting');
    const stream = jobStream(jobId(input.jobId));
    await inTransaction(gateway.parts.db, (trx) =>
      appendEvents(trx, { projectId: project(), actor: SYSTEM, jobId: input.jobId }, [
        { type: 'job.succeeded', stream, key: TERMINAL_KEY, data: { imageId: null } },
      ]),
    );
    expect(await status()).toBe('available');

    const list = await call(
      'GET',
      `/v3/{p}/backups?checkpoint_id=${made.id}&resource_id=${server.id}&status=available`,
    );
    expect(list.json()).toMatchObject({
      count: 1,
      backups: [
        {
          name: 'nightly',
          status: 'available',
          vault_id: vaultId,
          checkpoint_id: made.id,
          resource_type: 'OS::Nova::Server',
          resource_id: server.id,
          resource_size: 11,
          image_type: 'backup',
          extend_info: { contain_system_disk: true, os_images_data: [], supported_restore_mode: 'backup' },
          children: [
            { resource_type: 'OS::Cinder::Volume', resource_size: 1, extend_info: { system_disk: true } },
            { resource_size: 10, extend_info: { system_disk: false, encrypted: false } },
          ],
        },
      ],
    });
  });

  it('tells of a backup that is only tried what it would read and cost at most, or why it is refused (BIL-03)', async () => {
    const [server, vaultId] = [await aServer(), await aVault()];
    const tried = (vault: string) =>
      gateway.app.inject({
        method: 'POST',
        url: `/v3/${project()}/checkpoints`,
        headers: { 'x-auth-token': token, 'content-type': 'application/json', 'x-dry-run': 'true' },
        payload: { checkpoint: { vault_id: vault, parameters: { name: 'only-tried', resources: [server.id] } } },
      });
    expect((await tried(vaultId)).json()).toMatchObject({
      dry_run: true,
      allowed: true,
      job_type: 'imsBackUpServerJob',
      bytes: { source: 11 * 2 ** 30 },
      cost: { lines: [{ meter: 'backup.storage', quantity: '11' }] },
    });
    expect((await tried(randomUUID())).json()).toMatchObject({
      allowed: false,
      refusals: [{ error_code: 'BackupService.6105' }],
    });
    expect(await gateway.cloud.backups.list(project(), { serverId: server.id })).toEqual([]);
    const jobs = await call('GET', '/v1/{p}/jobs?status=open&limit=200');
    expect(jobs.body).not.toContain('only-tried');
    expect((await checkpoint(vaultId, [server.id])).statusCode).toBe(200);
  });

  it('is cancelled by whoever may back servers up, like any job', async () => {
    const backer = await gateway.anotherAccount();
    const { projectId } = backer;
    const server = await aServer({ projectId });
    const vault = await call('POST', '/v3/{p}/vaults', { vault: VAULT }, backer.token, projectId);
    const { id: vaultId } = vault.json<{ vault: { id: string } }>().vault;
    const accepted = await checkpoint(vaultId, [server.id], backer.token, projectId);
    const { id } = accepted.json<{ checkpoint: { id: string } }>().checkpoint;
    const cancelWith = async (permission: string): Promise<number> => {
      await gateway.parts.db
        .updateTable('iam_user')
        .set({ permissions: [permission] })
        .where('id', '=', backer.userId)
        .execute();
      const path = `/v1/{p}/jobs/${id.replaceAll('-', '')}/cancel`;
      return (await call('POST', path, undefined, backer.token, projectId)).statusCode;
    };
    expect(await cancelWith('ims:*')).toBe(403);
    expect(await cancelWith('cbr:vaults:backup')).toBe(202);
  });

  it('says that a checkpoint failed whose job did', async () => {
    const accepted = await checkpoint(await aVault(), [(await aServer()).id]);
    const { id } = accepted.json<{ checkpoint: { id: string } }>().checkpoint;
    const job = jobId(id.replaceAll('-', ''));
    await inTransaction(gateway.parts.db, (trx) =>
      appendEvents(trx, { projectId: project(), actor: SYSTEM, jobId: job }, [
        {
          type: 'job.failed',
          stream: jobStream(job),
          key: TERMINAL_KEY,
          data: { errorCode: 'IMG.0182', reason: 'the vault is full', step: 'checkpoint' },
        },
      ]),
    );
    const shown = await call('GET', `/v3/{p}/checkpoints/${id}`);
    expect(shown.json()).toMatchObject({ checkpoint: { status: 'error', extra_info: { name: 'nightly' } } });
  });

  it.each([
    ['an unknown vault', 'BackupService.6105', 404, async () => [randomUUID(), [(await aServer()).id]] as const],
    ['an unknown server', 'BackupService.6302', 404, async () => [await aVault(), [randomUUID()]] as const],
    ['an empty vault', 'BackupService.0001', 400, async () => [await aVault(), []] as const],
    [
      'two servers',
      'BackupService.6500',
      400,
      async () => [await aVault(), [(await aServer()).id, (await aServer()).id]] as const,
    ],
    [
      'a vault of disks',
      'BackupService.6102',
      400,
      async () =>
        [
          await aVault({ billing: { object_type: 'disk', protect_type: 'backup', size: 10 } }),
          [(await aServer()).id],
        ] as const,
    ],
    [
      'a server that is busy (CRE-17)',
      'BackupService.0001',
      400,
      async () => {
        const { id: serverId } = await aServer();
        const request = { projectId: project(), serverId, task: 'backing-up', holder: 'spec' };
        await gateway.cloud.servers.beginTask(request);
        return [await aVault(), [serverId]] as const;
      },
    ],
    [
      'a server of another vault',
      'BackupService.6103',
      400,
      async () => {
        const { id } = await aServer();
        await aBackup(id);
        return [await aVault(), [id]] as const;
      },
    ],
  ] as const)('refuses a checkpoint of %s with %s', async (_, code, status, request) => {
    const jobs = () => gateway.database.db.selectFrom('job').select('id').execute();
    const [vaultId, servers] = await request();
    const before = await jobs();
    const answer = await checkpoint(vaultId, [...servers]);
    expect([answer.statusCode, answer.json<{ error_code: string }>().error_code]).toEqual([status, code]);
    expect(await jobs()).toEqual(before);
  });

  it('shows the image of a backup, and deletes a backup only when no image lives by it (CRE-18)', async () => {
    const backup = await aBackup((await aServer()).id);
    const path = `/v3/{p}/backups/${backup.id}`;
    const imageId = randomUUID();
    await gateway.cloud.backups.claimForImage({ projectId: project(), backupId: backup.id, imageId });
    expect((await call('GET', path)).json()).toMatchObject({
      backup: { extend_info: { os_images_data: [{ image_id: imageId }] } },
    });
    const refused = await call('DELETE', path);
    expect([refused.statusCode, refused.json<{ error_code: string }>().error_code]).toEqual([
      409,
      'BackupService.6500',
    ]);
    await gateway.cloud.backups.releaseFromImage({ projectId: project(), backupId: backup.id, imageId });
    await gateway.cloud.backups.setStatus(project(), backup.id, 'restoring');
    expect((await call('DELETE', path)).statusCode).toBe(409);
    await gateway.cloud.backups.setStatus(project(), backup.id, 'available');
    expect((await call('DELETE', path)).statusCode).toBe(204);
    for (const method of ['GET', 'DELETE'] as const) {
      const gone = await call(method, path);
      expect([gone.statusCode, gone.json<{ error_code: string }>().error_code]).toEqual([404, 'BackupService.6302']);
    }
  });

  it('shows a backup of the retired line at its own place alone (backends E2)', async () => {
    const server = await aServer();
    const request = { id: randomUUID(), projectId: project(), serverId: server.id, name: 'old' };
    const { id } = await gateway.cloud.backups.recordCsbsItem(request);
    expect((await call('GET', `/v1/{p}/checkpoint_items/${id}`)).json()).toMatchObject({
      checkpoint_item: {
        id,
        status: 'available',
        resource_id: server.id,
        extend_info: {
          progress: 100,
          resource_name: 'web-01',
          os_images_data: [],
          volume_backups: [{ source_volume_size: 1 }, { source_volume_size: 10 }],
        },
      },
    });
    for (const method of ['GET', 'DELETE'] as const)
      expect((await call(method, `/v3/{p}/backups/${id}`)).statusCode).toBe(404);
    const list = await call('GET', `/v3/{p}/backups?resource_id=${server.id}`);
    expect(list.json()).toMatchObject({ backups: [], count: 0 });
  });

  it('pages and refuses what is malformed in its own words', async () => {
    const { id: serverId } = await aServer();
    const vaultId = await aVault();
    const ids = [(await aBackup(serverId, vaultId)).id, (await aBackup(serverId, vaultId)).id];
    const page = async (query: string) => {
      const answer = await call('GET', `/v3/{p}/backups?vault_id=${vaultId}&${query}`);
      const { backups, count } = answer.json<{ backups: { id: string }[]; count: number }>();
      return { ids: backups.map(({ id }) => id), count };
    };
    expect(await page('limit=1')).toEqual({ ids: [ids[0]], count: 2 });
    expect(await page('limit=1&offset=1')).toEqual({ ids: [ids[1]], count: 2 });
    expect(await page('image_type=replication')).toEqual({ ids: [], count: 0 });
    for (const [path, payload] of [
      ['/v3/{p}/checkpoints', { checkpoint: { vault_id: 7 } }],
      ['/v3/{p}/vaults', { vault: { name: 'x', billing: { ...VAULT.billing, object_type: 'tape' } } }],
    ] as const) {
      const answer = await call('POST', path, payload);
      expect([answer.statusCode, answer.json<{ error_code: string }>().error_code]).toEqual([
        400,
        'BackupService.9900',
      ]);
    }
    expect((await call('GET', '/v3/{p}/backups?limit=0')).json()).toMatchObject({ error_code: 'BackupService.9900' });
  });

  it('needs a token and the permission of each call, and knows nothing of other projects', async () => {
    const { id: serverId } = await aServer();
    const vaultId = await aVault();
    const backup = await aBackup(serverId, vaultId);
    const csbs = await gateway.cloud.backups.recordCsbsItem({
      id: randomUUID(),
      projectId: project(),
      serverId: (await aServer()).id,
      name: 'old',
    });
    const calls = [
      ['GET', '/v3/{p}/backups', undefined],
      ['GET', `/v3/{p}/backups/${backup.id}`, undefined],
      ['DELETE', `/v3/{p}/backups/${backup.id}`, undefined],
      ['GET', '/v3/{p}/vaults', undefined],
      ['GET', `/v3/{p}/vaults/${vaultId}`, undefined],
      ['POST', '/v3/{p}/vaults', { vault: VAULT }],
      ['GET', `/v3/{p}/checkpoints/${backup.checkpointId}`, undefined],
      ['POST', '/v3/{p}/checkpoints', { checkpoint: { vault_id: vaultId } }],
      ['GET', `/v1/{p}/checkpoint_items/${csbs.id}`, undefined],
    ] as const;
    const imager = await gateway.anotherAccount(['ims:*']);
    const other = await gateway.anotherAccount();
    for (const [method, path, payload] of calls) {
      expect((await call(method, path, payload, 'nonsense')).statusCode).toBe(401);
      const denied = await call(method, path, payload, imager.token, imager.projectId);
      expect([denied.statusCode, denied.json<{ error_code: string }>().error_code]).toEqual([403, 'IMG.0026']);
      const foreign = await call(method, path, payload, other.token, other.projectId);
      const isOfOne = /\/[0-9a-f-]{36}$/.test(path) || path.endsWith('checkpoints');
      expect(foreign.statusCode).toBe(isOfOne ? 404 : 200);
    }
    expect(await gateway.cloud.backups.get(project(), backup.id)).toBeDefined();
  });
});
