import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { copyFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { jobViolations, makeDebianLikeDisk, temporaryDirectory, TestStack } from '@ims/testing';

const run = promisify(execFile);
/** The clients of test/clients/requirements.txt, as bootstrap installs them. */
const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const CLIENT = resolve(__dirname, '../clients/export_image.py');
const DEADLINE_MS = 120_000;

describe('export of an image into a bucket (EXP-01)', () => {
  let stack: TestStack;
  let raw: string;
  let imageId: string;

  beforeAll(async () => {
    stack = await TestStack.start();
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    await copyFile(raw, join(stack.bucketDirectory, 'disk.raw'));
    const body = { name: 'to export', image_url: 'images:disk.raw', min_disk: 1 };
    imageId = (await stack.runJob('/v2/cloudimages/action', body)).entities.image_id;
  }, DEADLINE_MS);
  afterAll(() => stack.stop());

  const refusalOf = async (id: string, body: object): Promise<unknown> => {
    const { status, json } = await stack.call('POST', `/v1/cloudimages/${id}/file`, body);
    return { status, ...(json as { error: object }).error };
  };

  it(
    'the official SDK exports it, and qemu-img finds the same disk in the object',
    async () => {
      const { access, secret, projectId } = stack.identity;
      const body = { bucket_url: 'images:out/debian.qcow2', file_format: 'qcow2' };
      const args = [CLIENT, stack.url, access, secret, projectId, imageId, JSON.stringify(body)];
      const { stdout } = await run(PYTHON, args);
      const { job } = JSON.parse(stdout) as { job: { job_id: string; entities: object } };
      expect(job).toMatchObject({
        status: 'SUCCESS',
        job_type: 'imsNativeExportImageJob',
        entities: { image_id: imageId },
      });
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
    },
    DEADLINE_MS,
  );

  it('the other door, for callers’ own keys, exports by quick export', async () => {
    const body = { bucket_url: 'images:out/debian.zvhd2', is_quick_export: true };
    const job = await stack.runJob(`/v2.1/cloudimages/${imageId}/file`, body);
    expect(job).toMatchObject({ status: 'SUCCESS', entities: { image_id: imageId } });
    const back = { name: 'again', image_url: 'images:out/debian.zvhd2', min_disk: 1 };
    expect(await stack.runJob('/v2/cloudimages/action', back)).toMatchObject({ status: 'SUCCESS' });
  });

  it('an export that cannot succeed is refused with the call (EXP-07)', async () => {
    await writeFile(join(stack.bucketDirectory, 'there.vhd'), 'mine');
    const vhd = { file_format: 'vhd' };
    expect(await refusalOf(imageId, { ...vhd, bucket_url: 'images:there.vhd' })).toMatchObject({
      status: 400,
      code: 'IMG.0070',
    });
    expect(await refusalOf(imageId, { ...vhd, bucket_url: 'no-such-bucket:x.vhd' })).toMatchObject({
      status: 400,
      code: 'IMG.0069',
    });
    expect(await refusalOf(randomUUID(), { ...vhd, bucket_url: 'images:x.vhd' })).toMatchObject({
      status: 404,
      code: 'IMG.0144',
    });
  });
});
