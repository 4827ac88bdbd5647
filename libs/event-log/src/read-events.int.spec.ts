import { type JobId, jobId, jobStream, type ProjectId, quotaStream, SYSTEM } from '@ims/contract';
import { connect, inTransaction } from '@ims/db';
import { testDatabase, type TestDatabase, waitFor } from '@ims/testing';
import { type Compilable, sql } from 'kysely';
import { randomBytes } from 'node:crypto';
import { appendEvents } from './append-events';
import { EventCursorError } from './event-log.errors';
import type { EventContext, NewEvent, RecordedEvent } from './event-log.port';
import { findEvent, readAll, readStream } from './read-events';
import { anImport, aProject } from './spec-support/an-import';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase({ poolSize: 20 });
});
afterAll(() => database.drop());

const append = (context: EventContext, events: NewEvent[]) =>
  inTransaction(database.db, (trx) => appendEvents(trx, context, events));

const reserve = (project: ProjectId, key: string): NewEvent => ({
  type: 'quota.reserved',
  stream: quotaStream(project, 'image'),
  key,
  data: { resource: 'image', amount: 1, holder: key },
});

/** A cursor behind everything there is. Other databases of the server hold readers back too, so it may take a moment to get there. */
async function endOfLog(): Promise<string> {
  let cursor: string | undefined;
  let count = 0;
  const { total } = await database.db
    .selectFrom('event')
    .select(({ fn }) => fn.countAll<number>().as('total'))
    .executeTakeFirstOrThrow();
  await waitFor(
    async () => {
      const page = await readAll(database.db, cursor, 1000);
      ({ cursor } = page);
      count += page.events.length;
      return count === total;
    },
    { deadlineMs: 30_000, what: 'all events to be readable' },
  );
  if (cursor === undefined) throw new Error('a page always has a cursor');
  return cursor;
}

/** Page after page from the cursor until so many events have come. */
async function read(
  from: string,
  expected: number,
  limit: number,
): Promise<{ events: RecordedEvent[]; cursor: string }> {
  const events: RecordedEvent[] = [];
  let cursor = from;
  await waitFor(
    async () => {
      for (;;) {
        const page = await readAll(database.db, cursor, limit);
        expect(page.events.length).toBeLessThanOrEqual(limit);
        events.push(...page.events);
        ({ cursor } = page);
        if (page.events.length === 0) return events.length >= expected;
      }
    },
    { deadlineMs: 60_000, what: `${expected} events to be readable` },
  );
  return { events, cursor };
}

/** The order a reader is promised: streams in their own order, nothing twice. */
function expectStreamOrder(events: RecordedEvent[]): void {
  const positions = new Map<string, number>();
  for (const { streamId, streamPosition } of events) {
    expect(streamPosition).toBe((positions.get(streamId) ?? 0) + 1);
    positions.set(streamId, streamPosition);
  }
}

describe(readAll.name, () => {
  it('gives every event once, in pages, and the same cursor at the end (G4)', async () => {
    const start = await endOfLog();
    const work = anImport();
    await append(work.context, work.accepted);
    await append(work.system, work.started);
    const { events, cursor } = await read(start, 6, 2);
    expect(events.map(({ type }) => type)).toEqual([...work.accepted, ...work.started].map(({ type }) => type));
    expectStreamOrder(events);
    expect(await readAll(database.db, cursor, 2)).toEqual({ events: [], cursor });
    await append(work.system, work.inspected);
    expect((await read(cursor, 1, 2)).events.map(({ type }) => type)).toEqual(['image-create.step-completed']);
  });

  it('gives the events of one project when asked', async () => {
    const [mine, theirs] = [aProject(), aProject()];
    await append({ projectId: mine, actor: SYSTEM }, [reserve(mine, 'a')]);
    await append({ projectId: theirs, actor: SYSTEM }, [reserve(theirs, 'b')]);
    await endOfLog();
    const { events } = await readAll(database.db, undefined, 10, { projectId: mine });
    expect(events.map(({ eventKey }) => eventKey)).toEqual(['a']);
  });

  it('holds back what was committed beside an older open transaction, and skips nothing when that ends', async () => {
    const start = await endOfLog();
    const [slow, quick] = [aProject(), aProject()];
    let whileOpen: string[] = [];
    await inTransaction(database.db, async (trx) => {
      await appendEvents(trx, { projectId: slow, actor: SYSTEM }, [reserve(slow, 'slow')]);
      await append({ projectId: quick, actor: SYSTEM }, [reserve(quick, 'quick')]);
      whileOpen = (await readAll(database.db, start, 10)).events.map(({ eventKey }) => eventKey);
    });
    expect(whileOpen).toEqual([]);
    const { events } = await read(start, 2, 10);
    expect(events.map(({ eventKey }) => eventKey)).toEqual(['slow', 'quick']);
  });

  it('misses nothing and repeats nothing while 8 writers append, some of them rolling back (G4)', async () => {
    const start = await endOfLog();
    const project = aProject();
    const jobs = Array.from({ length: 5 }, () => jobId(randomBytes(16).toString('hex')));
    const note = (job: JobId, key: string): NewEvent => ({
      type: 'job.cancel-requested',
      stream: jobStream(job),
      key,
      data: { reason: key },
    });
    const [writers, perWriter] = [8, 25];
    const write = async (writer: number) => {
      for (let n = 0; n < perWriter; n += 1) {
        const [first, second] = [jobs[(writer + n) % jobs.length], jobs[(writer * n) % jobs.length]];
        if (first === undefined || second === undefined) throw new Error('a remainder is an index');
        await inTransaction(database.db, async (trx) => {
          // An id of its own before it waits for any stream, as a step has that wrote other rows first.
          await sql`select pg_current_xact_id()`.execute(trx);
          const events = [note(first, `${writer}:${n}`)];
          if (second !== first) events.push(note(second, `${writer}:${n}:b`));
          await appendEvents(trx, { projectId: project, actor: SYSTEM }, events);
          if (n % 7 === 3) throw new Error('rolled back');
        }).catch((error: unknown) => {
          if (!(error instanceof Error && error.message === 'rolled back')) throw error;
        });
      }
    };
    // Readers page while the writers write; how many events there will be is known: every seventh transaction of a writer rolls back.
    const kept = Array.from({ length: writers }, (_, writer) =>
      Array.from({ length: perWriter }, (__, n) => ({ writer, n })).filter((each) => each.n % 7 !== 3),
    ).flat();
    const expectedEvents = kept.reduce(
      (sum, { writer, n }) => sum + ((writer + n) % jobs.length === (writer * n) % jobs.length ? 1 : 2),
      0,
    );
    const [a, b] = await Promise.all([
      read(start, expectedEvents, 3),
      read(start, expectedEvents, 50),
      ...Array.from({ length: writers }, (_, writer) => write(writer)),
    ]);
    const committed = await database.db
      .selectFrom('event')
      .select('event_id')
      .where('stream_id', 'in', jobs.map(jobStream))
      .execute();
    const expected = committed.map(({ event_id }) => event_id).sort();
    expect(expected).toHaveLength(expectedEvents);
    for (const { events: seen } of [a, b]) {
      expect(seen.map(({ eventId }) => eventId).sort()).toEqual(expected);
      expectStreamOrder(seen);
    }
    expect(a.events.map(({ eventId }) => eventId)).toEqual(b.events.map(({ eventId }) => eventId));
  });

  it.each([
    '',
    'x',
    'MS4x',
    Buffer.from('2.1.1').toString('base64url'),
    Buffer.from('1.99999999999999999999.1').toString('base64url'),
  ])('refuses the cursor %j, which it has not made', async (cursor) => {
    await expect(readAll(database.db, cursor, 10)).rejects.toThrow(EventCursorError);
  });
});

describe(readStream.name, () => {
  it('gives a part of a stream', async () => {
    const work = anImport();
    await append(work.context, work.accepted);
    await append(work.system, work.started);
    await append(work.system, work.inspected);
    const part = await readStream(database.db, jobStream(work.job), { fromPosition: 2, limit: 1 });
    expect(part.map(({ streamPosition }) => streamPosition)).toEqual([2]);
  });
});

describe('with a large log', () => {
  let large: TestDatabase;
  afterAll(() => large.drop());
  beforeAll(async () => {
    large = await testDatabase();
    // Twenty thousand events over four months and two thousand streams, chained like real ones as far as a plan can tell.
    await sql`
      insert into event (global_position, event_id, stream_id, stream_position, type, schema_version, event_key, occurred_at, recorded_at,
        transaction_id, actor, project_id, data, leaf, prev_hash, hash)
      select n, gen_random_uuid(), 'job:' || n / 10, n % 10 + 1, 'job.started', 1, 'k' || n % 10, t, t, '3'::xid8, '{"kind":"system"}',
        'p', '{}', '', '', ''
      from generate_series(1, 20000) n, lateral (select date_trunc('month', now()) + n % 4 * interval '1 month' + n * interval '1 second' as t) time`.execute(
      large.db,
    );
    await sql`insert into event_key select stream_id, event_key, event_id, recorded_at, '' from event`.execute(
      large.db,
    );
    const owner = connect(large.ownerUrl, { poolSize: 1 });
    await sql`vacuum analyze event`.execute(owner);
    await sql`vacuum analyze event_key`.execute(owner);
    await owner.destroy();
  });

  it('finds an event by two primary keys and in one partition', async () => {
    const plans = await plansOf((db) => findEvent(db, jobStreamOf(777), 'k3'));
    expect(plans).toHaveLength(2);
    expect(plans[0]).toContain('event_key_pkey');
    expect(plans[1]?.match(/event_\d{6}_pkey/g)).toHaveLength(1);
    for (const plan of plans) expect(plan).not.toContain('Seq Scan');
  });

  it('reads a stream from the index of each partition', async () => {
    const [plan] = await plansOf((db) => readStream(db, jobStreamOf(777)));
    expect(plan).toContain('stream_id_stream_position_idx');
    expect(plan).not.toContain('Sort Key: event.transaction_id');
  });

  it('reads a page deep in the log without reading the pages before it', async () => {
    const cursor = Buffer.from('1.3.15000').toString('base64url');
    const [plan] = await plansOf((db) => readAll(db, cursor, 100));
    expect(plan).toContain('transaction_id_global_position_idx');
    expect(plan).not.toContain('Rows Removed');
    expect(plan).not.toContain('Incremental Sort');
  });

  const jobStreamOf = (n: number) => {
    // The bulk rows have short stream names, which no constructor of ids would give.
    return `job:${n}` as ReturnType<typeof jobStream>;
  };

  async function plansOf(read: (db: typeof large.db) => Promise<unknown>): Promise<string[]> {
    const queries: Compilable[] = [];
    const spying = large.db.withPlugin({
      transformQuery: ({ node }) => {
        queries.push({ compile: () => large.db.getExecutor().compileQuery(node, { queryId: 'plan' }) });
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    });
    await read(spying);
    const plans: string[] = [];
    for (const query of queries.map((each) => each.compile())) {
      const { rows } = await large.db.executeQuery<{ 'QUERY PLAN': string }>({
        ...query,
        sql: `explain analyze ${query.sql}`,
      });
      plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
    }
    return plans;
  }
});
