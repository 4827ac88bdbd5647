import { jobDocument, jobId as toJobId, jobList, jobStream, SYSTEM, TERMINAL_KEY } from '@ims/contract';
import { inTransaction, ProgressRepository, systemClock } from '@ims/db';
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

type Verb = 'pause' | 'resume' | 'cancel';
const tell = (verb: Verb, id: string, as = token, inProject: string = gateway.identity.projectId) =>
  gateway.app.inject({ method: 'POST', url: `/v1/${inProject}/jobs/${id}/${verb}`, headers: { 'x-auth-token': as } });
const show = async (id: string) =>
  jobDocument.parse(
    (await gateway.app.inject({ url: `/v1/cloudimages/job/${id}`, headers: { 'x-auth-token': token } })).json(),
  );
const typesOf = async (id: string) =>
  (await readStream(gateway.parts.db, jobStream(toJobId(id)))).map(({ type }) => type);
const end = (id: string) =>
  inTransaction(gateway.parts.db, (trx) =>
    appendEvents(trx, { projectId: gateway.identity.projectId, actor: SYSTEM, jobId: id }, [
      {
        type: 'job.failed',
        stream: jobStream(toJobId(id)),
        key: TERMINAL_KEY,
        data: { errorCode: 'IMG.0057', reason: 'gone', step: 'inspect' },
      },
    ]),
  );

describe(`${JobCancelService.name}: pause and resume`, () => {
  it('records each pause and each end of one once, however often it is said, and shows it beside the status', async () => {
    const { jobId } = await createJob(gateway, token);
    const answers = await Promise.all([tell('pause', jobId), tell('pause', jobId), tell('pause', jobId)]);
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([202, 202, 202]);
    expect(answers[0]?.json()).toEqual({ job_id: jobId });
    const paused = await show(jobId);
    expect(paused).toMatchObject({ status: 'INIT', paused: true });
    expect(Date.parse(paused.paused_at ?? '')).not.toBeNaN();
    await tell('resume', jobId);
    expect(await show(jobId)).not.toHaveProperty('paused');
    expect((await tell('resume', jobId)).statusCode).toBe(202);
    await tell('pause', jobId);
    expect(await typesOf(jobId)).toEqual(['job.accepted', 'job.paused', 'job.resumed', 'job.paused']);
  });

  it('tells no rate and no end while the job is paused, and forgets both', async () => {
    const { jobId } = await createJob(gateway, token);
    const progress = new ProgressRepository(gateway.parts.db);
    const begun = systemClock.now().getTime();
    for (const second of [0, 1, 2, 3, 4]) {
      await progress.report(jobId, 'ingest', second * 1000, 100_000, new Date(begun + second * 1000));
    }
    expect(await show(jobId)).toMatchObject({ bytes_done: 4000, bytes_total: 100_000, bytes_per_second: 1000 });
    expect((await show(jobId)).eta_seconds).toBeGreaterThan(90);
    await tell('pause', jobId);
    const paused = await show(jobId);
    expect(paused).toMatchObject({ bytes_done: 4000, bytes_total: 100_000 });
    expect(Object.keys(paused)).not.toEqual(expect.arrayContaining(['bytes_per_second']));
    await tell('resume', jobId);
    expect(Object.keys(await show(jobId))).not.toEqual(expect.arrayContaining(['eta_seconds']));
  });

  it('refuses what has ended, and what is being cancelled, with 409; a paused job can be cancelled', async () => {
    const ended = await createJob(gateway, token);
    await end(ended.jobId);
    const cancelled = await createJob(gateway, token);
    await tell('pause', cancelled.jobId);
    expect((await tell('cancel', cancelled.jobId)).statusCode).toBe(202);
    const answers = [
      await tell('pause', ended.jobId),
      await tell('resume', ended.jobId),
      await tell('pause', cancelled.jobId),
    ];
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([409, 409, 409]);
    expect(await show(ended.jobId)).not.toHaveProperty('paused');
  });

  it('asks for credentials, for the action that started the job, and for a job of the project (IMG.0023, IMG.0026)', async () => {
    const { jobId } = await createJob(gateway, token);
    const other = await gateway.anotherAccount();
    const owner = await gateway.anotherAccount();
    const theirs = await createJob(gateway, owner.token);
    await gateway.parts.db
      .updateTable('iam_user')
      .set({ permissions: ['ims:dataImages:create'] })
      .where('id', '=', owner.userId)
      .execute();
    for (const verb of ['pause', 'resume'] as const) {
      const codes = [
        await tell(verb, jobId, ''),
        await tell(verb, theirs.jobId, owner.token, owner.projectId),
        await tell(verb, jobId, other.token, other.projectId),
        await tell(verb, 'nope'),
        await tell(verb, 'f'.repeat(32)),
      ].map(({ statusCode }) => statusCode);
      expect(codes).toEqual([401, 403, 404, 404, 404]);
    }
    expect(await typesOf(theirs.jobId)).toEqual(['job.accepted']);
  });
});

describe(`${JobsService.name}: the list of jobs`, () => {
  it('tells of a job that has failed how far it came, like the job itself (I12)', async () => {
    const { jobId } = await createJob(gateway, token);
    await gateway.parts.db
      .insertInto('step_attempt')
      .values({
        job_id: jobId,
        step: 'ingest',
        attempt: 1,
        worker: 'test',
        started_at: systemClock.now(),
        detail: JSON.stringify({ bytesDone: 50, bytesTotal: 100 }),
      })
      .execute();
    await end(jobId);
    const url = `/v1/${gateway.identity.projectId}/jobs?limit=200`;
    const answer = await gateway.app.inject({ url, headers: { 'x-auth-token': token } });
    const listed = jobList.parse(answer.json()).jobs.find(({ job_id: id }) => id === jobId);
    expect(listed?.entities.process_percent).toBeGreaterThan(0.3);
    expect(listed).toEqual(await show(jobId));
  });

  it('is newest first, by pages, of one project alone, and by status', async () => {
    const owner = await gateway.anotherAccount();
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) ids.unshift((await createJob(gateway, owner.token, { name: `n-${n}` })).jobId);
    await gateway.parts.db
      .updateTable('job')
      .set({ status: 'FAIL', outcome: 'failed' })
      .where('id', '=', ids[1] ?? '')
      .execute();
    const list = async (query: string) => {
      const url = `/v1/${owner.projectId}/jobs?${query}`;
      const answer = await gateway.app.inject({ url, headers: { 'x-auth-token': owner.token } });
      return { status: answer.statusCode, ...(answer.statusCode === 200 ? jobList.parse(answer.json()) : {}) };
    };
    const seen: string[] = [];
    for (let marker = ''; ;) {
      const page = await list(`limit=2${marker}`);
      seen.push(...(page.jobs ?? []).map(({ job_id: id }) => id));
      if (page.next_marker === undefined) break;
      marker = `&marker=${page.next_marker}`;
    }
    // Jobs of one millisecond follow their ids.
    expect(seen.toSorted()).toEqual(ids.toSorted());
    expect((await list('status=FAIL')).jobs?.map(({ job_id: id }) => id)).toEqual([ids[1]]);
    expect((await list('status=open')).jobs).toHaveLength(4);
    const { jobId: foreign } = await createJob(gateway, token);
    const refused = ['status=nothing', 'limit=0', 'limit=201', 'limit=x', `marker=${foreign}`, 'marker=nope'];
    expect(await Promise.all(refused.map(async (query) => (await list(query)).status))).toEqual([
      400, 400, 400, 400, 404, 404,
    ]);
  });
});
