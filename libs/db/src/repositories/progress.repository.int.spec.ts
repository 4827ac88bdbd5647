import { testDatabase, type TestDatabase } from '@ims/testing';
import { systemClock } from '../clock';
import { ProgressRepository } from './progress.repository';

describe(ProgressRepository.name, () => {
  let database: TestDatabase;
  let progress: ProgressRepository;

  beforeAll(async () => {
    database = await testDatabase();
    progress = new ProgressRepository(database.db);
  });
  afterAll(() => database.drop());

  const report = (step: string, done: number): Promise<void> =>
    progress.report('j', step, done, 100, systemClock.now());
  const read = () =>
    database.db.selectFrom('job_progress').select(['step', 'bytes_done']).where('job_id', '=', 'j').executeTakeFirst();

  it('goes on within a step and starts anew with the next one', async () => {
    await report('ingest', 10);
    await report('ingest', 60);
    expect(await read()).toEqual({ step: 'ingest', bytes_done: 60 });
    await report('verify', 5);
    expect(await read()).toEqual({ step: 'verify', bytes_done: 5 });
  });

  it('does not go back when an attempt that was taken for dead reports (P5, I12)', async () => {
    await report('verify', 3);
    expect(await read()).toEqual({ step: 'verify', bytes_done: 5 });
    await database.db
      .insertInto('job_step')
      .values({ job_id: 'j', step: 'ingest', state: 'completed', output: null, completed_at: systemClock.now() })
      .execute();
    await report('ingest', 70);
    expect(await read()).toEqual({ step: 'verify', bytes_done: 5 });
  });
});
