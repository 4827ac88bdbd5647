import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { jobId as toJobId, jobStream, projectId as toProjectId, SYSTEM } from '@ims/contract';
import { connect, inTransaction, StepAttemptsRepository, systemClock } from '@ims/db';
import { appendEvents, type NewEvent, readStream } from '@ims/event-log';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { type StepRun, runStep } from './run-step';

const OUTPUT = { images: [] };

describe('a step whose job is paused', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database.drop());

  const project = toProjectId(randomBytes(16).toString('hex'));
  const stream = (id: string) => jobStream(toJobId(id));
  const tell = (id: string, event: NewEvent): Promise<unknown> =>
    inTransaction(database.db, (trx) =>
      appendEvents(trx, { projectId: project, actor: SYSTEM, jobId: toJobId(id) }, [event]),
    );

  async function aJob(): Promise<string> {
    const id = randomBytes(16).toString('hex');
    const data = { jobType: 'imsVolumesToSysDataImagesJob', saga: 'image-batch', imageId: null, imageName: 'several' };
    await tell(id, {
      type: 'job.accepted',
      stream: stream(id),
      key: 'accepted',
      data: { ...data, request: {}, steps: ['sub-jobs'] },
    });
    return id;
  }
  const pause = (id: string) =>
    tell(id, { type: 'job.paused', stream: stream(id), key: 'paused:1', data: { reason: 'by the test' } });
  const resume = (id: string) =>
    tell(id, { type: 'job.resumed', stream: stream(id), key: 'resumed:1', data: { reason: 'by the test' } });
  const cancel = (id: string) =>
    tell(id, { type: 'job.cancel-requested', stream: stream(id), key: 'cancel-requested', data: { reason: 'enough' } });

  const run = (id: string, effect: (run: StepRun) => Promise<typeof OUTPUT>, more: { isFinal?: boolean } = {}) =>
    new MockActivityEnvironment(undefined, { logger: new DefaultLogger('ERROR', () => undefined) }).run(() =>
      runStep(
        { db: database.db, clock: systemClock, worker: 'test' },
        {
          name: 'sub-jobs',
          saga: 'image-batch',
          input: { jobId: id, epoch: 1 },
          effect,
          parse: () => OUTPUT,
          ...more,
        },
      ),
    );
  const done = () => Promise.resolve(OUTPUT);
  const attempts = async (id: string) =>
    (await new StepAttemptsRepository(database.db).list(id)).map(({ outcome }) => outcome);
  const typesOf = async (id: string) => (await readStream(database.db, stream(id))).map(({ type }) => type);

  it('lets go of the work it is at, and does it once the job is resumed; one event stands for it', async () => {
    const id = await aJob();
    const working = run(id, async ({ signal }) => {
      await pause(id);
      await once(signal, 'abort');
      throw signal.reason;
    });
    await expect(working).rejects.toMatchObject({ type: 'JobPaused', nonRetryable: false });
    expect(await attempts(id)).toEqual(['paused']);
    // A look at a job that is still paused is no attempt.
    await expect(run(id, () => Promise.reject(new Error('it ran')))).rejects.toMatchObject({ type: 'JobPaused' });
    expect(await attempts(id)).toEqual(['paused']);
    await resume(id);
    expect(await run(id, done)).toEqual(OUTPUT);
    expect(await typesOf(id)).toEqual(['job.accepted', 'job.paused', 'job.resumed', 'image-batch.step-completed']);
    expect(await attempts(id)).toEqual(['paused', 'completed']);
  });

  it('keeps what it was about to finish: work that is done counts, paused or not', async () => {
    const id = await aJob();
    const output = await run(id, async () => {
      await pause(id);
      return OUTPUT;
    });
    expect(output).toEqual(OUTPUT);
    expect(await typesOf(id)).toContain('image-batch.step-completed');
  });

  it('goes on when it is one that nobody can call back', async () => {
    const id = await aJob();
    await pause(id);
    expect(await run(id, done, { isFinal: true })).toEqual(OUTPUT);
  });

  it('hears of a cancellation at once', async () => {
    const id = await aJob();
    await pause(id);
    await cancel(id);
    await expect(run(id, done)).rejects.toMatchObject({ nonRetryable: true, message: 'enough' });
  });

  it('outlives a database that answers strangely, however often it was looked at before', async () => {
    const id = await aJob();
    const strange = connect(database.url, { poolSize: 1, schema: 'nowhere' });
    // The engine counts every look at a paused job: these are half a day of them.
    const late = new MockActivityEnvironment(
      { attempt: 10_000 },
      { logger: new DefaultLogger('ERROR', () => undefined) },
    );
    for (const isFinal of [false, true]) {
      const step = { name: 'sub-jobs', saga: 'image-batch', input: { jobId: id, epoch: 1 }, isFinal } as const;
      const failed = late.run(() =>
        runStep({ db: strange, clock: systemClock, worker: 'test' }, { ...step, effect: done, parse: () => OUTPUT }),
      );
      await expect(failed).rejects.toMatchObject({ type: 'IMG.0061', nonRetryable: false });
    }
    await strange.destroy();
  });

  it('has as much patience with failures as one that was never paused', async () => {
    const id = await aJob();
    const broken = () => run(id, () => Promise.reject(new Error('broken')));
    await expect(broken()).rejects.toMatchObject({ nonRetryable: false });
    await pause(id);
    for (let look = 0; look < 10; look += 1) await expect(broken()).rejects.toMatchObject({ type: 'JobPaused' });
    await resume(id);
    await expect(broken()).rejects.toMatchObject({ type: 'IMG.0061', nonRetryable: false });
  });
});
