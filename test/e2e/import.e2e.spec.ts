import { execFile } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import {
  convertDisk,
  jobViolations,
  makeDebianLikeDisk,
  sha256OfRaw,
  temporaryDirectory,
  TestStack,
  waitFor,
} from '@ims/testing';

const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const run = promisify(execFile);
// The answers of a client flow are a few kilobytes of JSON.
const MAX_OUTPUT = 16 * 1024 * 1024;

interface ClientFlow {
  job_id: string;
  statuses: string[];
  job: {
    status: string;
    begin_time: string;
    end_time: string;
    entities: { image_id: string; process_percent: number };
  };
  progress: { status: string };
  list: { id: string; name: string; status: string; disk_format: string; min_disk: number; __os_version: string }[];
  show: Record<string, unknown>;
  quota: { quotas: { resources: { type: string; used: number }[] } };
  list_after_delete: unknown[];
  show_after_delete: number;
}

describe('one import with the clients people have', () => {
  let stack: TestStack;
  let raw: string;
  let rawSha256: string;

  beforeAll(async () => {
    stack = await TestStack.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    raw = disk.path;
    rawSha256 = await sha256OfRaw(raw);
  });
  afterAll(() => stack.stop());

  const put = async (path: string): Promise<string> => {
    await copyFile(path, join(stack.bucketDirectory, basename(path)));
    return `images:${basename(path)}`;
  };

  const importFile = async (imageUrl: string, name: string): Promise<string> => {
    const job = await stack.runJob('/v2/cloudimages/action', { name, image_url: imageUrl, min_disk: 1 });
    expect(job).toMatchObject({ status: 'SUCCESS', fail_reason: null });
    return job.entities.image_id;
  };

  it('walks import, poll, list, show, quota and delete with the official SDK (ACC-02, IMG-02, MGT-05)', async () => {
    const url = await put(await convertDisk(raw, 'qcow2-zlib'));
    const { stdout } = await run(
      PYTHON,
      [
        join(__dirname, '../clients/import_flow.py'),
        stack.url,
        stack.identity.access,
        stack.identity.secret,
        stack.identity.projectId,
        url,
        'sdk-image',
        '1',
      ],
      { maxBuffer: MAX_OUTPUT },
    );
    const flow = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as ClientFlow;
    expect(flow.job.status).toBe('SUCCESS');
    expect(flow.statuses.at(-1)).toBe('SUCCESS');
    expect(flow.job.begin_time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(flow.job.end_time > flow.job.begin_time).toBe(true);
    expect(flow.job.entities.process_percent).toBe(1);
    expect(flow.progress.status).toBe('SUCCESS');
    expect(flow.list).toEqual([
      expect.objectContaining({ name: 'sdk-image', status: 'active', disk_format: 'zvhd2', min_disk: 1 }),
    ]);
    expect(flow.show).toMatchObject({ name: 'sdk-image', status: 'active', visibility: 'private' });
    expect(flow.quota.quotas.resources[0]).toMatchObject({ type: 'image' });
    expect(flow.list_after_delete).toEqual([]);
    expect(flow.show_after_delete).toBe(404);
  });

  it('serves openstackclient: list, show, save with its own checksum check, delete (ACC-02)', async () => {
    const id = await importFile(await put(await convertDisk(raw, 'qcow2-v3')), 'openstack-image');
    await waitFor(
      async () => {
        const shown = (await stack.call('GET', `/v2/images/${id}`)).json as { os_hash_value?: string };
        return shown.os_hash_value !== undefined;
      },
      { deadlineMs: 60_000, what: 'the digests are there' },
    );
    const openstack = async (...args: string[]): Promise<string> => {
      const { stdout } = await run(resolve(PYTHON, '../openstack'), args, {
        maxBuffer: MAX_OUTPUT,
        env: {
          PATH: process.env['PATH'] ?? '',
          OS_AUTH_URL: `${stack.url}/v3`,
          OS_USERNAME: stack.identity.userName,
          OS_PASSWORD: stack.identity.password,
          OS_PROJECT_NAME: stack.region,
          OS_USER_DOMAIN_NAME: stack.identity.accountName,
          OS_PROJECT_DOMAIN_NAME: stack.identity.accountName,
          OS_IDENTITY_API_VERSION: '3',
        },
      });
      return stdout;
    };
    const listed = JSON.parse(await openstack('image', 'list', '-f', 'json')) as { ID: string; Status: string }[];
    expect(listed).toContainEqual(expect.objectContaining({ ID: id, Status: 'active' }));
    const shown = JSON.parse(await openstack('image', 'show', id, '-f', 'json')) as Record<string, unknown>;
    expect(shown).toMatchObject({ id, name: 'openstack-image', disk_format: 'zvhd2' });
    const saved = join(await temporaryDirectory(), 'saved.zvhd2');
    await openstack('image', 'save', '--file', saved, id);
    const again = await importFile(await put(saved), 'saved-again');
    expect(await stack.guestSha256(again)).toBe(rawSha256);
    await openstack('image', 'delete', id);
    expect((await stack.call('GET', `/v2/images/${id}`)).status).toBe(404);
  });

  it('leads one image from its making to its end, each step one job or one call, and one run of events (IMG-02, MGT-05)', async () => {
    const id = await importFile(await put(raw), 'whole-life');
    const { projectId } = stack.identity;
    const call = async (method: string, path: string, body?: object): Promise<number> =>
      (await stack.call(method, path, body)).status;
    expect(await call('POST', `/v2/${projectId}/images/${id}/tags`, { tag: { key: 'stage', value: 'one' } })).toBe(204);
    expect(await call('PATCH', `/v2/cloudimages/${id}`, [{ op: 'replace', path: '/name', value: 'renamed' }])).toBe(
      200,
    );
    const copy = await stack.runJob(`/v1/cloudimages/${id}/copy`, { name: 'its-copy' });
    expect(copy).toMatchObject({ status: 'SUCCESS' });
    expect(
      await stack.runJob(`/v1/cloudimages/${id}/file`, { bucket_url: 'images:life.qcow2', file_format: 'qcow2' }),
    ).toMatchObject({ status: 'SUCCESS' });
    expect(await call('DELETE', `/v2/images/${id}`)).toBe(204);
    expect(await call('GET', `/v2/images/${id}`)).toBe(404);
    const events = await stack.db
      .selectFrom('event')
      .select('type')
      .where('stream_id', '=', `image:${id}`)
      .where('type', 'not in', ['image.disk-derived', 'image.digested'])
      .orderBy('stream_position')
      .execute();
    expect(events.map(({ type }) => type)).toEqual([
      ...['image.queued', 'image.saving', 'image.published', 'image.tagged', 'image.updated', 'image.deleted'],
    ]);
    const jobs = await stack.db.selectFrom('job').select(['type', 'id']).where('image_id', '=', id).execute();
    expect(jobs.map(({ type }) => type).sort()).toEqual([
      'imsDeleteImageJob',
      'imsImportImageJob',
      'imsNativeExportImageJob',
    ]);
    // What was made of it lives on.
    expect(await stack.guestSha256(copy.entities.image_id)).toBe(rawSha256);
  });

  it('exports it by the official SDK, and qemu-img finds the same disk in the object (EXP-01, SVC-03)', async () => {
    const id = await importFile(await put(raw), 'to-export');
    const { access, secret, projectId } = stack.identity;
    const body = { bucket_url: 'images:out/debian.qcow2', file_format: 'qcow2' };
    const args = [join(__dirname, '../clients/export_image.py'), stack.url, access, secret, projectId, id];
    // The other door, for callers' own keys, meanwhile exports another image.
    const other = await importFile(await put(raw), 'to-export-too');
    const [{ stdout }, quick] = await Promise.all([
      run(PYTHON, [...args, JSON.stringify(body)]),
      stack.runJob(`/v2.1/cloudimages/${other}/file`, { bucket_url: 'images:quick.zvhd2', is_quick_export: true }),
    ]);
    expect(quick).toMatchObject({ status: 'SUCCESS', entities: { image_id: other } });
    const { job } = JSON.parse(stdout) as { job: { job_id: string; entities: object } };
    expect(job).toMatchObject({ status: 'SUCCESS', job_type: 'imsNativeExportImageJob', entities: { image_id: id } });
    const object = join(stack.bucketDirectory, 'out/debian.qcow2');
    await run('qemu-img', ['check', '-f', 'qcow2', object]);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, object]);
    await run('sha256sum', ['-c', 'debian.qcow2.sha256'], { cwd: join(stack.bucketDirectory, 'out') });
    expect(await jobViolations(stack.db, job.job_id)).toEqual([]);
    // What the object says of itself is on record for an auditor.
    const step = await stack.db
      .selectFrom('job_step')
      .select('output')
      .where('job_id', '=', job.job_id)
      .where('step', '=', 'check-object')
      .executeTakeFirst();
    expect(step?.output).toMatchObject({ sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string });
  });
});
