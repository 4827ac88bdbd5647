import fc from 'fast-check';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { sql } from 'kysely';
import { systemClock } from '../clock';
import { inTransaction } from '../in-transaction';
import { JobsRepository } from './jobs.repository';
import { ProgressRepository } from './progress.repository';
import { StepAttemptsRepository } from './step-attempts.repository';

describe(ProgressRepository.name, () => {
  let database: TestDatabase;
  let progress: ProgressRepository;

  beforeAll(async () => {
    database = await testDatabase();
    progress = new ProgressRepository(database.db);
    await database.db
      .insertInto('job')
      .values({
        id: 'j',
        project_id: 'p',
        type: 'imsImportImageJob',
        saga: 'image-create',
        status: 'RUNNING',
        image_name: 'debian',
        request: '{}',
        steps: ['ingest', 'verify'],
        begin_at: systemClock.now(),
      })
      .execute();
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

  it('promises no end and counts no share while nobody knows how much there is (0 bytes in all)', async () => {
    await database.db
      .insertInto('job')
      .values({
        id: 'web',
        project_id: 'p',
        type: 'imsImportImageJob',
        saga: 'image-create',
        status: 'RUNNING',
        image_name: 'debian',
        request: '{}',
        steps: ['fetch', 'ingest'],
        begin_at: systemClock.now(),
      })
      .execute();
    const begun = systemClock.now().getTime();
    for (const second of [0, 1, 2, 3, 4, 5])
      await progress.report('web', 'fetch', second * 1000, 0, new Date(begun + second * 1000));
    const row = await new JobsRepository(database.db).progress('web');
    expect(row).toMatchObject({ bytes_done: 5000, step_share: 0, eta_at: null, bytes_per_second: 1000 });
  });

  it('notes with each tick what the attempt has done, so that a killed one leaves it (decision 003)', async () => {
    const attempts = new StepAttemptsRepository(database.db);
    const at = systemClock.now();
    const id = await attempts.begin({ jobId: 'j', step: 'verify', attempt: 1, worker: 'w', startedAt: at });
    await progress.report('j', 'verify', 20, 100, at, { id, detail: { bytesWritten: 7 } });
    const noted = { bytesWritten: 7, bytesDone: 20, bytesTotal: 100 };
    expect(await attempts.list('j')).toMatchObject([{ ended_at: null, outcome: null, detail: noted }]);
    await attempts.end(id, { outcome: 'failed', endedAt: at, error: 'gone', detail: noted });
    await progress.report('j', 'verify', 21, 100, at, { id, detail: { bytesWritten: 9 } });
    expect(await attempts.list('j')).toMatchObject([{ outcome: 'failed', detail: noted }]);
  });

  it('takes no report of a job that has ended, also when it waited for the end', async () => {
    await progress.clear('j');
    const waiting = await inTransaction(database.db, async (trx) => {
      await trx.updateTable('job').set({ status: 'FAIL', outcome: 'failed' }).where('id', '=', 'j').execute();
      const late = report('verify', 30);
      await untilBlocked();
      // Wrapped, or the transaction would wait for it.
      return { late };
    });
    await waiting.late;
    expect(await read()).toBeUndefined();
    const view = await new JobsRepository(database.db).view('p', 'j');
    expect(view?.progress).toMatchObject({ step: 'verify', bytes_done: 20, bytes_total: 100 });
  });

  it('promises an end that is only brought forward, and a share that only grows, however erratic the reports are (I12)', async () => {
    const tick = fc.record({
      step: fc.constantFrom('ingest', 'ingest', 'ingest', 'verify'),
      done: fc.integer({ min: 0, max: 2 ** 40 }),
      total: fc.integer({ min: 0, max: 2 ** 40 }),
      // Also none, and a clock that was set back.
      ms: fc.oneof(fc.integer({ min: 200, max: 4_000 }), fc.integer({ min: -60_000, max: 3_600_000 })),
    });
    const begin = systemClock.now().getTime();
    let promised = 0;
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(tick, { minLength: 4, maxLength: 16 }), async (ticks) => {
        run += 1;
        const id = `erratic-${run}`;
        await database.db
          .insertInto('job')
          .values({
            id,
            project_id: 'p',
            type: 'imsImportImageJob',
            saga: 'image-create',
            status: 'RUNNING',
            image_name: 'debian',
            request: '{}',
            steps: ['inspect', 'ingest', 'verify', 'publish'],
            begin_at: systemClock.now(),
          })
          .execute();
        let at = begin;
        let before: { step: string; share: number; etaAt: number } | undefined;
        for (const { step, done, total, ms } of ticks) {
          at += ms;
          await progress.report(id, step, done, total, new Date(at));
          const row = await new JobsRepository(database.db).progress(id);
          if (row === undefined) throw new Error('there is no progress');
          const etaAt = row.eta_at?.getTime() ?? Infinity;
          expect(row.step_share).toBeGreaterThanOrEqual(row.step === before?.step ? before.share : 0);
          expect(row.step_share).toBeLessThanOrEqual(1);
          expect(etaAt).toBeLessThanOrEqual(before?.etaAt ?? Infinity);
          expect(row.bytes_per_second ?? 0).toBeGreaterThanOrEqual(0);
          if (etaAt !== Infinity) promised += 1;
          before = { step: row.step, share: row.step_share, etaAt };
        }
      }),
      // Each run is some forty statements.
      { numRuns: 40 },
    );
    expect(promised).toBeGreaterThan(0);
  });

  it('knows the rate and the end of a job that goes on evenly', async () => {
    const id = 'even';
    await database.db
      .insertInto('job')
      .values({
        id,
        project_id: 'p',
        type: 'imsImportImageJob',
        saga: 'image-create',
        status: 'RUNNING',
        image_name: 'debian',
        request: '{}',
        steps: ['ingest', 'verify'],
        begin_at: systemClock.now(),
      })
      .execute();
    const begin = systemClock.now().getTime();
    for (let s = 0; s <= 10; s += 1) await progress.report(id, 'ingest', s * 100, 7_000, new Date(begin + s * 1_000));
    const row = await new JobsRepository(database.db).progress(id);
    expect(row?.bytes_per_second).toBeCloseTo(100);
    // Sixty seconds are left of the step, and by its weight verifying takes two sevenths of seventy.
    expect(((row?.eta_at?.getTime() ?? 0) - begin) / 1_000).toBeCloseTo(10 + 60 + 20, 0);
  });

  async function untilBlocked(): Promise<void> {
    const deadline = systemClock.now().getTime() + 10_000;
    for (;;) {
      const { rows } = await sql`
        select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%open_job%'`.execute(
        database.db,
      );
      if (rows.length > 0) return;
      if (systemClock.now().getTime() > deadline) throw new Error('the report did not wait for the job');
    }
  }
});
