import { randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { backupUsageStream, imageStream, jobStream } from '@ims/contract';
import { connect, inTransaction } from '@ims/db';
import { testDatabase, type TestDatabase, waitFor } from '@ims/testing';
import { sql } from 'kysely';
import { appendEvents } from '../append-events';
import { anImport, aProject } from '../spec-support/an-import';
import { listTraces } from '../traces/list-traces';
import { rebuildTraces } from '../traces/trace-rows';
import { eachSealed, lastSealed, readSealed } from './read-sealed';
import { LOOKS, SEAL_LOCK, sealEvents, sealVisible } from './seal-events';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase({ poolSize: 20 });
});
afterAll(() => database.drop());

// Other specs write to the same server, and a transaction of any of them holds the order back.
const seal = async () => expect(await sealVisible(database.db, 30_000)).toBe(true);

const append = (...[context, events]: [Parameters<typeof appendEvents>[1], Parameters<typeof appendEvents>[2]]) =>
  inTransaction(database.db, (trx) => appendEvents(trx, context, events));

/** A whole import by the log's own words, in the transactions in which it is committed. */
async function runImport(project = aProject()) {
  const work = anImport(project);
  await append(work.context, work.accepted);
  for (const group of [work.started, work.inspected, work.published, work.succeeded]) await append(work.system, group);
  return work;
}

describe(sealEvents.name, () => {
  it('numbers the events of each project from 0 without a gap, in an order that no commit changes (G3)', async () => {
    const projects = Array.from({ length: 3 }, () => aProject());
    let isOver = false;
    const sealing = Array.from({ length: 3 }, async () => {
      while (!isOver) {
        await sealEvents(database.db);
        await turn();
      }
    });
    /** What a reader has seen so far: it must be the beginning of what it sees later. */
    const seen = new Map<string, string[]>(projects.map((project) => [project, []]));
    const reading = (async () => {
      while (!isOver) {
        for (const [project, ids] of seen) {
          const page = await readSealed(database.db, { projectId: project, fromIndex: ids.length, limit: 7 });
          expect(page.map(({ logIndex }) => logIndex)).toEqual(page.map((_, place) => ids.length + place));
          ids.push(...page.map(({ eventId }) => eventId));
        }
        await turn();
      }
    })();
    const writers = Array.from({ length: 12 }, async (_, writer) => {
      for (let round = 0; round < 4; round += 1) {
        const work = await runImport(projects[writer % projects.length]);
        // A transaction that draws positions and gives up.
        await expect(
          inTransaction(database.db, async (trx) => {
            await appendEvents(trx, work.system, [
              {
                type: 'image.digested',
                stream: imageStream(work.image),
                key: 'd',
                data: { md5: '', sha512: '', sizeBytes: 1 },
              },
            ]);
            throw new Error('rolled back');
          }),
        ).rejects.toThrow('rolled back');
      }
    });
    await Promise.all(writers);
    const counts = await database.db
      .selectFrom('event')
      .select(['project_id', (eb) => eb.fn.countAll<number>().as('events')])
      .groupBy('project_id')
      .execute();
    await waitFor(
      () =>
        projects.every((project) =>
          counts.some((row) => row.project_id === project && row.events === seen.get(project)?.length),
        ),
      {
        deadlineMs: 30_000,
        what: 'everything is sealed and read',
      },
    );
    isOver = true;
    await Promise.all([...sealing, reading]);
    for (const [project, ids] of seen) {
      const rows = await database.db
        .selectFrom('event')
        .select('event_id')
        .where('project_id', '=', project)
        .orderBy('transaction_id')
        .orderBy('global_position')
        .execute();
      expect(ids).toEqual(rows.map(({ event_id }) => event_id));
    }
  });

  it('waits for a transaction that may still write in between, and skips nothing (G3)', async () => {
    const project = aProject();
    await seal();
    // Of their own streams alone: those of the quota would have the second wait for the first.
    const [early, late] = [anImport(project), anImport(project)];
    const own = ({ accepted }: typeof early) => accepted.slice(0, 2);
    let commit = (): void => undefined;
    const held = new Promise<void>((resolve) => (commit = resolve));
    let isWritten = (): void => undefined;
    const written = new Promise<void>((resolve) => (isWritten = resolve));
    const slow = inTransaction(database.db, async (trx) => {
      await appendEvents(trx, early.context, own(early));
      isWritten();
      await held;
    });
    await written;
    await append(late.context, own(late));
    expect(await sealEvents(database.db)).toBe(0);
    commit();
    await slow;
    await seal();
    const streams = (await readSealed(database.db, { projectId: project })).map(({ streamId }) => streamId);
    expect(streams.indexOf(jobStream(early.job))).toBeLessThan(streams.indexOf(jobStream(late.job)));
    expect(streams).toHaveLength(4);
  });

  it('keeps nobody waiting who reads while a sealer hangs in the middle of its pass, and seals all once it is gone', async () => {
    const project = aProject();
    await seal();
    let release = (): void => undefined;
    const hung = new Promise<void>((resolve) => (release = resolve));
    let isHeld = (): void => undefined;
    const held = new Promise<void>((resolve) => (isHeld = resolve));
    const stopped = inTransaction(database.db, async (trx) => {
      await sql`select pg_advisory_xact_lock(${SEAL_LOCK})`.execute(trx);
      isHeld();
      await hung;
    });
    await held;
    await runImport(project);
    // Longer than a pass takes, and far shorter than it takes Postgres to end what hangs.
    const isSealed = await sealVisible(database.db, 200);
    const found = await readSealed(database.db, { projectId: project });
    release();
    await stopped;
    expect(isSealed).toBe(false);
    expect(found).toEqual([]);
    await seal();
    expect((await readSealed(database.db, { projectId: project })).map(({ logIndex }) => logIndex).at(-1)).toBe(12);
  });

  it('skips nothing in a server whose transaction ids begin anew: what is recorded comes after what is sealed', async () => {
    const another = await testDatabase();
    const project = aProject();
    const owner = connect(another.ownerUrl, { poolSize: 1 });
    // As after a dump of a server that was some transactions ahead.
    const { rows } = await sql<{ next: string }>`
      update seal_cursor set transaction_id = (pg_current_xact_id()::text::numeric + 60)::text::xid8, global_position = 0
      returning transaction_id::text as next`.execute(owner);
    const work = anImport(project);
    await inTransaction(another.db, (trx) => appendEvents(trx, work.context, work.accepted));
    // Until the ids of this server have passed those of the old one nothing is known to be the last.
    await waitFor(
      async () => {
        const now = await sql<{ is: boolean }>`select pg_current_xact_id() > ${rows[0]?.next}::xid8 as is`.execute(
          owner,
        );
        return now.rows[0]?.is === true;
      },
      { deadlineMs: 30_000, everyMs: 1, what: 'the ids of the old server to be passed' },
    );
    expect(await sealVisible(another.db, 30_000)).toBe(true);
    expect(await readSealed(another.db, { projectId: project })).toHaveLength(work.accepted.length);
    await owner.destroy();
    await another.drop();
  });

  it('lets times of sealing grow with the index, so that a moment is an index for ever', async () => {
    const project = aProject();
    await runImport(project);
    await seal();
    const [first] = await readSealed(database.db, { projectId: project, limit: 1 });
    const before = await lastSealed(database.db, project, first?.sealedAt);
    await runImport(project);
    await seal();
    const events = await readSealed(database.db, { projectId: project });
    const times = events.map(({ sealedAt }) => sealedAt.getTime());
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(await lastSealed(database.db, project)).toBe(events.length - 1);
    expect(await lastSealed(database.db, project, new Date(0))).toBeUndefined();
    expect(before).toBe(events.filter(({ sealedAt }) => sealedAt.getTime() === times[0]).length - 1);
  });

  it('finds the events of a job, of an image and of a type (cts-api 8.5)', async () => {
    const project = aProject();
    const work = await runImport(project);
    await runImport(project);
    await seal();
    const all = await readSealed(database.db, { projectId: project });
    const of = async (filter: object) =>
      (await readSealed(database.db, { projectId: project, ...filter })).map(({ logIndex }) => logIndex);
    const mine = all.filter(({ jobId }) => jobId === work.job).map(({ logIndex }) => logIndex);
    expect(mine.length).toBeGreaterThan(8);
    expect(await of({ jobId: work.job })).toEqual(mine);
    expect(await of({ imageId: work.image })).toEqual(mine);
    expect(await of({ streamId: imageStream(work.image) })).toHaveLength(3);
    expect(await of({ type: 'job.accepted' })).toHaveLength(2);
    const paged = async (limit?: number) => {
      const found: number[] = [];
      const filter = { projectId: project, jobId: work.job, limit };
      for await (const { logIndex } of eachSealed(database.db, filter, 2)) found.push(logIndex);
      return found;
    };
    expect(await paged()).toEqual(mine);
    expect(await paged(5)).toEqual(mine.slice(0, 5));
    expect(await paged(mine.length)).toEqual(mine);
    expect(await of({ jobId: work.job, fromIndex: mine[1], toIndex: mine[3] })).toEqual(mine.slice(1, 4));
    expect(await readSealed(database.db, { projectId: aProject() })).toEqual([]);
  });

  it('finds what is charged for a backup with the image that was made of it (BIL-03)', async () => {
    const work = await runImport();
    await append(work.system, [
      {
        type: 'usage.opened',
        stream: backupUsageStream(randomUUID()),
        key: 'opened',
        data: { usageId: randomUUID(), imageId: work.image, meter: 'backup.storage', quantityBytes: 1 },
      },
    ]);
    await seal();
    const ofImage = await readSealed(database.db, { projectId: work.project, imageId: work.image });
    expect(ofImage.map(({ streamId }) => streamId)).toContainEqual(expect.stringMatching(/^usage:backup:/));
  });

  it('may be taken for append-only: the service can neither change nor remove a number or a trace', async () => {
    for (const table of ['event_seal', 'trace'] as const) {
      await expect(database.db.deleteFrom(table).execute()).rejects.toThrow('permission denied');
      await expect(database.db.updateTable(table).set({ log_index: 5 }).execute()).rejects.toThrow('permission denied');
    }
  });
});

describe('the list of traces', () => {
  it('comes out the same to the last byte when it is dropped and made again (cts-api 9, check 6)', async () => {
    const work = await runImport();
    await seal();
    const bytes = async () =>
      (
        await sql<{ row: string }>`select t::text as row from trace t order by project_id, log_index`.execute(
          database.db,
        )
      ).rows;
    const before = await bytes();
    expect(before.length).toBeGreaterThan(3);
    const owner = connect(database.ownerUrl, { poolSize: 1 });
    // Lost and wrong ones come back as well.
    await owner.deleteFrom('trace').where('is_step', '=', true).execute();
    await owner.updateTable('trace').set({ trace_name: 'wrong' }).where('project_id', '=', work.project).execute();
    await owner.destroy();
    expect(await rebuildTraces(database.ownerUrl)).toBe(before.length);
    expect(await bytes()).toEqual(before);
  });

  it('is walked by marker while new ones arrive, each old one once (cts-api 2.2, 9 check 3)', async () => {
    const project = aProject();
    for (let n = 0; n < 6; n += 1) await runImport(project);
    await seal();
    const old = (await listTraces(database.db, { projectId: project, limit: 200 })).traces.map((each) => each.trace_id);
    expect(old).toHaveLength(12);
    const walked: string[] = [];
    let marker: string | null = null;
    do {
      const page = await listTraces(database.db, {
        projectId: project,
        limit: 5,
        ...(marker === null ? {} : { marker }),
      });
      walked.push(...page.traces.map((each) => each.trace_id));
      marker = page.marker;
      await runImport(project);
      await seal();
    } while (marker !== null);
    expect(walked).toEqual(old);
  });
});

describe('a look at what is new', () => {
  it.each(['isAnythingSealable', 'newest'] as const)(
    'reads one row of one index, however long the log is: %s',
    async (look) => {
      const plan = await inTransaction(database.db, async (trx) => {
        // So few events are read faster without an index.
        await sql`set local enable_seqscan = off`.execute(trx);
        return sql<{ 'QUERY PLAN': string }>`explain ${LOOKS[look]}`.execute(trx);
      });
      const text = plan.rows.map((row) => row['QUERY PLAN']).join('\n');
      expect(text).toMatch(/Index (?:Only )?Scan(?: Backward)? using event_\d+_transaction_id/);
      expect(text).not.toMatch(/-> +Sort|Seq Scan on event/);
    },
  );
});

describe('what a page of traces reads', () => {
  it('is one index from the newest match on, whatever the filter (cts-api 2)', async () => {
    const project = aProject();
    const owner = connect(database.ownerUrl, { poolSize: 1 });
    await sql`
      insert into trace select ${project}, n, gen_random_uuid(), n % 6 <> 0, 'createImage' || n % 50, case when n % 500 = 0 then 'warning' else 'normal' end,
        'IMS', 'ims', 'image-' || n, 'name-' || n % 5000, 'user-' || n % 1000, null, null, '{}'
      from generate_series(1, 20000) as n`.execute(owner);
    await sql`analyze trace`.execute(owner);
    const plan = async (condition: string): Promise<string> => {
      const { rows } = await sql<{ 'QUERY PLAN': string }>`
        explain select * from trace where project_id = ${sql.lit(project)} and log_index <= 19000 and ${sql.raw(condition)}
        order by log_index desc limit 11`.execute(owner);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    for (const condition of [
      'not is_step',
      "resource_id = 'image-600'",
      "resource_name = 'name-600'",
      "trace_name = 'createImage12' and not is_step",
      "user_name = 'user-6'",
      "trace_rating = 'warning'",
    ]) {
      const text = await plan(condition);
      expect(text).toMatch(/Index (?:Only )?Scan(?: Backward)? using trace_/);
      expect(text).not.toMatch(/Sort|Seq Scan/);
    }
    await owner.destroy();
  });
});
