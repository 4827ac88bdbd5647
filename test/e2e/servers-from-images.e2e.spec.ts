import { createHash } from 'node:crypto';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createImageStore, type ImageStore } from '@ims/image-store';
import { type EmbeddedCloud, openEmbeddedCloud, storedImages, whyNoMachine } from '@ims/neighbours';
import {
  bootSector,
  convertDisk,
  isoLikeFile,
  makeDebianLikeDisk,
  noise,
  temporaryDirectory,
  TestStack,
  waitFor,
} from '@ims/testing';
import { z } from 'zod';

const MARKER = Buffer.from('written by the guest itself');
// Behind everything the source disk holds: it has 256 MiB, the smallest system disk is 1 GiB.
const MARKER_OFFSET = 512 * 2 ** 20;
const CONSOLE_TEXT = 'IMS-BOOT-OK';

const accepted = z.object({ job_id: z.string(), serverIds: z.array(z.string()).default([]) });
const jobAnswer = z.object({
  status: z.enum(['INIT', 'RUNNING', 'SUCCESS', 'FAIL']),
  fail_reason: z.string().nullable(),
  entities: z.object({
    image_id: z.string().default(''),
    server_id: z.string().optional(),
    volume_id: z.string().default(''),
    sub_jobs: z
      .array(z.object({ status: z.string(), entities: z.object({ server_id: z.string().optional() }) }))
      .optional(),
  }),
});
const serverAnswer = z.object({
  server: z.object({
    status: z.string(),
    image: z.object({ id: z.string() }),
    'os-extended-volumes:volumes_attached': z.array(z.object({ id: z.string(), bootIndex: z.string().nullable() })),
  }),
});

describe('servers and disks from images, end to end (SVC-01)', () => {
  let stack: TestStack;
  let store: ImageStore;
  let cloud: EmbeddedCloud;
  let source: Buffer;
  let imageId: string;

  beforeAll(async () => {
    stack = await TestStack.start({ env: { IMS_CLOUD_QEMU: '1' } });
    const raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    source = await readFile(raw);
    await copyFile(await convertDisk(raw, 'qcow2-v3'), join(stack.bucketDirectory, 'debian.qcow2'));
    const image = { name: 'debian', image_url: 'images:debian.qcow2', min_disk: 1 };
    imageId = (await run('/v2/cloudimages/action', image)).entities.image_id;
    store = createImageStore({ db: stack.db, directory: stack.storeDirectory, threads: 1, collectGraceMs: 0 });
    cloud = await openEmbeddedCloud({
      db: stack.db,
      directory: stack.cloudDirectory,
      images: storedImages(store),
      qemu: false,
    });
  });
  afterAll(async () => {
    await cloud.close();
    await store.close();
    await stack.stop();
  });

  const project = (): string => stack.identity.projectId;
  const path = (text: string): string => text.replace('{p}', project());

  async function submit(to: string, body: object, method = 'POST'): Promise<z.infer<typeof accepted>> {
    const answer = await stack.call(method, path(to), body);
    if (answer.status !== 200) throw new Error(`${method} ${to}: ${answer.status} ${answer.text}`);
    return accepted.parse(answer.json);
  }
  const endOf = (jobId: string) =>
    waitFor(
      async () => {
        const job = jobAnswer.parse((await stack.call('GET', path(`/v1/{p}/jobs/${jobId}`))).json);
        return job.status === 'SUCCESS' || job.status === 'FAIL' ? job : undefined;
      },
      { deadlineMs: 90_000, what: `job ${jobId} ends` },
    );
  async function run(to: string, body: object, method = 'POST') {
    const job = await endOf((await submit(to, body, method)).job_id);
    expect(job).toMatchObject({ status: 'SUCCESS', fail_reason: null });
    return job;
  }
  const aServer = async (image: string, more: object = {}): Promise<string[]> => {
    const server = { name: 'web', imageRef: image, flavorRef: 's6.large.2', ...more };
    const { job_id: id, serverIds } = await submit('/v1.1/{p}/cloudservers', { server });
    expect(await endOf(id)).toMatchObject({ status: 'SUCCESS' });
    return serverIds;
  };
  const show = async (id: string) =>
    serverAnswer.parse((await stack.call('GET', path(`/v1/{p}/cloudservers/${id}`))).json).server;
  const rootOf = async (id: string): Promise<string> =>
    (await show(id))['os-extended-volumes:volumes_attached'].find(({ bootIndex }) => bootIndex === '0')?.id ?? '';
  const action = (id: string, what: object) => run(`/v1/{p}/cloudservers/${id}/action`, what);

  /** What a guest would do to a disk whose server is off. */
  async function withDisk<T>(
    volumeId: string,
    work: (disk: Awaited<ReturnType<EmbeddedCloud['volumes']['exportDisk']>>['disk']) => Promise<T>,
  ): Promise<T> {
    const { disk, release } = await cloud.volumes.exportDisk(project(), volumeId, { readOnly: false });
    return work(disk).finally(release);
  }
  const read = (volumeId: string, offset: number, length: number): Promise<Buffer> =>
    withDisk(volumeId, async (disk) => {
      const bytes = Buffer.alloc(length);
      await disk.read(offset, bytes);
      return bytes;
    });
  const hashOf = async (volumeId: string): Promise<string> =>
    createHash('sha256')
      .update(await read(volumeId, 0, source.length))
      .digest('hex');
  const sourceHash = (): string => createHash('sha256').update(source).digest('hex');

  it('copies nothing, gives what a guest wrote to an image, and that to the next servers (IMG-06, IMG-09, SCN-03)', async () => {
    const [first = ''] = await aServer(imageId);
    expect((await show(first)).image.id).toBe(imageId);
    await action(first, { 'os-stop': {} });
    const root = await rootOf(first);
    expect((await cloud.volumes.get(project(), root))?.dependsOnOrigin).toBe(true);
    expect(await hashOf(root)).toBe(sourceHash());
    await withDisk(root, (disk) => disk.write(MARKER_OFFSET, MARKER));

    const made = await run('/v2/cloudimages/action', { name: 'with-marker', instance_id: first });
    const { job_id: id, serverIds } = await submit('/v1.1/{p}/cloudservers', {
      server: { name: 'clone', imageRef: made.entities.image_id, flavorRef: 's6.large.2', count: 2 },
    });
    const job = await endOf(id);
    expect(job.entities.sub_jobs?.map(({ entities }) => entities.server_id)).toEqual(serverIds);
    for (const clone of serverIds) {
      await action(clone, { 'os-stop': {} });
      const disk = await rootOf(clone);
      expect(await read(disk, MARKER_OFFSET, MARKER.length)).toEqual(MARKER);
      expect(await hashOf(disk)).toBe(sourceHash());
    }
  });

  it('lets servers outlive their image, also in bytes they have not read yet (MGT-05)', async () => {
    const image = { name: 'to-be-deleted', image_url: 'images:noise.raw', min_disk: 1 };
    const bytes = noise('an image of its own', 8 * 2 ** 20);
    await writeFile(join(stack.bucketDirectory, 'noise.raw'), bytes);
    const own = (await run('/v2/cloudimages/action', image)).entities.image_id;
    const [server = ''] = await aServer(own);
    await action(server, { 'os-stop': {} });
    expect((await stack.call('DELETE', `/v2/images/${own}`)).status).toBe(204);
    await store.collect();
    expect((await stack.call('GET', `/v2/images/${own}`)).status).toBe(404);
    const root = await rootOf(server);
    expect((await read(root, 0, bytes.length)).equals(bytes)).toBe(true);
    // Its last reader gone, nothing holds the bytes any more.
    await run('/v1/{p}/cloudservers/delete', { servers: [{ id: server }] });
    const removed = await store.collect();
    expect(removed.segmentsRemoved).toBeGreaterThan(0);
  });

  it('brings a broken server back from its image, and gives it another system (SCN-04, CRE-09)', async () => {
    const [server = ''] = await aServer(imageId);
    await action(server, { 'os-stop': {} });
    await withDisk(await rootOf(server), (disk) => disk.write(0, noise('broken', 2 ** 20)));
    await action(server, { 'os-start': {} });
    const refused = await stack.call('POST', path(`/v2/{p}/cloudservers/${server}/reinstallos`), {
      'os-reinstall': {},
    });
    // A server whose disk does not boot may have switched itself off; whether it has, its state decides.
    if ((await show(server)).status === 'ACTIVE') expect(refused.status).toBe(400);
    await run(`/v2/{p}/cloudservers/${server}/reinstallos`, { 'os-reinstall': { mode: 'withStopServer' } });
    await action(server, { 'os-stop': {} });
    expect(await hashOf(await rootOf(server))).toBe(sourceHash());
  });

  it('installs from an ISO image onto a blank disk, and images what was installed (IMG-11, CRE-11)', async () => {
    const iso = isoLikeFile(3 * 2 ** 20 + 700);
    await writeFile(join(stack.bucketDirectory, 'installer.iso'), iso);
    const medium = await run('/v2/cloudimages/action', {
      name: 'installer',
      image_url: 'images:installer.iso',
      type: 'IsoImage',
      os_version: 'CentOS 7.0 64bit',
      min_disk: 1,
    });
    const [server = ''] = await aServer(medium.entities.image_id);
    await action(server, { 'os-stop': {} });
    const disks = (await show(server))['os-extended-volumes:volumes_attached'];
    const cd = disks.find(({ bootIndex }) => bootIndex === '1')?.id ?? '';
    expect((await read(cd, 0, iso.length)).equals(iso)).toBe(true);
    // What an installer does.
    await withDisk(await rootOf(server), (disk) => disk.write(0, source.subarray(0, 4 * 2 ** 20)));
    const installed = await run('/v2/cloudimages/action', { name: 'installed', instance_id: server });
    const [clone = ''] = await aServer(installed.entities.image_id);
    await action(clone, { 'os-stop': {} });
    const bytes = await read(await rootOf(clone), 0, 4 * 2 ** 20);
    expect(bytes.equals(source.subarray(0, bytes.length))).toBe(true);
  });

  it('derives the disk in an uploaded file when the first server needs it, once (CRE-09)', async () => {
    const file = await readFile(join(stack.bucketDirectory, 'debian.qcow2'));
    const created = await stack.call('POST', '/v2/images', { name: 'uploaded', disk_format: 'qcow2', min_disk: 1 });
    const { id } = z.object({ id: z.string() }).parse(created.json);
    await stack.upload(id, file);
    const stepsOf = async (jobId: string) =>
      (await stack.db.selectFrom('job').select('steps').where('id', '=', jobId).executeTakeFirstOrThrow()).steps;
    const make = async () => {
      const made = await submit('/v1.1/{p}/cloudservers', {
        server: { name: 'from-file', imageRef: id, flavorRef: 's6.large.2' },
      });
      expect(await endOf(made.job_id)).toMatchObject({ status: 'SUCCESS' });
      return made;
    };
    const first = await make();
    expect((await stepsOf(first.job_id))[0]).toBe('derive-disk');
    expect((await stepsOf((await make()).job_id))[0]).toBe('check-image');
    const [server = ''] = first.serverIds;
    await action(server, { 'os-stop': {} });
    expect(await hashOf(await rootOf(server))).toBe(sourceHash());
  });

  it('makes a data disk equal to its image, which makes no server (IMG-10, CRE-07)', async () => {
    const bytes = noise('data', 4 * 2 ** 20);
    await writeFile(join(stack.bucketDirectory, 'data.raw'), bytes);
    const data = await run('/v1/cloudimages/dataimages/action', {
      name: 'data',
      image_url: 'images:data.raw',
      min_disk: 40,
    });
    const imageRef = data.entities.image_id;
    const made = await run('/v2/{p}/cloudvolumes', { volume: { imageRef, size: 40, count: 1 } });
    const { volume_id: volumeId } = made.entities;
    expect((await read(volumeId, 0, bytes.length)).equals(bytes)).toBe(true);
    const server = { name: 'no', imageRef, flavorRef: 's6.large.2' };
    expect((await stack.call('POST', path('/v1.1/{p}/cloudservers'), { server })).status).toBe(400);
    await run(`/v2/{p}/cloudvolumes/${volumeId}`, {}, 'DELETE');
    expect((await stack.call('GET', path(`/v2/{p}/cloudvolumes/${volumeId}`))).status).toBe(404);
  });

  it('proves on the serial console that an image and a server boot, or says why nothing was checked; and has one owner of machines', async () => {
    const missing = await whyNoMachine('bios');
    const expected =
      missing === undefined
        ? { verdict: 'boots', evidence: CONSOLE_TEXT }
        : { verdict: 'not-checked', evidence: missing };
    const verdictIn = async (job: string): Promise<unknown> =>
      (
        await stack.db
          .selectFrom('job_step')
          .select('output')
          .where('job_id', '=', job)
          .where('step', '=', 'boot-check')
          .executeTakeFirst()
      )?.output;
    await writeFile(
      join(stack.bucketDirectory, 'boots.raw'),
      Buffer.concat([bootSector(CONSOLE_TEXT), Buffer.alloc(2 ** 20 - 512)]),
    );
    const image = { name: 'boots', image_url: 'images:boots.raw', min_disk: 1, boot_check: CONSOLE_TEXT };
    const proven = await submit('/v2/cloudimages/action', image);
    const bootable = (await endOf(proven.job_id)).entities.image_id;
    expect(await verdictIn(proven.job_id)).toEqual(expected);
    const { job_id: jobId, serverIds } = await submit('/v1.1/{p}/cloudservers', {
      server: { name: 'boots', imageRef: bootable, flavorRef: 's6.small.1', metadata: { __boot_check: CONSOLE_TEXT } },
    });
    expect(await endOf(jobId)).toMatchObject({ status: 'SUCCESS' });
    expect(await verdictIn(jobId)).toEqual(expected);
    const [server = ''] = serverIds;
    expect((await show(server)).status).toBe('ACTIVE');

    // A running server is imaged where it runs. Then its worker dies, and with it the machine; the next one finds it off and can start it.
    await run('/v2/cloudimages/action', { name: 'of-a-running-server', instance_id: server });
    await stack.run('second-worker');
    await stack.kill('worker');
    if (missing === undefined) {
      await waitFor(async () => (await show(server)).status === 'SHUTOFF', {
        deadlineMs: 30_000,
        what: 'another worker to own the cloud',
      });
    }
    await action(server, { 'os-start': {} });
    expect((await show(server)).status).toBe('ACTIVE');
    await run('/v1/{p}/cloudservers/delete', { servers: [{ id: server }] });
  });
});
