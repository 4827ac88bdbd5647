import { randomBytes, randomUUID } from 'node:crypto';
import { IMAGE_CREATE_STEPS } from '@ims/contract';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { inTransaction } from '../in-transaction';
import { type ProjectedEvent, project } from '../projections/project';
import { JobsRepository } from './jobs.repository';
import { OutboxRepository } from './outbox.repository';
import { ProgressRepository } from './progress.repository';
import { QuotaRepository } from './quota.repository';
import { StepAttemptsRepository } from './step-attempts.repository';
import { UsageRepository } from './usage.repository';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.drop());

const hex = () => randomBytes(16).toString('hex');
const AT = new Date('2026-11-24T10:00:00.250Z');

/** Applies events as the log does once it has recorded them. */
const apply = (
  projectId: string,
  events: { streamId: string; event: Pick<ProjectedEvent, 'type' | 'data'>; at?: Date }[],
) =>
  inTransaction(database.db, async (trx) => {
    for (const { streamId, event, at } of events) {
      // The caller writes type and data of one event type side by side.
      await project(trx, { ...event, streamId, projectId, occurredAt: at ?? AT } as ProjectedEvent);
    }
  });

async function aJob(projectId: string, at = AT): Promise<string> {
  const id = hex();
  await apply(projectId, [
    {
      streamId: `job:${id}`,
      at,
      event: {
        type: 'job.accepted',
        data: {
          jobType: 'imsImportImageJob',
          saga: 'image-create',
          imageId: randomUUID(),
          imageName: 'web',
          request: { name: 'web' },
          steps: [...IMAGE_CREATE_STEPS],
        },
      },
    },
  ]);
  return id;
}

describe(JobsRepository.name, () => {
  it('shows a project its own jobs only (ims-api 10.1)', async () => {
    const jobs = new JobsRepository(database.db);
    const projectId = hex();
    const id = await aJob(projectId);
    expect(await jobs.find(projectId, id)).toMatchObject({ id, status: 'INIT', begin_at: AT, end_at: null });
    expect(await jobs.find(hex(), id)).toBeUndefined();
    expect(await jobs.view(hex(), id)).toBeUndefined();
  });

  it('shows steps in the order of the saga, and the progress of the one that runs', async () => {
    const jobs = new JobsRepository(database.db);
    const projectId = hex();
    const id = await aJob(projectId);
    expect(await jobs.view(projectId, id)).toMatchObject({ steps: [], progress: undefined });
    await apply(projectId, [
      { streamId: `job:${id}`, event: { type: 'image-create.step-undone', data: { step: 'verify' } } },
      {
        streamId: `job:${id}`,
        event: {
          type: 'image-create.step-completed',
          data: { step: 'meter', output: { usageId: 'u', storedBytes: 1 } },
        },
      },
      { streamId: `job:${id}`, event: { type: 'image-create.step-undone', data: { step: 'ingest' } } },
    ]);
    await new ProgressRepository(database.db).report(id, 'ingest', 5, 10, AT);
    const view = await jobs.view(projectId, id);
    expect(view?.steps.map(({ step, state }) => [step, state])).toEqual([
      ['ingest', 'undone'],
      ['verify', 'undone'],
      ['meter', 'completed'],
    ]);
    expect(view?.progress).toMatchObject({ step: 'ingest', bytes_done: 5, bytes_total: 10 });
  });

  it('pages through the jobs of a project, newest first, also within one moment', async () => {
    const jobs = new JobsRepository(database.db);
    const projectId = hex();
    for (let n = 0; n < 7; n += 1) await aJob(projectId, new Date(AT.getTime() + (n % 3)));
    const whole = await jobs.list(projectId, 100);
    expect(whole).toHaveLength(7);
    const times = whole.map(({ begin_at }) => begin_at.getTime());
    expect(times).toEqual([...times].sort((a, b) => b - a));
    const paged: typeof whole = [];
    for (;;) {
      const page = await jobs.list(projectId, 2, paged.at(-1));
      if (page.length === 0) break;
      paged.push(...page);
    }
    expect(paged).toEqual(whole);
  });

  it('lists a job as open until it has an outcome, which then stays (I12)', async () => {
    const jobs = new JobsRepository(database.db);
    const projectId = hex();
    const id = await aJob(projectId);
    const open = async () => (await jobs.listOpen(1000)).some((job) => job.id === id);
    expect(await open()).toBe(true);
    const failed = { type: 'job.failed', data: { errorCode: 'IMG.0057', reason: 'hostile', step: null } } as const;
    await apply(projectId, [{ streamId: `job:${id}`, event: failed }]);
    expect(await open()).toBe(false);
    const succeeded = { type: 'job.succeeded', data: { imageId: null } } as const;
    await expect(apply(projectId, [{ streamId: `job:${id}`, event: succeeded }])).rejects.toThrow(/open job/);
    expect(await jobs.find(projectId, id)).toMatchObject({ status: 'FAIL', outcome: 'failed', error_code: 'IMG.0057' });
  });

  it('makes a second locker of a job wait for the first', async () => {
    const id = await aJob(hex());
    const order: string[] = [];
    let second: Promise<void> | undefined;
    await inTransaction(database.db, async (trx) => {
      await new JobsRepository(trx).lock(id);
      second = inTransaction(database.db, async (other) => {
        await new JobsRepository(other).lock(id);
        order.push('second');
      });
      // Long enough for the second one to have got the lock if nothing held it: it needs one statement, this takes several.
      for (let n = 0; n < 20; n += 1) await new JobsRepository(trx).find('', id);
      order.push('first');
    });
    await second;
    expect(order).toEqual(['first', 'second']);
  });
});

describe(ProgressRepository.name, () => {
  it('never goes back within a step, and starts again with the next one (I12)', async () => {
    const progress = new ProgressRepository(database.db);
    const id = await aJob(hex());
    const done = async () => (await new JobsRepository(database.db).progress(id))?.bytes_done;
    await progress.report(id, 'ingest', 50, 100, AT);
    await progress.report(id, 'ingest', 40, 100, AT);
    expect(await done()).toBe(50);
    await progress.report(id, 'verify', 10, 100, AT);
    expect(await done()).toBe(10);
    await progress.clear(id);
    await progress.clear(id);
    expect(await done()).toBeUndefined();
  });

  it('holds the bytes of a disk of 64 TiB', async () => {
    const id = await aJob(hex());
    await new ProgressRepository(database.db).report(id, 'ingest', 2 ** 46, 2 ** 46, AT);
    expect(await new JobsRepository(database.db).progress(id)).toMatchObject({ bytes_done: 2 ** 46 });
  });
});

describe(QuotaRepository.name, () => {
  const event = (projectId: string, type: 'quota.reserved' | 'quota.settled') => ({
    streamId: `quota:${projectId}:image`,
    event: { type, data: { resource: 'image', amount: 2, holder: 'h' } },
  });

  it('reads what the events have made of it, and nothing where there are none', async () => {
    const quota = new QuotaRepository(database.db);
    const projectId = hex();
    expect(await quota.read(projectId, 'image')).toEqual({ limit: null, used: 0, reserved: 0 });
    await apply(projectId, [
      event(projectId, 'quota.reserved'),
      event(projectId, 'quota.reserved'),
      event(projectId, 'quota.settled'),
    ]);
    expect(await quota.read(projectId, 'image')).toEqual({ limit: null, used: 2, reserved: 2 });
  });

  it('is never settled or released below zero (I8)', async () => {
    const projectId = hex();
    await apply(projectId, [event(projectId, 'quota.reserved')]);
    await expect(
      apply(projectId, [event(projectId, 'quota.settled'), event(projectId, 'quota.settled')]),
    ).rejects.toThrow(/reservation of 2/);
    expect(await new QuotaRepository(database.db).read(projectId, 'image')).toEqual({
      limit: null,
      used: 0,
      reserved: 2,
    });
  });

  it('lets exactly as many of 12 first reservations at once through as fit (CRE-23)', async () => {
    const projectId = hex();
    const admitted = await Promise.all(
      Array.from({ length: 12 }, () =>
        inTransaction(database.db, async (trx) => {
          const { image } = await QuotaRepository.lock(trx, projectId, ['image']);
          if (image.used + image.reserved + 2 > 7) return false;
          await project(trx, {
            type: 'quota.reserved',
            data: { resource: 'image', amount: 2, holder: 'h' },
            streamId: `quota:${projectId}:image`,
            projectId,
            occurredAt: AT,
          });
          return true;
        }),
      ),
    );
    expect(admitted.filter(Boolean)).toHaveLength(3);
    expect(await new QuotaRepository(database.db).read(projectId, 'image')).toMatchObject({ reserved: 6 });
  });

  it('refuses an event that lies in the stream of another project or resource', async () => {
    const projectId = hex();
    await expect(
      apply(projectId, [{ ...event(projectId, 'quota.reserved'), streamId: `quota:${hex()}:image` }]),
    ).rejects.toThrow(/belongs into the stream/);
  });
});

describe(UsageRepository.name, () => {
  it('finds a record until it is closed or voided, each once', async () => {
    const usage = new UsageRepository(database.db);
    const projectId = hex();
    const imageId = randomUUID();
    const streamId = `usage:${imageId}`;
    const open = async () => (await usage.findOpen(imageId)).map(({ id }) => id);
    const opened = (usageId: string) => ({
      streamId,
      event: {
        type: 'usage.opened',
        data: { usageId, imageId, meter: 'image-storage', quantityBytes: 2 ** 41 },
      } as const,
    });
    await apply(projectId, [opened(`${imageId}-1`), opened(`${imageId}-2`)]);
    expect(await open()).toEqual([`${imageId}-1`, `${imageId}-2`]);
    await apply(projectId, [{ streamId, event: { type: 'usage.closed', data: { usageId: `${imageId}-1` } } }]);
    await apply(projectId, [{ streamId, event: { type: 'usage.voided', data: { usageId: `${imageId}-2` } } }]);
    expect(await open()).toEqual([]);
    await expect(
      apply(projectId, [{ streamId, event: { type: 'usage.closed', data: { usageId: `${imageId}-2` } } }]),
    ).rejects.toThrow(/open usage record/);
  });
});

describe(OutboxRepository.name, () => {
  it('lists rows until they are sent, oldest first, and keeps the first time of sending', async () => {
    const outbox = new OutboxRepository(database.db);
    const row = { workflow_type: 'imageCreate', workflow_id: hex(), task_queue: 'q', input: '{"a":[1]}', summary: 's' };
    const [first, second] = [await outbox.add(row), await outbox.add({ ...row, workflow_id: hex() })];
    const unsent = async () => (await outbox.listUnsent(1000)).map(({ id }) => id);
    expect(await unsent()).toEqual([first, second]);
    await outbox.markSent(first, AT);
    await outbox.markSent(first, new Date(0));
    expect(await unsent()).toEqual([second]);
    expect(await outbox.find(first)).toMatchObject({ sent_at: AT, input: { a: [1] }, allow_duplicate: false });
  });
});

describe(StepAttemptsRepository.name, () => {
  it('keeps every attempt with how it ended, in the order in which they began', async () => {
    const attempts = new StepAttemptsRepository(database.db);
    const jobId = hex();
    const begin = (attempt: number) => attempts.begin({ jobId, step: 'ingest', attempt, worker: 'w', startedAt: AT });
    const [one, two] = [await begin(1), await begin(2)];
    await attempts.end(two, { outcome: 'completed', endedAt: AT, detail: { bytesWritten: 7 } });
    await attempts.end(one, { outcome: 'failed', endedAt: AT, error: 'connection lost' });
    expect(await attempts.list(jobId)).toMatchObject([
      { attempt: 1, outcome: 'failed', error: 'connection lost', detail: null },
      { attempt: 2, outcome: 'completed', error: null, detail: { bytesWritten: 7 } },
    ]);
  });
});
