import { jobId as toJobId, jobStream, SYSTEM, TERMINAL_KEY } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents, readStream } from '@ims/event-log';
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
