import { jobStream, type ProjectId, quotaStream, SYSTEM } from '@ims/contract';
import { connect, inTransaction } from '@ims/db';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { type Compilable, sql } from 'kysely';
import { appendEvents } from './append-events';
import { EventCursorError } from './event-log.errors';
import type { EventContext, NewEvent, RecordedEvent } from './event-log.port';
import { findEvent, readAll, readStream } from './read-events';
import { anImport, aProject } from './spec-support/an-import';

let database: TestDatabase;
beforeEach(async () => {
  database = await testDatabase({ poolSize: 20 });
});
afterEach(() => database.drop());

const append = (context: EventContext, events: NewEvent[]) =>
  inTransaction(database.db, (trx) => appendEvents(trx, context, events));

const reserve = (project: ProjectId, key: string): NewEvent => ({
  type: 'quota.reserved',
  stream: quotaStream(project, 'image'),
  key,
  data: { resource: 'image', amount: 1, holder: key },
});

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
    const work = anImport();
    await append(work.context, work.accepted);
    await append(work.system, work.started);
    const seen: RecordedEvent[] = [];
    let cursor: string | undefined;
    for (;;) {
      const page = await readAll(database.db, cursor, 2);
      cursor = page.cursor;
      if (page.events.length === 0) break;
      seen.push(...page.events);
    }
    expect(seen.map(({ type }) => type).sort()).toEqual(
      [...work.accepted, ...work.started].map(({ type }) => type).sort(),
    );
    expectStreamOrder(seen);
    expect(await readAll(database.db, cursor, 2)).toEqual({ events: [], cursor });
    await append(work.system, work.inspected);
    expect((await readAll(database.db, cursor, 2)).events.map(({ type }) => type)).toEqual([
      'image-create.step-completed',
    ]);
  });

  it('gives the events of one project when asked', async () => {
    const [mine, theirs] = [aProject(), aProject()];
    await append({ projectId: mine, actor: SYSTEM }, [reserve(mine, 'a')]);
    await append({ projectId: theirs, actor: SYSTEM }, [reserve(theirs, 'b')]);
    const { events } = await readAll(database.db, undefined, 10, { projectId: mine });
    expect(events.map(({ eventKey }) => eventKey)).toEqual(['a']);
  });

  it('holds back what was committed beside an older open transaction, and skips nothing when that ends', async () => {
    const [slow, quick] = [aProject(), aProject()];
    let whileOpen: string[] = [];
    await inTransaction(database.db, async (trx) => {
      await appendEvents(trx, { projectId: slow, actor: SYSTEM }, [reserve(slow, 'slow')]);
      await append({ projectId: quick, actor: SYSTEM }, [reserve(quick, 'quick')]);
      whileOpen = (await readAll(database.db, undefined, 10)).events.map(({ eventKey }) => eventKey);
    });
    expect(whileOpen).toEqual([]);
    const { events } = await readAll(database.db, undefined, 10);
    expect(events.map(({ eventKey }) => eventKey)).toEqual(['slow', 'quick']);
  });

  it('misses nothing and repeats nothing while 8 writers append, some of them rolling back (G4)', async () => {
    const projects = Array.from({ length: 5 }, aProject);
    const [writers, perWriter] = [8, 25];
    let writing = writers;
    const write = async (writer: number) => {
      for (let n = 0; n < perWriter; n += 1) {
        const project = projects[(writer + n) % projects.length] ?? aProject();
        const other = projects[(writer * n) % projects.length] ?? aProject();
        await inTransaction(database.db, async (trx) => {
          // An id of its own before it waits for any stream, as a step has that wrote other rows first.
          await sql`select pg_current_xact_id()`.execute(trx);
          await appendEvents(trx, { projectId: project, actor: SYSTEM }, [reserve(project, `${writer}:${n}`)]);
          if (other !== project) {
            await appendEvents(trx, { projectId: other, actor: SYSTEM }, [reserve(other, `${writer}:${n}:b`)]);
          }
          if (n % 7 === 3) throw new Error('rolled back');
        }).catch((error: unknown) => {
          if (!(error instanceof Error && error.message === 'rolled back')) throw error;
        });
      }
      writing -= 1;
    };
    const read = async (limit: number) => {
      const seen: RecordedEvent[] = [];
      let cursor: string | undefined;
      for (;;) {
        const last = writing === 0;
        const page = await readAll(database.db, cursor, limit);
        seen.push(...page.events);
        cursor = page.cursor;
        if (last && page.events.length === 0) return seen;
      }
    };
    const [a, b] = await Promise.all([
      read(3),
      read(50),
      ...Array.from({ length: writers }, (_, writer) => write(writer)),
    ]);
    const committed = await database.db.selectFrom('event').select('event_id').execute();
    const expected = committed.map(({ event_id }) => event_id).sort();
    for (const seen of [a, b]) {
      expect(seen?.map(({ eventId }) => eventId).sort()).toEqual(expected);
      expectStreamOrder(seen ?? []);
    }
    expect(a?.map(({ eventId }) => eventId)).toEqual(b?.map(({ eventId }) => eventId));
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
  beforeEach(async () => {
    // Twenty thousand events over four months and two thousand streams, chained like real ones as far as a plan can tell.
    await sql`
      insert into event (global_position, event_id, stream_id, stream_position, type, schema_version, event_key, occurred_at, recorded_at,
        transaction_id, actor, project_id, data, leaf, prev_hash, hash)
      select n, gen_random_uuid(), 'job:' || n / 10, n % 10 + 1, 'job.started', 1, 'k' || n % 10, t, t, '3'::xid8, '{"kind":"system"}',
        'p', '{}', '', '', ''
      from generate_series(1, 20000) n, lateral (select date_trunc('month', now()) + n % 4 * interval '1 month' + n * interval '1 second' as t) time`.execute(
      database.db,
    );
    await sql`insert into event_key select stream_id, event_key, event_id, recorded_at, '' from event`.execute(
      database.db,
    );
    const owner = connect(database.ownerUrl, { poolSize: 1 });
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

  async function plansOf(read: (db: typeof database.db) => Promise<unknown>): Promise<string[]> {
    const queries: Compilable[] = [];
    const spying = database.db.withPlugin({
      transformQuery: ({ node }) => {
        queries.push({ compile: () => database.db.getExecutor().compileQuery(node, { queryId: 'plan' }) });
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    });
    await read(spying);
    const plans: string[] = [];
    for (const query of queries.map((each) => each.compile())) {
      const { rows } = await database.db.executeQuery<{ 'QUERY PLAN': string }>({
        ...query,
        sql: `explain analyze ${query.sql}`,
      });
      plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
    }
    return plans;
  }
});
