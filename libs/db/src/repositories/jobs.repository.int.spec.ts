import { testDatabase, type TestDatabase } from '@ims/testing';
import type { KyselyPlugin } from 'kysely';
import { systemClock } from '../clock';
import { JobsRepository } from './jobs.repository';
import { ProgressRepository } from './progress.repository';

const PROJECT = 'f'.repeat(32);

describe(JobsRepository.name, () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database.drop());

  /** Does something right after the answer to the n-th query has come. */
  function afterQuery(n: number, act: () => Promise<unknown>): KyselyPlugin {
    let queries = 0;
    return {
      transformQuery: ({ node }) => node,
      transformResult: async ({ result }) => {
        queries += 1;
        if (queries === n) await act();
        return result;
      },
    };
  }

  it.each([1, 2, 3])('shows no later step without the one before, when a step ends after read %d (I12)', async (n) => {
    const { db } = database;
    const id = String(n).repeat(32);
    const steps = ['ingest', 'verify'];
    await db
      .insertInto('job')
      .values({
        id,
        project_id: PROJECT,
        type: 'imsImportImageJob',
        saga: 'image-create',
        status: 'RUNNING',
        image_name: 'debian',
        request: '{}',
        steps,
        begin_at: systemClock.now(),
      })
      .execute();
    const progress = new ProgressRepository(db);
    await progress.report(id, 'ingest', 90, 100, systemClock.now());
    const ingestEnds = async (): Promise<void> => {
      await db
        .insertInto('job_step')
        .values({ job_id: id, step: 'ingest', state: 'completed', output: null, completed_at: systemClock.now() })
        .execute();
      await progress.report(id, 'verify', 1, 100, systemClock.now());
    };
    const view = await new JobsRepository(db.withPlugin(afterQuery(n, ingestEnds))).view(PROJECT, id);
    const completed = view?.steps.filter((step) => step.completed_at !== null).map(({ step }) => step);
    // Ingest either goes on or is done; in between a share of 90 % would be lost from the percentage.
    const known = view?.progress?.step === 'ingest' || completed?.includes('ingest') === true;
    expect({ known, progress: view?.progress?.step, completed }).toMatchObject({ known: true });
  });
});
