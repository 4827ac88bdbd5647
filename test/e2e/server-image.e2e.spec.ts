import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type EmbeddedCloud, openEmbeddedCloud, type Server } from '@ims/neighbours';
import { makeDebianLikeDisk, sha256OfRaw, temporaryDirectory, TestStack, waitFor } from '@ims/testing';

interface Job {
  status: string;
  job_type: string;
  error_code: string | null;
  fail_reason: string | null;
  entities: { image_id: string };
}

describe('an image of a server, end to end (CRE-01)', () => {
  let stack: TestStack;
  let cloud: EmbeddedCloud;
  let raw: string;

  beforeAll(async () => {
    stack = await TestStack.start();
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    cloud = await openEmbeddedCloud({
      db: stack.db,
      directory: stack.cloudDirectory,
      // No server of this test is made from an image.
      images: { open: ({ imageId }) => Promise.reject(new Error(`image ${imageId} is not for this test`)) },
      qemu: false,
    });
  });
  afterAll(async () => {
    await cloud.close();
    await stack.stop();
  });

  const aServer = (initialStatus: 'ACTIVE' | 'SHUTOFF'): Promise<Server> =>
    cloud.servers.create({
      id: randomUUID(),
      projectId: stack.identity.projectId,
      name: 'web-01',
      kind: 'ecs',
      flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
      availabilityZone: 'az1',
      volumes: [
        { id: randomUUID(), create: { sizeGib: 1, use: 'system', origin: { from: 'file', path: raw } }, bootIndex: 0 },
        { id: randomUUID(), create: { sizeGib: 10, origin: { from: 'blank' } }, bootIndex: null },
      ],
      initialStatus,
    });

  const ended = async (id: string): Promise<Job | undefined> => {
    let job: Job | undefined;
    await waitFor(
      async () => {
        job = (await stack.call('GET', `/v1/${stack.identity.projectId}/jobs/${id}`)).json as Job;
        return job.status === 'SUCCESS' || job.status === 'FAIL';
      },
      { deadlineMs: 60_000, what: `job ${id} ends` },
    );
    return job;
  };

  const snapshots = () => stack.db.selectFrom('cloud.snapshot').select('id').execute();

  it.each(['ACTIVE', 'SHUTOFF'] as const)(
    'of a server that is %s serves the bytes of its system disk and leaves no snapshot (CRE-03)',
    async (status) => {
      const server = await aServer(status);
      const accepted = await stack.call('POST', '/v2/cloudimages/action', {
        name: `of-${status}`,
        instance_id: server.id,
      });
      expect(accepted).toMatchObject({ status: 200 });
      const job = await ended((accepted.json as { job_id: string }).job_id);
      expect(job).toMatchObject({ status: 'SUCCESS', job_type: 'imsCreateImageByInstance', fail_reason: null });

      const imageId = job?.entities.image_id ?? '';
      const list = await stack.call('GET', `/v2/cloudimages?id=${imageId}`);
      expect(list.json).toMatchObject({
        images: [
          {
            status: 'active',
            min_disk: 1,
            virtual_env_type: 'FusionCompute',
            __data_origin: `instance,${server.id}`,
            __image_source_type: 'uds',
            __os_type: 'Linux',
            __os_bit: '64',
          },
        ],
      });
      const body = await stack.download(`/v2/images/${imageId}/file?format=raw`);
      const source = await readFile(raw);
      // The disk is larger than the file it was made from.
      expect(body.length).toBe(2 ** 30);
      expect(createHash('sha256').update(body.subarray(0, source.length)).digest('hex')).toBe(await sha256OfRaw(raw));
      expect(Buffer.alloc(body.length - source.length).equals(body.subarray(source.length))).toBe(true);
      expect(await snapshots()).toEqual([]);
      expect(await cloud.servers.get(stack.identity.projectId, server.id)).toMatchObject({ status, taskState: null });
    },
  );
});
