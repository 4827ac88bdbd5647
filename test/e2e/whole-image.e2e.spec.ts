import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { createImageStore } from '@ims/image-store';
import { type EmbeddedCloud, openEmbeddedCloud, storedImages } from '@ims/neighbours';
import { dedupDomainId } from '@ims/contract';
import { ImagesRepository } from '@ims/db';
import { makeDebianLikeDisk, noise, temporaryDirectory, TestStack, waitFor } from '@ims/testing';

const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const run = promisify(execFile);
const MIB = 2 ** 20;
const DEADLINE_MS = 60_000;
const DATA = noise('whole', 9 * MIB);

interface Listed {
  backups: { id: string; extend_info: { os_images_data: { image_id: string }[] } }[];
}

describe('a whole server, from the machine to its image and on (CRE-16, CRE-18)', () => {
  let stack: TestStack;
  let cloud: EmbeddedCloud;
  let store: ReturnType<typeof createImageStore>;
  let system: string;
  let serverId: string;
  let vaultId: string;

  beforeAll(async () => {
    stack = await TestStack.start();
    const directory = await temporaryDirectory();
    system = (await makeDebianLikeDisk(directory)).path;
    const data = join(directory, 'data.raw');
    await writeFile(data, DATA);
    store = createImageStore({ db: stack.db, directory: stack.storeDirectory, threads: 1 });
    cloud = await openEmbeddedCloud({
      db: stack.db,
      directory: stack.cloudDirectory,
      images: storedImages(store),
      qemu: false,
    });
    const server = await cloud.servers.create({
      id: randomUUID(),
      projectId: stack.identity.projectId,
      name: 'erp',
      kind: 'ecs',
      flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
      availabilityZone: 'az1',
      volumes: [
        {
          id: randomUUID(),
          create: { sizeGib: 1, use: 'system', origin: { from: 'file', path: system } },
          bootIndex: 0,
        },
        {
          id: randomUUID(),
          create: { sizeGib: 10, use: 'data', origin: { from: 'file', path: data } },
          bootIndex: null,
        },
      ],
    });
    serverId = server.id;
    const vault = await post('vaults', {
      vault: { name: 'erp', billing: { object_type: 'server', protect_type: 'backup', size: 100 } },
    });
    vaultId = (vault as { vault: { id: string } }).vault.id;
  }, DEADLINE_MS);
  afterAll(async () => {
    await cloud.close();
    await store.close();
    await stack.stop();
  });

  const path = (rest: string): string => `/v3/${stack.identity.projectId}/${rest}`;
  async function post(rest: string, body: object): Promise<unknown> {
    const { status, json, text } = await stack.call('POST', path(rest), body);
    if (status !== 200) throw new Error(`POST ${rest}: ${status} ${text}`);
    return json;
  }

  /** Backs the server up through the API; resolves with the id of the backup. */
  async function backUp(): Promise<string> {
    const accepted = await post('checkpoints', {
      checkpoint: { vault_id: vaultId, parameters: { name: 'nightly', resources: [serverId] } },
    });
    const { id } = (accepted as { checkpoint: { id: string } }).checkpoint;
    await waitFor(
      async () => {
        const { json } = await stack.call('GET', path(`checkpoints/${id}`));
        return (json as { checkpoint: { status: string } }).checkpoint.status === 'available';
      },
      { deadlineMs: DEADLINE_MS, what: `checkpoint ${id} is available` },
    );
    const { json } = await stack.call('GET', path(`backups?checkpoint_id=${id}`));
    return (json as Listed).backups[0]?.id ?? '';
  }

  /** SHA-256 of the first bytes of each disk of the image: the system disk, then the data disk. */
  async function digestsOf(imageId: string, lengths: readonly number[]): Promise<string[]> {
    const images = new ImagesRepository(stack.db);
    const disks = [await images.find(stack.identity.projectId, imageId), ...(await images.parts(imageId))];
    return Promise.all(
      lengths.map(async (length, n) => {
        const disk = disks[n];
        if (disk?.domain_id == null || disk.manifest_hash === null) throw new Error(`disk ${n} is missing`);
        const file = await store.open(
          { domainId: dedupDomainId(disk.domain_id), manifestHash: disk.manifest_hash },
          'raw',
        );
        const digest = createHash('sha256');
        for await (const chunk of file.read({ offset: 0, length })) digest.update(chunk);
        return digest.digest('hex');
      }),
    );
  }

  const expectWhole = async (imageId: string): Promise<void> => {
    const source = await readFile(system);
    const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    expect(await digestsOf(imageId, [source.length, DATA.length])).toEqual([sha256(source), sha256(DATA)]);
  };

  it('is backed up by the API and imaged by the official SDK, every disk byte for byte (CRE-16, ACC-02, SVC-07)', async () => {
    const backupId = await backUp();
    const { access, secret, projectId } = stack.identity;
    const script = join(__dirname, '../clients/import_doors.py');
    const body = { name: 'erp-full', backup_id: backupId, whole_image_type: 'CBR' };
    const args = [script, stack.url, access, secret, projectId, 'create_whole_image', JSON.stringify(body)];
    const { stdout } = await run(PYTHON, args);
    // Written by the script.
    const { job, list } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as {
      job: { status: string; job_type: string; entities: { image_id: string } };
      list: object[];
    };
    expect(job).toMatchObject({ status: 'SUCCESS', job_type: 'imsCreateWholeImageByBackupJob' });
    const { image_id: id } = job.entities;
    expect(list).toEqual([expect.objectContaining({ id, name: 'erp-full', status: 'active', min_disk: 1 })]);
    await expectWhole(id);
    const { json } = await stack.call('GET', path(`backups/${backupId}`));
    expect(json).toMatchObject({ backup: { extend_info: { os_images_data: [{ image_id: id }] } } });
  });

  it('sets its backup free when it is deleted, and takes it along with delete_backup (CRE-18, ims-api 12.6)', async () => {
    const backup_id = await backUp();
    const image = async (): Promise<string> => {
      const body = { name: 'again', backup_id, whole_image_type: 'CBR' };
      const job = await stack.runJob('/v1/cloudimages/wholeimages/action', body);
      expect(job).toMatchObject({ status: 'SUCCESS' });
      return job.entities.image_id;
    };
    const first = await image();
    const twice = await stack.call('POST', '/v1/cloudimages/wholeimages/action', {
      name: 'twice',
      backup_id,
      whole_image_type: 'CBR',
    });
    expect(twice.json).toMatchObject({ error: { code: 'IMG.0029' } });
    expect((await stack.call('DELETE', path(`backups/${backup_id}`))).status).toBe(409);
    expect((await stack.call('DELETE', `/v2/images/${first}`)).status).toBe(204);
    // At once, whether or not the claim has been ended.
    const second = await image();
    expect((await stack.call('DELETE', `/v2/images/${second}`, { delete_backup: true })).status).toBe(204);
    await waitFor(async () => (await stack.call('GET', path(`backups/${backup_id}`))).status === 404, {
      deadlineMs: DEADLINE_MS,
      what: 'the backup is gone',
    });
  });

  it('is imaged straight from the machine by the official SDK, and a new server has all its disks as they were (CRE-16, IMG-12)', async () => {
    const { access, secret, projectId } = stack.identity;
    const server = await cloud.servers.get(projectId, serverId);
    const volumeId = server?.volumes.find(({ bootIndex }) => bootIndex === null)?.volumeId ?? '';
    const { disk, release } = await cloud.volumes.exportDisk(projectId, volumeId, { readOnly: false });
    await disk.write(5 * MIB, Buffer.from('written before the image')).finally(release);
    const expected = Buffer.from(DATA);
    expected.write('written before the image', 5 * MIB);

    const script = join(__dirname, '../clients/import_doors.py');
    const body = { name: 'erp-live', instance_id: serverId, vault_id: vaultId };
    const args = [script, stack.url, access, secret, projectId, 'create_whole_image', JSON.stringify(body)];
    const { stdout } = await run(PYTHON, args);
    // Written by the script.
    const { job } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as {
      job: { status: string; job_type: string; entities: { image_id: string } };
    };
    expect(job).toMatchObject({ status: 'SUCCESS', job_type: 'imsCreateWholeImageByInstanceJob' });
    const { image_id: imageRef } = job.entities;
    const [backup, ...more] = (await cloud.backups.list(projectId, { serverId })).filter(
      ({ imageId }) => imageId === imageRef,
    );
    expect([backup?.name, backup?.status, more]).toEqual([`ims-${imageRef}`, 'available', []]);
    const { json } = await stack.call('GET', `/v2/images/${imageRef}`);
    expect(json).toMatchObject({ __whole_image: 'true', __backup_id: backup?.id, status: 'active' });

    const restored = await stack.call('POST', `/v1.1/${projectId}/cloudservers`, {
      server: { name: 'restored', imageRef, flavorRef: 's6.large.2', metadata: {} },
    });
    const { job_id: id, serverIds } = restored.json as { job_id: string; serverIds: string[] };
    await waitFor(
      async () =>
        ((await stack.call('GET', `/v1/${projectId}/jobs/${id}`)).json as { status: string }).status === 'SUCCESS',
      { deadlineMs: DEADLINE_MS, what: `server job ${id} succeeds` },
    );
    const made = await cloud.servers.get(projectId, serverIds[0] ?? '');
    expect(made?.volumes).toHaveLength(2);
    const source = await readFile(system);
    for (const { volumeId: copy, bootIndex } of made?.volumes ?? []) {
      const bytes = bootIndex === 0 ? source : expected;
      const opened = await cloud.volumes.exportDisk(projectId, copy, { readOnly: true });
      const found = Buffer.alloc(bytes.length);
      await opened.disk.read(0, found).finally(opened.release);
      expect(found.equals(bytes)).toBe(true);
    }
  });
});
