import { jobId as toJobId, jobStream, SERVICE_PROJECT, SYSTEM, TERMINAL_KEY } from '@ims/contract';
import { inTransaction, systemClock } from '@ims/db';
import { appendEvents, readStream } from '@ims/event-log';
import { StoreCollection } from '@ims/job-engine';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { createJob } from '../testing/published-image';
import { JobCancelService } from './job-cancel.service';
import { JobsService } from './jobs.service';

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const project = (): string => gateway.identity.projectId;
const cancel = (id: string, as = token, inProject = project()) =>
  gateway.app.inject({ method: 'POST', url: `/v1/${inProject}/jobs/${id}/cancel`, headers: { 'x-auth-token': as } });
const show = (id: string, as = token) =>
  gateway.app.inject({ url: `/v1/cloudimages/job/${id}`, headers: { 'x-auth-token': as } });

describe(JobCancelService.name, () => {
  it('records the wish once, however often it is said, and tells the engine', async () => {
    const { jobId } = await createJob(gateway, token);
    const answers = await Promise.all([cancel(jobId), cancel(jobId), cancel(jobId)]);
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([202, 202, 202]);
    expect(answers[0]?.json()).toEqual({ job_id: jobId });
    const events = await readStream(gateway.parts.db, jobStream(toJobId(jobId)));
    expect(events.map(({ type }) => type)).toEqual(['job.accepted', 'job.cancel-requested']);
    expect(gateway.handedToEngine.cancelled).toContain(jobId);
  });

  it('refuses a job that has ended with 409', async () => {
    const { jobId } = await createJob(gateway, token);
    await inTransaction(gateway.parts.db, (trx) =>
      appendEvents(trx, { projectId: project(), actor: SYSTEM, jobId }, [
        {
          type: 'job.failed',
          stream: jobStream(toJobId(jobId)),
          key: TERMINAL_KEY,
          data: { errorCode: 'IMG.0057', reason: 'image file is missing', step: 'inspect' },
        },
      ]),
    );
    expect((await cancel(jobId)).statusCode).toBe(409);
    expect((await show(jobId)).json()).toMatchObject({
      status: 'FAIL',
      error_code: 'IMG.0057',
      fail_reason: 'image file is missing',
    });
  });

  it("knows no job of the service itself: its collector is nobody's to see or to stop (I7)", async () => {
    const collection = new StoreCollection({
      db: gateway.parts.db,
      starter: gateway.parts.jobs,
      clock: systemClock,
      region: gateway.parts.config.region,
      isDue: () => Promise.resolve(true),
    });
    const id = (await collection.order()) ?? '';
    expect(id).not.toBe('');
    const answers = [await show(id), await cancel(id), await cancel(id, token, SERVICE_PROJECT)];
    // The last one names the service's project in its path: a token is good for its own project alone.
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([404, 404, 400]);
    expect((await readStream(gateway.parts.db, jobStream(toJobId(id)))).map(({ type }) => type)).toEqual([
      'job.accepted',
    ]);
  });

  const quick = (more: object) => ['/v2/cloudimages/quickimport/action', { min_disk: 40, ...more }] as const;
  const DATA_JOBS = [['/v1/cloudimages/dataimages/action', { min_disk: 40 }], quick({ type: 'DataImage' })] as const;
  const SYSTEM_JOBS = [
    ['/v2/cloudimages/action', { min_disk: 40 }],
    quick({ os_version: 'Ubuntu 18.04 Server 64bit' }),
  ] as const;

  it.each([
    ['ims:dataImages:create', 202, 'a data image', DATA_JOBS],
    ['ims:serverImages:create', 403, 'a data image', DATA_JOBS],
    ['ims:serverImages:create', 202, 'a system image', SYSTEM_JOBS],
    ['ims:dataImages:create', 403, 'a system image', SYSTEM_JOBS],
    ['ims:images:get', 403, 'any image', [...DATA_JOBS, ...SYSTEM_JOBS]],
  ] as const)(
    'a caller with %s alone gets %d for a job that makes %s, by whichever door it came',
    async (permission, status, _what, jobs) => {
      const owner = await gateway.anotherAccount();
      const permit = (permissions: string[]) =>
        gateway.parts.db.updateTable('iam_user').set({ permissions }).where('id', '=', owner.userId).execute();
      const answers = [];
      for (const [url, body] of jobs) {
        const created = await gateway.app.inject({
          method: 'POST',
          url,
          headers: { 'x-auth-token': owner.token },
          payload: { name: 'debian', image_url: 'images:disk.raw', ...body },
        });
        expect(created.statusCode).toBe(200);
        const { job_id: id } = created.json<{ job_id: string }>();
        await permit([permission]);
        answers.push(await cancel(id, owner.token, owner.projectId));
        await permit(['*']);
      }
      expect(answers.map(({ statusCode }) => statusCode)).toEqual(jobs.map(() => status));
      if (status === 403) {
        for (const answer of answers) expect(answer.json()).toMatchObject({ error: { code: 'IMG.0026' } });
      }
    },
  );

  it('knows no job of another project, and none that is malformed', async () => {
    const { jobId } = await createJob(gateway, token);
    const other = await gateway.anotherAccount();
    for (const answer of [
      await cancel(jobId, other.token, other.projectId),
      await cancel('nope'),
      await cancel('f'.repeat(32)),
    ]) {
      expect([answer.statusCode, answer.json<{ error: { code: string } }>().error.code]).toEqual([404, 'IMG.0023']);
    }
  });
});

describe(JobsService.name, () => {
  it('treats a foreign job as unknown: 404 IMG.0023 (ims-api 10.1)', async () => {
    const { jobId } = await createJob(gateway, token);
    const other = await gateway.anotherAccount();
    const answer = await show(jobId, other.token);
    expect([answer.statusCode, answer.json<{ error: { code: string } }>().error.code]).toEqual([404, 'IMG.0023']);
  });
});
