import { execFile } from 'node:child_process';
import { copyFile, open, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import {
  convertDisk,
  type DiskVariant,
  makeDebianLikeDisk,
  sha256OfRaw,
  temporaryDirectory,
  TestStack,
} from '@ims/testing';

const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const run = promisify(execFile);
// Each call of a client is a Python of its own, which loads the SDK's few hundred models.
const TEST_DEADLINE_MS = 300_000;
const GIB = 1024 ** 3;
const UBUNTU = 'Ubuntu 18.04 Server 64bit';
const DATA_IMAGE = '/v1/cloudimages/dataimages/action';
const QUICK_IMPORT = '/v2/cloudimages/quickimport/action';

interface Flow {
  job: { status: string; job_type: string; fail_reason: string | null; entities: { image_id: string } };
  list: { id: string; name: string; status: string; min_disk: number }[];
}

describe('the other calls that import a file', () => {
  let stack: TestStack;
  let raw: string;
  let rawSha256: string;

  beforeAll(async () => {
    stack = await TestStack.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory(), { name: 'source' });
    raw = disk.path;
    rawSha256 = await sha256OfRaw(raw);
  });
  afterAll(() => stack.stop());

  /** A raw file has its bitmap beside it; what is in a bitmap nobody reads. */
  const put = async (variant: DiskVariant, name: string): Promise<string> => {
    const path = await convertDisk(raw, variant);
    const key = `${name}-${basename(path)}`;
    await copyFile(path, join(stack.bucketDirectory, key));
    if (variant === 'raw') await writeFile(join(stack.bucketDirectory, key.replace(/\.\w+$/, '.mf')), 'bitmap');
    return `images:${key}`;
  };

  /** A file that is all hole. */
  const putHole = async (key: string, sizeBytes: number): Promise<string> => {
    const file = await open(join(stack.bucketDirectory, key), 'w');
    await file.truncate(sizeBytes);
    await file.close();
    return `images:${key}`;
  };

  const withSdk = async (operation: string, body: object): Promise<Flow> => {
    const { access, secret, projectId } = stack.identity;
    const script = join(__dirname, '../clients/import_doors.py');
    const { stdout } = await run(PYTHON, [
      script,
      stack.url,
      access,
      secret,
      projectId,
      operation,
      JSON.stringify(body),
    ]);
    // Written by the script.
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Flow;
  };

  /** As it is on the wire: the SDK drops the underscores that attributes begin with. */
  const imageOf = async (id: string): Promise<unknown> => (await stack.call('GET', `/v2/cloudimages?id=${id}`)).json;

  it.each(['create_data_image', 'create_data_image_in_safe_mode'])(
    '%s of the official SDK makes a data image of the same bytes, with the attributes of data whatever lies on it (CRE-14, IMG-10)',
    async (operation) => {
      const image_url = await put('qcow2-v3', operation);
      const { job, list } = await withSdk(operation, {
        name: 'db-data',
        image_url,
        min_disk: 40,
        os_type: 'Windows',
        tags: ['team.ops'],
      });
      expect(job).toMatchObject({ status: 'SUCCESS', job_type: 'imsImportDataImageJob', fail_reason: null });
      const { image_id: id } = job.entities;
      expect(list).toEqual([expect.objectContaining({ id, name: 'db-data', status: 'active', min_disk: 40 })]);
      const shown = await imageOf(id);
      expect(shown).toMatchObject({
        images: [
          {
            disk_format: 'zvhd2',
            virtual_env_type: 'DataImage',
            __os_type: 'Windows',
            tags: ['team=ops'],
            __data_origin: `file,${image_url}`,
          },
        ],
      });
      // The disk holds a Debian, and it stays data.
      expect(shown).not.toHaveProperty('images.0.__os_version');
      expect(await stack.guestSha256(job.entities.image_id)).toBe(rawSha256);
    },
    TEST_DEADLINE_MS,
  );

  it.each<[string, DiskVariant, Record<string, unknown>, Record<string, unknown>]>([
    [
      'import_image_quick',
      'zvhd2',
      { os_version: UBUNTU, type: 'ECS', min_disk: 1 },
      { virtual_env_type: 'FusionCompute', __os_version: UBUNTU },
    ],
    [
      'import_image_quick_in_safe_mode',
      'raw',
      { os_version: UBUNTU, min_disk: 1 },
      { virtual_env_type: 'FusionCompute', __os_version: UBUNTU },
    ],
    [
      'import_image_quick',
      'raw',
      { os_version: UBUNTU, type: 'DataImage', min_disk: 40 },
      { virtual_env_type: 'DataImage', __os_type: 'Linux' },
    ],
  ])(
    '%s of the official SDK takes %s with %j and serves the same bytes (FMT-03, IMG-10)',
    async (operation, variant, body, expected) => {
      const image_url = await put(variant, `${operation}-${String(body['type'])}`);
      const { job } = await withSdk(operation, { name: 'quick', image_url, ...body });
      expect(job).toMatchObject({ status: 'SUCCESS', job_type: 'imsImportImageJob', fail_reason: null });
      expect(await imageOf(job.entities.image_id)).toMatchObject({ images: [{ status: 'active', ...expected }] });
      expect(await stack.guestSha256(job.entities.image_id)).toBe(rawSha256);
    },
    TEST_DEADLINE_MS,
  );

  it('takes quickly by the general call too (FMT-03)', async () => {
    const image_url = await put('zvhd2', 'general');
    const body = { name: 'quick', image_url, min_disk: 1, os_version: UBUNTU, is_quick_import: true };
    const job = await stack.runJob('/v2/cloudimages/action', body);
    expect(job).toMatchObject({ status: 'SUCCESS', fail_reason: null });
    expect(await stack.guestSha256(job.entities.image_id)).toBe(rawSha256);
  });

  it('refuses a raw file without its bitmap as a quick import (FMT-03)', async () => {
    const image_url = await putHole('no-bitmap.raw', 512);
    const job = await stack.runJob(QUICK_IMPORT, { name: 'quick', image_url, min_disk: 1, os_version: UBUNTU });
    expect(job).toMatchObject({ status: 'FAIL', error_code: 'IMG.0158' });
  });

  it('knows the longest file of either import before bytes move (FMT-02, FMT-03)', async () => {
    const long = await putHole('long.raw', 129 * GIB);
    expect(await stack.runJob(DATA_IMAGE, { name: 'long', image_url: long, min_disk: 200 })).toMatchObject({
      status: 'FAIL',
      error_code: 'IMG.0059',
    });
    const tooLong = await putHole('too-long.raw', 1024 * GIB + 512);
    const quick = { name: 'long', image_url: tooLong, min_disk: 2048, type: 'DataImage' };
    expect(await stack.runJob(QUICK_IMPORT, quick)).toMatchObject({ status: 'FAIL', error_code: 'IMG.0158' });
  });

  it('takes a data disk that is as large as the disk in the file (CRE-15)', async () => {
    const image_url = await putHole('as-large.raw', 40 * GIB + 512);
    const body = { name: 'as-large', image_url, min_disk: 41 };
    expect(await stack.runJob(DATA_IMAGE, body)).toMatchObject({ status: 'SUCCESS' });
  });

  it('takes a file of more than 128 GB quickly (FMT-03)', async () => {
    const image_url = await putHole('large.raw', 129 * GIB);
    await putHole('large.mf', 1);
    const body = { name: 'large', image_url, min_disk: 129, type: 'DataImage' };
    expect(await stack.runJob(QUICK_IMPORT, body)).toMatchObject({ status: 'SUCCESS', fail_reason: null });
  });
});
