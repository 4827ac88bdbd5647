import { jobStream } from '@ims/contract';
import { connect, type Database, inTransaction } from '@ims/db';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { type Kysely, sql } from 'kysely';
import { appendEvents } from './append-events';
import type { EventContext, NewEvent } from './event-log.port';
import { anImport } from './spec-support/an-import';
import type { Damage } from './stream-verifier';
import { verify, verifyLog, verifyStream } from './verify-log';

let database: TestDatabase;
/** A superuser: what this suite does to the log is what the service role is refused. */
let attacker: Kysely<Database>;
const work = anImport();
const other = anImport(work.project);
beforeAll(async () => {
  database = await testDatabase();
  attacker = connect(database.adminUrl, { poolSize: 2 });
  for (const { accepted, started, inspected, published, succeeded, context, system } of [work, other]) {
    await append(context, accepted);
    for (const events of [started, inspected, published, succeeded]) await append(system, events);
  }
});
afterAll(async () => {
  await attacker.destroy();
  await database.drop();
});

const append = (context: EventContext, events: NewEvent[]) =>
  inTransaction(database.db, (trx) => appendEvents(trx, context, events));

class Undo extends Error {}

/** What the verifier says after the edit; the edit is rolled back. */
async function damagesAfter(edit: (trx: Kysely<Database>) => Promise<unknown>): Promise<Damage[]> {
  let damages: Damage[] | undefined;
  await inTransaction(attacker, async (trx) => {
    await edit(trx);
    damages = (await verify(trx)).damages;
    throw new Undo();
  }).catch((error: unknown) => {
    if (!(error instanceof Undo)) throw error;
  });
  if (damages === undefined) throw new Error('the log was not verified');
  return damages;
}

const stream = () => jobStream(work.job);
async function eventAt(position: number) {
  return database.db
    .selectFrom('event')
    .selectAll()
    .where('stream_id', '=', stream())
    .where('stream_position', '=', position)
    .executeTakeFirstOrThrow();
}

describe(verifyLog.name, () => {
  it('finds nothing wrong with an honest log', async () => {
    const events =
      work.accepted.length +
      work.started.length +
      work.inspected.length +
      work.published.length +
      work.succeeded.length;
    expect(await verifyLog(database.db)).toEqual({ streams: 8, events: 2 * events, damages: [] });
    expect(await verifyStream(database.db, stream())).toEqual({ streams: 1, events: 5, damages: [] });
  });

  it.each([
    ['data', `jsonb_set(data, '{output,virtualSizeBytes}', '1')`, 'data'],
    ['actor', `'{"kind":"user"}'`, 'actor'],
    ['type', `'job.started'`, 'type'],
    ['schema_version', '2', 'schema_version'],
    ['event_key', `'step:verify'`, 'event_key'],
    ['occurred_at', `occurred_at + interval '1 millisecond'`, 'occurred_at'],
    ['recorded_at', `recorded_at + interval '1 millisecond'`, 'recorded_at'],
    ['recorded_at, into another partition', `recorded_at + interval '2 months'`, 'recorded_at'],
    ['event_id', 'gen_random_uuid()', 'event_id'],
    ['global_position', 'global_position + 1', 'global_position'],
    ['transaction_id', `'3'::xid8`, 'transaction_id'],
    ['project_id', `'another'`, 'project_id'],
    ['job_id', 'null', 'job_id'],
    ['request_id', `'forged'`, 'request_id'],
    ['workflow_id', `'forged'`, 'workflow_id'],
    ['run_id', `'forged'`, 'run_id'],
    ['step', `'ingest'`, 'step'],
    ['attempt', '7', 'attempt'],
    ['leaf', `set_byte(leaf, 10, get_byte(leaf, 10) # 1)`, 'leaf'],
    ['stream_position', '40', 'stream_position'],
    ['stream_id', `'job:${other.job}'`, 'stream_id'],
  ])('names the event and the column when %s is changed (G5)', async (name, value, column) => {
    const event = await eventAt(3);
    const [target] = name.split(',');
    const damages = await damagesAfter((trx) =>
      sql`update event set ${sql.ref(String(target))} = ${sql.raw(value)} where event_id = ${event.event_id}`.execute(
        trx,
      ),
    );
    expect(damages).toEqual([
      expect.objectContaining({
        kind: 'column-changed',
        eventId: column === 'event_id' ? expect.any(String) : event.event_id,
        detail: column,
      }),
    ]);
  });

  it('finds a change of a number that JavaScript cannot tell from the one before', async () => {
    const big = anImport();
    const size = 2 ** 53 - 1;
    await append(big.context, big.accepted);
    await append(big.system, [
      {
        type: 'image.digested',
        stream: other.published[1]?.stream ?? stream(),
        key: 'digested',
        data: { md5: 'm', sha512: 's', sizeBytes: size },
      },
    ]);
    const damages = await damagesAfter((trx) =>
      sql`update event set data = jsonb_set(data, '{sizeBytes}', '9007199254740991.0000001') where event_key = 'digested'`.execute(
        trx,
      ),
    );
    expect(damages).toEqual([expect.objectContaining({ kind: 'column-changed', detail: 'data' })]);
  });

  it.each([['hash'], ['prev_hash']])('names the event when its %s is changed', async (column) => {
    const event = await eventAt(3);
    const damages = await damagesAfter((trx) =>
      sql`update event set ${sql.ref(column)} = set_byte(${sql.ref(column)}, 31, get_byte(${sql.ref(column)}, 31) # 128)
        where event_id = ${event.event_id}`.execute(trx),
    );
    expect(damages).toHaveLength(1);
    expect(damages[0]).toMatchObject({ kind: 'hash-wrong', eventId: event.event_id });
    expect(damages[0]?.detail).toContain(column);
  });

  it.each([1, 3, 5])('names the event that was removed at position %i', async (position) => {
    const event = await eventAt(position);
    const damages = await damagesAfter((trx) =>
      trx.deleteFrom('event').where('event_id', '=', event.event_id).execute(),
    );
    expect(damages).toEqual([
      {
        kind: 'event-removed',
        streamId: stream(),
        eventId: event.event_id,
        position,
        detail: `the event with key ${event.event_key} is gone`,
      },
    ]);
  });

  it('finds a removed event whose key was removed too', async () => {
    const event = await eventAt(3);
    const damages = await damagesAfter(async (trx) => {
      await trx.deleteFrom('event').where('event_id', '=', event.event_id).execute();
      await trx.deleteFrom('event_key').where('event_id', '=', event.event_id).execute();
    });
    expect(damages).toEqual([expect.objectContaining({ kind: 'event-removed', eventId: null, position: 3 })]);
  });

  it('finds a truncated tail although what is left is consistent', async () => {
    const damages = await damagesAfter(async (trx) => {
      await trx.deleteFrom('event').where('stream_id', '=', stream()).where('stream_position', '>', 3).execute();
      await trx
        .deleteFrom('event_key')
        .where('stream_id', '=', stream())
        .where('event_key', 'in', ['terminal', 'step:publish'])
        .execute();
    });
    expect(damages).toEqual([
      expect.objectContaining({ kind: 'event-removed', detail: expect.stringContaining('4 to 5') }),
    ]);
  });

  it('finds a whole stream that is gone', async () => {
    const damages = await damagesAfter((trx) => trx.deleteFrom('event').where('stream_id', '=', stream()).execute());
    expect(damages.map(({ kind, position }) => [kind, position])).toEqual(
      [1, 2, 3, 4, 5].map((n) => ['event-removed', n]),
    );
  });

  it('names both events when two have changed places', async () => {
    const [a, b] = [await eventAt(2), await eventAt(3)];
    const damages = await damagesAfter((trx) =>
      sql`update event set stream_position = 5 - stream_position where event_id in (${a.event_id}, ${b.event_id})`.execute(
        trx,
      ),
    );
    expect(damages.map(({ kind, eventId, detail }) => [kind, eventId, detail]).sort()).toEqual(
      [a, b].map(({ event_id }) => ['column-changed', event_id, 'stream_position']).sort(),
    );
  });

  it('names an event that was put in behind the back of the log', async () => {
    const event = await eventAt(3);
    const damages = await damagesAfter((trx) =>
      sql`insert into event select (jsonb_populate_record(e, jsonb_build_object('event_id', '00000000-0000-4000-8000-000000000001'))).*
        from event e where event_id = ${event.event_id}`.execute(trx),
    );
    expect(damages.length).toBeGreaterThan(0);
    expect(new Set(damages.map(({ eventId }) => eventId))).toEqual(new Set(['00000000-0000-4000-8000-000000000001']));
  });

  it('finds an event that was rewritten together with its leaf and hash', async () => {
    const event = await eventAt(3);
    const damages = await damagesAfter((trx) =>
      sql`update event e set data = f.data, leaf = f.leaf, hash = sha256(e.prev_hash || f.leaf)
        from (select data || '{"step":"verify"}' as data, convert_to(replace(convert_from(leaf, 'UTF8'), '"step":"inspect"', '"step":"verify"'), 'UTF8') as leaf
          from event where event_id = ${event.event_id}) f
        where e.event_id = ${event.event_id}`.execute(trx),
    );
    expect(damages.map(({ kind, position }) => [kind, position])).toEqual([
      ['key-disagrees', 3],
      ['chain-broken', 4],
    ]);
  });

  it.each([
    ['position', sql`position = position + 1`, { kind: 'event-removed', position: 6 }],
    ['position, to less', sql`position = position - 1`, { kind: 'head-disagrees' }],
    ['hash', sql`hash = sha256('forged')`, { kind: 'head-disagrees' }],
    ['transaction', sql`transaction_id = '3'::xid8`, { kind: 'head-disagrees' }],
  ])('finds a head whose %s was changed', async (_, change, expected) => {
    const damages = await damagesAfter((trx) =>
      sql`update stream_head set ${change} where stream_id = ${stream()}`.execute(trx),
    );
    expect(damages).toEqual([expect.objectContaining({ ...expected, streamId: stream() })]);
  });

  it('finds a head that is gone', async () => {
    const damages = await damagesAfter((trx) =>
      trx.deleteFrom('stream_head').where('stream_id', '=', stream()).execute(),
    );
    expect(damages).toEqual([
      expect.objectContaining({ kind: 'head-disagrees', detail: 'the head of the stream is missing' }),
    ]);
  });

  it.each([
    ['content hash', sql`content_hash = sha256('forged')`, 'key-disagrees'],
    ['event', sql`event_id = gen_random_uuid()`, 'event-inserted'],
    ['time', sql`recorded_at = recorded_at + interval '1 millisecond'`, 'key-disagrees'],
    ['name', sql`event_key = 'step:forged'`, 'event-inserted'],
  ])('finds a key whose %s was changed', async (_, change, kind) => {
    const event = await eventAt(3);
    const damages = await damagesAfter((trx) =>
      sql`update event_key set ${change} where event_id = ${event.event_id}`.execute(trx),
    );
    expect(damages[0]).toMatchObject({ kind, eventId: event.event_id });
    expect(damages.every(({ kind: each }) => each === kind || each === 'event-removed')).toBe(true);
  });

  it('finds a key that is gone', async () => {
    const event = await eventAt(3);
    const damages = await damagesAfter((trx) =>
      trx.deleteFrom('event_key').where('event_id', '=', event.event_id).execute(),
    );
    expect(damages).toEqual([expect.objectContaining({ kind: 'event-inserted', eventId: event.event_id })]);
  });
});

describe('append-only by permission', () => {
  it.each([
    ['event', sql`update event set data = '{}'`],
    ['event', sql`delete from event`],
    ['event', sql`truncate event`],
    ['event_key', sql`update event_key set content_hash = ''`],
    ['event_key', sql`delete from event_key`],
    ['event_key', sql`truncate event_key`],
    ['event_default', sql`delete from event_default`],
    ['stream_head', sql`delete from stream_head`],
    ['stream_head', sql`truncate stream_head`],
    ['event_global_position', sql`select setval('event_global_position', 1)`],
  ])('the service role is refused on %s (%#)', async (name, statement) => {
    await expect(statement.execute(database.db)).rejects.toMatchObject({
      code: '42501',
      message: expect.stringContaining(
        `permission denied for ${name === 'event_global_position' ? 'sequence' : 'table'} ${name}`,
      ),
    });
  });

  it('the service role cannot make itself the owner, nor a partition', async () => {
    const owner = await sql<{ tableowner: string }>`select tableowner from pg_tables where tablename = 'event'`.execute(
      database.db,
    );
    await expect(sql`set role ${sql.id(String(owner.rows[0]?.tableowner))}`.execute(database.db)).rejects.toMatchObject(
      { code: '42501' },
    );
    await expect(
      sql`select ensure_event_partitions(timestamptz '2040-01-01', 1)`.execute(database.db),
    ).rejects.toMatchObject({ code: '42501' });
  });
});
