import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { whyNoMachine } from '@ims/neighbours';
import { convertDisk, makeBootableDebian, missingForDebian, temporaryDirectory, TestStack } from '@ims/testing';

// Half a minute on a quick line and an idle machine.
const MAKE_DEADLINE_MS = 15 * 60_000;
// Without hardware help a Debian takes a quarter of a minute; an emulator on a busy machine many times that.
const BOOT_DEADLINE_MS = 15 * 60_000;

describe('a real Debian (IMG-09, ADV-01)', () => {
  let stack: TestStack;

  beforeAll(async () => {
    const missing = await missingForDebian();
    if (missing.length > 0) throw new Error(`install ${missing.join(', ')} first`);
    const whyNot = await whyNoMachine('bios');
    if (whyNot !== undefined) throw new Error(whyNot);
    stack = await TestStack.start({ env: { IMS_CLOUD_QEMU: '1' } });
    const raw = await makeBootableDebian(await temporaryDirectory());
    await copyFile(await convertDisk(raw, 'qcow2-zlib'), join(stack.bucketDirectory, 'debian-12.qcow2'));
  }, MAKE_DEADLINE_MS);
  afterAll(() => stack.stop());

  const image = async (body: object): Promise<string> => {
    const job = await stack.runJob('/v2/cloudimages/action', { name: 'debian-12', ...body });
    expect(job).toMatchObject({ status: 'SUCCESS', fail_reason: null });
    return job.entities.image_id;
  };

  const serverThatSays = async (words: string, imageRef: string): Promise<string> => {
    const path = `/v1.1/${stack.identity.projectId}/cloudservers`;
    const server = {
      name: 'debian',
      imageRef,
      flavorRef: 's6.small.1',
      root_volume: { volumetype: 'SSD', size: 2 },
      metadata: { __boot_check: words },
    };
    const job = await stack.runJob(path, { server }, BOOT_DEADLINE_MS);
    expect(job).toMatchObject({ status: 'SUCCESS', fail_reason: null });
    const check = await stack.db
      .selectFrom('job_step')
      .select('output')
      .where('job_id', '=', job.job_id)
      .where('step', '=', 'boot-check')
      .executeTakeFirst();
    expect(check?.output).toEqual({ verdict: 'boots', evidence: expect.stringContaining(words) as string });
    return job.entities.server_id ?? '';
  };

  it(
    'imported from its file boots to login, and so does a server from an image of that server',
    async () => {
      const imported = await image({ image_url: 'images:debian-12.qcow2', min_disk: 2 });
      const first = await serverThatSays('login:', imported);
      const ofServer = await image({ instance_id: first });
      await serverThatSays('login:', ofServer);
    },
    2 * BOOT_DEADLINE_MS,
  );
});
