import { createHash, randomUUID } from 'node:crypto';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import {
  convertDisk,
  type DiskVariant,
  DISK_VARIANTS,
  isoLikeFile,
  jobViolations,
  makeDebianLikeDisk,
  noise,
  temporaryDirectory,
  TestStack,
  testTemporal,
  waitFor,
} from '@ims/testing';
import { RegionUnderFault } from '../faults/support/region-under-fault';

const run = promisify(execFile);
/** The clients of test/clients/requirements.txt, as bootstrap installs them. */
const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const MIB = 2 ** 20;
/** One file of each format. */
const FILES = DISK_VARIANTS.filter(
  ({ format }, n) => DISK_VARIANTS.findIndex((other) => other.format === format) === n,
);

const DEADLINE_MS = 60_000;

interface GlanceImage {
  id: string;
  status: string;
  size?: number;
  checksum?: string;
  os_hash_algo?: string;
  os_hash_value?: string;
  disk_format: string;
}

const digest = (algorithm: string, bytes: Buffer): string => createHash(algorithm).update(bytes).digest('hex');

describe('images that are files', () => {
  let stack: TestStack;
  let region: RegionUnderFault;
  let raw: string;
  const sent = new Map<DiskVariant, { id: string; file: Buffer; answer: ReturnType<TestStack['upload']> }>();

  beforeAll(async () => {
    stack = await TestStack.start();
    region = RegionUnderFault.watch(stack, await testTemporal());
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    // All side by side, as in life; each test then looks at its own.
    for (const { variant, format } of FILES) {
      const file = await readFile(await convertDisk(raw, variant));
      const id = await queue({ disk_format: format });
      const answer = stack.upload(id, file);
      answer.catch(() => undefined);
      sent.set(variant, { id, file, answer });
    }
  }, DEADLINE_MS);
  afterAll(() => region.stop());

  const queue = async (body: object = {}): Promise<string> => {
    const answer = await stack.call('POST', '/v2/images', { name: 'sent', disk_format: 'raw', ...body });
    if (answer.status !== 201) throw new Error(`POST /v2/images: ${answer.status} ${answer.text}`);
    return (answer.json as GlanceImage).id;
  };
  const sentAs = (variant: DiskVariant) => {
    const found = sent.get(variant);
    if (found === undefined) throw new Error(`${variant} was not sent`);
    return found;
  };
  const show = async (id: string): Promise<GlanceImage> =>
    (await stack.call('GET', `/v2/images/${id}`)).json as GlanceImage;
  const jobsOf = (id: string) =>
    stack.db.selectFrom('job').select(['id', 'type', 'outcome', 'error_code']).where('image_id', '=', id).execute();
  const stagedOf = (id: string) => stack.db.selectFrom('staged_file').select('id').where('image_id', '=', id).execute();
  /** The last step deletes what was staged right after its commit. */
  const nothingStaged = (id: string) =>
    waitFor(async () => ((await stagedOf(id)).length === 0 ? true : undefined), {
      deadlineMs: DEADLINE_MS,
      what: 'nothing is staged any more',
    });

  it.each(FILES)('of $variant come back byte for byte, with digests at once (FMT-01)', async ({ variant, format }) => {
    const { id, file, answer: uploaded } = sentAs(variant);
    expect(await uploaded).toMatchObject({ status: 204, text: '' });
    expect(await show(id)).toMatchObject({
      status: 'active',
      disk_format: format,
      size: file.length,
      __image_size: String(file.length),
      checksum: digest('md5', file),
      os_hash_algo: 'sha512',
      os_hash_value: digest('sha512', file),
    });
    const answer = await stack.call('GET', `/v2/images/${id}/file`);
    expect(answer.headers.get('content-md5')).toBe(digest('md5', file));
    expect((await stack.download(`/v2/images/${id}/file`)).equals(file)).toBe(true);
    const range = { offset: file.length - 700, length: 600 };
    expect((await stack.download(`/v2/images/${id}/file`, range)).equals(file.subarray(-700, -100))).toBe(true);
    await nothingStaged(id);
  });

  it('of a length that is no whole sector come back byte for byte (CRE-11)', async () => {
    const file = isoLikeFile(3 * MIB + 77);
    const id = await queue({ disk_format: 'iso' });
    expect((await stack.upload(id, file)).status).toBe(204);
    expect(await show(id)).toMatchObject({ status: 'active', size: file.length, virtual_env_type: 'IsoImage' });
    expect((await stack.download(`/v2/images/${id}/file`)).equals(file)).toBe(true);
  });

  it('an ISO of a bucket is kept as it is, its system is its maker’s word, and it has its digests soon (CRE-11, CRE-12, IMG-11)', async () => {
    const file = isoLikeFile(2 * MIB + 2048);
    await writeFile(join(stack.bucketDirectory, 'el7.iso'), file);
    const body = { name: 'el7', image_url: 'images:el7.iso', type: 'IsoImage', min_disk: 40 };
    const noSystem = await stack.call('POST', '/v2/cloudimages/action', body);
    expect(noSystem.json).toMatchObject({ error: { code: 'IMG.0166' } });
    const job = await stack.runJob('/v2/cloudimages/action', { ...body, os_version: 'CentOS 7.6 64bit' });
    expect(job).toMatchObject({ status: 'SUCCESS', job_type: 'imsImportImageJob' });
    const id = job.entities.image_id;
    expect((await stack.download(`/v2/images/${id}/file`)).equals(file)).toBe(true);
    expect((await stack.download(`/v2/images/${id}/file?format=raw`)).equals(file)).toBe(true);
    await waitFor(async () => ((await show(id)).checksum === undefined ? undefined : true), {
      deadlineMs: DEADLINE_MS,
      what: 'the digests are known',
    });
    expect(await show(id)).toMatchObject({
      disk_format: 'iso',
      virtual_env_type: 'IsoImage',
      __os_version: 'CentOS 7.6 64bit',
      checksum: digest('md5', file),
    });
  });

  it('refuses content of another format with its reason, and the image waits for another try', async () => {
    const qcow2 = sentAs('qcow2-v2').file;
    const id = await queue({ disk_format: 'vhd' });
    const refused = await stack.upload(id, qcow2);
    expect(refused.status).toBe(400);
    expect(refused.text).toContain('the file is qcow2, not vhd (IMG.0057)');
    const unlisted = await stack.upload(id, Buffer.from('just a text\n'.repeat(100)));
    expect([unlisted.status, unlisted.text]).toEqual([400, expect.stringContaining('IMG.0072')]);
    expect(await show(id)).toMatchObject({ status: 'queued', disk_format: 'vhd', __image_size: '0' });
    expect((await stack.call('GET', `/v2/images/${id}/file`)).status).toBe(204);

    const vhd = sentAs('vhd-fixed').file;
    expect((await stack.upload(id, vhd)).status).toBe(204);
    expect((await stack.download(`/v2/images/${id}/file`)).equals(vhd)).toBe(true);
    const jobs = await jobsOf(id);
    expect(jobs.map(({ outcome }) => outcome).sort()).toEqual(['failed', 'failed', 'succeeded']);
    for (const job of jobs) expect(await jobViolations(stack.db, job.id)).toEqual([]);
    await nothingStaged(id);
  });

  it('refuses what is empty, of another length than announced, and of another media type', async () => {
    const id = await queue();
    expect((await stack.upload(id, Buffer.alloc(0))).status).toBe(400);
    const claimed = await stack.upload(id, chunks(noise('a', MIB), 3), { 'x-openstack-image-size': String(MIB + 1) });
    expect([claimed.status, claimed.text]).toEqual([400, expect.stringContaining('were announced')]);
    const longer = await stack.upload(id, chunks(noise('a', MIB), 3), { 'x-openstack-image-size': String(MIB - 1) });
    expect(longer.status).toBe(400);
    const huge = await stack.upload(id, chunks(noise('a', 512), 1), { 'x-openstack-image-size': String(2 ** 40) });
    expect(huge.status).toBe(413);
    expect((await stack.upload(id, noise('a', MIB), { 'content-type': 'text/plain' })).status).toBe(415);
    expect(await jobsOf(id)).toEqual([]);
    expect(await stagedOf(id)).toEqual([]);
  });

  it('of two uploads at once one wins, the other one is refused with 409', async () => {
    const id = await queue();
    const file = noise('winner', 4 * MIB);
    const answers = await Promise.all([0, 1, 2].map(() => stack.upload(id, chunks(file, 8))));
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 409, 409]);
    expect((await stack.download(`/v2/images/${id}/file`)).equals(file)).toBe(true);
    expect((await stack.upload(id, file)).status).toBe(409);
    expect(await jobsOf(id)).toHaveLength(1);
  });

  it('a sender who goes away leaves nothing, and the image waits', async () => {
    const id = await queue();
    const gone = new AbortController();
    const sending = stack.upload(id, stalled(), {}, gone.signal);
    sending.catch(() => undefined);
    await waitFor(async () => (await stagedOf(id))[0], { deadlineMs: DEADLINE_MS, what: 'bytes arrive' });
    expect((await stack.upload(id, noise('b', MIB))).status).toBe(409);
    gone.abort();
    await expect(sending).rejects.toThrow();
    await nothingStaged(id);
    expect(await show(id)).toMatchObject({ status: 'queued' });
    expect(await jobsOf(id)).toEqual([]);
    expect((await stack.upload(id, noise('b', MIB))).status).toBe(204);
  });

  it('a gateway that is killed half-way is in nobody’s way', async () => {
    const id = await queue();
    const sending = stack.upload(id, stalled());
    sending.catch(() => undefined);
    await waitFor(async () => (await stagedOf(id))[0], { deadlineMs: DEADLINE_MS, what: 'bytes arrive' });
    await stack.kill('gateway');
    await expect(sending).rejects.toThrow();
    await stack.run('gateway');
    expect(await show(id)).toMatchObject({ status: 'queued' });
    const file = noise('again', 3 * MIB);
    expect((await stack.upload(id, file)).status).toBe(204);
    expect((await stack.download(`/v2/images/${id}/file`)).equals(file)).toBe(true);
    await nothingStaged(id);
  });

  it('a worker that is killed while it stores changes nothing but the time it takes', async () => {
    const id = await queue();
    const file = noise('killed', 24 * MIB);
    const sending = stack.upload(id, file);
    await waitFor(async () => (await region.running()).some(({ step }) => step === 'ingest'), {
      deadlineMs: DEADLINE_MS,
      what: 'the file is being stored',
      everyMs: 5,
    });
    await stack.restart('worker');
    expect((await sending).status).toBe(204);
    expect((await stack.download(`/v2/images/${id}/file`)).equals(file)).toBe(true);
  });

  it('after the last byte the job goes on by itself, without its sender', async () => {
    const id = await queue();
    const gone = new AbortController();
    await stack.kill('worker');
    const file = noise('alone', 2 * MIB);
    const sending = stack.upload(id, file, {}, gone.signal);
    sending.catch(() => undefined);
    await waitFor(async () => (await jobsOf(id))[0], { deadlineMs: DEADLINE_MS, what: 'the job is accepted' });
    gone.abort();
    await stack.run('worker');
    await waitFor(async () => ((await show(id)).status === 'active' ? true : undefined), {
      deadlineMs: DEADLINE_MS,
      what: 'the image is there',
    });
    expect((await stack.download(`/v2/images/${id}/file`)).equals(file)).toBe(true);
  });

  it('an image that waits is listed, deleted like any other, and gives its place back (CRE-23)', async () => {
    const used = async () => (await stack.call('GET', '/v1/cloudimages/quota')).json;
    const before = await used();
    const id = await queue({ id: randomUUID(), name: 'waits' });
    expect((await stack.call('GET', `/v2/cloudimages?id=${id}`)).json).toMatchObject({
      images: [{ id, status: 'queued' }],
    });
    expect((await stack.call('DELETE', `/v2/images/${id}`)).status).toBe(204);
    expect((await stack.call('GET', `/v2/images/${id}`)).status).toBe(404);
    expect(await used()).toEqual(before);
    expect((await stack.upload(id, noise('c', MIB))).status).toBe(404);
    expect((await stack.call('POST', '/v2/images', { id })).status).toBe(409);
  });

  describe('a file of a bucket, registered', () => {
    const register = (id: string, image_url: string) =>
      stack.call('PUT', `/v1/cloudimages/${id}/upload`, { image_url });
    const ended = (id: string) =>
      waitFor(
        async () => {
          const job = (await stack.call('GET', `/v1/${stack.identity.projectId}/jobs/${id}`)).json as {
            status: string;
            entities: object;
          };
          return job.status === 'SUCCESS' || job.status === 'FAIL' ? job : undefined;
        },
        { deadlineMs: DEADLINE_MS, what: `job ${id} ends` },
      );
    const runJob = async (id: string, image_url: string) => {
      const answer = await register(id, image_url);
      expect(answer).toMatchObject({ status: 200 });
      return ended((answer.json as { job_id: string }).job_id);
    };

    it('becomes the disk of the image, after a try that failed (ims-api 6.6)', async () => {
      const file = await convertDisk(raw, 'qcow2-zlib');
      await copyFile(file, join(stack.bucketDirectory, 'registered.qcow2'));
      const id = await queue({ disk_format: 'vhd', min_disk: 1 });
      const failed = await runJob(id, 'images:nothing.qcow2');
      expect(failed).toMatchObject({ status: 'FAIL', error_code: 'IMG.0057', job_type: 'imsNativeImportImageJob' });
      expect(await show(id)).toMatchObject({ status: 'queued', disk_format: 'vhd' });
      const job = await runJob(id, 'images:registered.qcow2');
      expect(job).toMatchObject({ status: 'SUCCESS', error_code: null });
      expect(job.entities).toMatchObject({ image_id: id });
      expect(job.entities).not.toHaveProperty('image_name');
      expect(await show(id)).toMatchObject({
        status: 'active',
        disk_format: 'zvhd2',
        __data_origin: 'file,images:registered.qcow2',
        __os_type: 'Linux',
      });
      const disk = await stack.download(`/v2/images/${id}/file?format=raw`);
      expect(disk.equals(await readFile(raw))).toBe(true);
      expect((await register(id, 'images:registered.qcow2')).json).toMatchObject({ error: { code: 'IMG.0046' } });
    });

    it('is kept as it is when it is an ISO', async () => {
      const file = isoLikeFile(MIB + 512);
      await writeFile(join(stack.bucketDirectory, 'registered.iso'), file);
      const id = await queue({ disk_format: 'iso' });
      expect(await runJob(id, 'images:registered.iso')).toMatchObject({ status: 'SUCCESS' });
      expect((await stack.download(`/v2/images/${id}/file`)).equals(file)).toBe(true);
    });
  });

  describe('by clients that exist', () => {
    const openstackEnvironment = () => ({
      PATH: process.env['PATH'] ?? '',
      OS_AUTH_URL: `${stack.url}/v3`,
      OS_USERNAME: stack.identity.userName,
      OS_PASSWORD: stack.identity.password,
      OS_PROJECT_NAME: stack.region,
      OS_USER_DOMAIN_NAME: stack.identity.accountName,
      OS_PROJECT_DOMAIN_NAME: stack.identity.accountName,
      OS_IDENTITY_API_VERSION: '3',
    });
    const client = async (program: string, ...args: string[]): Promise<string> => {
      const { stdout } = await run(resolve(PYTHON, '..', program), args, { env: openstackEnvironment() });
      return stdout;
    };

    it('openstackclient creates an image of a file and saves it again, checked by its own digest (ims-api 19.4, 19.5)', async () => {
      const path = await convertDisk(raw, 'qcow2-zstd');
      const created = await client(
        'openstack',
        ...['image', 'create', '--file', path, '--disk-format', 'qcow2', '--property', 'purpose=test'],
        ...['-f', 'json', 'by-openstack'],
      );
      const { id } = JSON.parse(created) as { id: string };
      expect(await show(id)).toMatchObject({
        status: 'active',
        disk_format: 'qcow2',
        purpose: 'test',
        'owner_specified.openstack.object': 'images/by-openstack',
      });
      const saved = join(await temporaryDirectory(), 'saved.qcow2');
      await client('openstack', 'image', 'save', '--file', saved, id);
      expect((await readFile(saved)).equals(await readFile(path))).toBe(true);
    });

    it('glanceclient creates an image of a file, and says why when the file is another one (ims-api 19.4)', async () => {
      const path = await convertDisk(raw, 'vmdk-stream');
      const create = (format: string) =>
        client(
          'glance',
          ...['image-create', '--name', 'by-glance', '--container-format', 'bare'],
          ...['--disk-format', format, '--file', path],
        );
      expect(await create('vmdk')).toMatch(/status\s+\|\s+active/);
      await expect(create('qcow2')).rejects.toMatchObject({ stderr: expect.stringContaining('the file is vmdk') });
    });

    it('the official SDK makes the image and registers a file for it (ims-api 6.6, 12.3)', async () => {
      await copyFile(await convertDisk(raw, 'qcow2-zlib'), join(stack.bucketDirectory, 'by-sdk.qcow2'));
      const script = join(__dirname, '../clients/register_flow.py');
      const { access, secret, projectId } = stack.identity;
      const { stdout } = await run(PYTHON, [
        script,
        ...[stack.url, access, secret, projectId, 'images:by-sdk.qcow2', 'by-sdk'],
      ]);
      expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
        created: { status: 'queued', disk_format: 'qcow2', min_disk: 40, tags: ['test=1'] },
        missing: { status: 'FAIL', error_code: 'IMG.0057' },
        job: { status: 'SUCCESS', job_type: 'imsNativeImportImageJob' },
        show: { status: 'active', disk_format: 'zvhd2' },
        again: 'IMG.0046',
      });
    });
  });

  it('leave a region in order', async () => {
    expect(await region.violations([])).toEqual([]);
  });
});

async function* chunks(bytes: Buffer, count: number): AsyncGenerator<Uint8Array> {
  const size = Math.ceil(bytes.length / count);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** A sender who stays and sends nothing more. */
async function* stalled(): AsyncGenerator<Uint8Array> {
  yield noise('stalled', MIB);
  await new Promise(() => undefined);
}
