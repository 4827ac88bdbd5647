import { jobId, jobStream, quotaStream, stepKey, SYSTEM, TERMINAL_KEY } from '@ims/contract';
import { fixedClock, inTransaction, ProgressRepository, ProjectionError, systemClock } from '@ims/db';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { sql } from 'kysely';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { appendEvents } from './append-events';
import { EventConflictError, EventRefusedError } from './event-log.errors';
import type { EventContext, NewEvent } from './event-log.port';
import { findEvent, readStream } from './read-events';
import { anImport, aProject } from './spec-support/an-import';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase({ poolSize: 20 });
});
afterAll(() => database.drop());

const append = (context: EventContext, events: NewEvent[], at?: Date) =>
  inTransaction(database.db, (trx) => appendEvents(trx, context, events, at && fixedClock(at)));

describe(appendEvents.name, () => {
  it.each(['job.succeeded', 'job.failed', 'job.cancelled'] as const)(
    'removes the progress of a job with its end, here %s, and of no other job',
    async (type) => {
      const progress = new ProgressRepository(database.db);
      const [ended, running] = [anImport(), anImport()];
      for (const { context, system, accepted, started, job } of [ended, running]) {
        await append(context, accepted);
        await append(system, started);
        await progress.report(job, 'ingest', 5, 10, systemClock.now());
      }
      const end = { stream: jobStream(ended.job), key: TERMINAL_KEY };
      const data = { errorCode: 'IMG.0057', reason: 'gone', step: 'ingest' } as const;
      await append(ended.system, [
        type === 'job.succeeded'
          ? { ...end, type, data: { imageId: randomUUID() } }
          : type === 'job.failed'
            ? { ...end, type, data }
            : { ...end, type, data: { reason: 'enough' } },
      ]);
      const left = await database.db
        .selectFrom('job_progress')
        .select('job_id')
        .where('job_id', 'in', [ended.job, running.job])
        .execute();
      expect(left).toEqual([{ job_id: running.job }]);
    },
  );

  it('records events with gapless positions, a hash chain per stream and the rows they imply (AUD-01)', async () => {
    const work = anImport();
    const at = new Date('2026-11-24T10:00:00.123Z');
    const results = await append(work.context, work.accepted, at);
    await append(work.system, work.started);

    expect(results.map(({ appended }) => appended)).toEqual([true, true, true, true]);
    const stream = await readStream(database.db, jobStream(work.job));
    expect(stream.map(({ type, streamPosition }) => [type, streamPosition])).toEqual([
      ['job.accepted', 1],
      ['job.started', 2],
    ]);
    let prevHash: Buffer = Buffer.alloc(32);
    for (const event of stream) {
      expect(event.prevHash).toEqual(prevHash);
      expect(event.hash).toEqual(
        createHash('sha256')
          .update(Buffer.concat([prevHash, event.leaf]))
          .digest(),
      );
      prevHash = event.hash;
    }
    expect(stream[0]).toEqual(results[0]?.event);
    expect(stream[0]).toMatchObject({
      occurredAt: at,
      recordedAt: at,
      projectId: work.project,
      requestId: work.context.requestId,
    });
    expect(JSON.parse(String(stream[0]?.leaf))).toMatchObject({
      stream_position: 1,
      occurred_at: '2026-11-24T10:00:00.123Z',
    });

    const job = await database.db.selectFrom('job').selectAll().where('id', '=', work.job).executeTakeFirstOrThrow();
    expect(job).toMatchObject({ status: 'RUNNING', current_step: 'inspect', outcome: null, begin_at: at });
    const image = await database.db
      .selectFrom('image')
      .selectAll()
      .where('id', '=', work.image)
      .executeTakeFirstOrThrow();
    expect(image).toMatchObject({
      status: 'saving',
      tags: ['env=prod'],
      attributes: { __os_type: 'Linux', virtual_env_type: 'FusionCompute' },
    });
  });

  it('changes nothing when the same key comes again with the same content, whatever the attempt (I2)', async () => {
    const work = anImport();
    await append(work.context, work.accepted);
    await append(work.system, work.started);
    const [first] = await append({ ...work.system, attempt: 1 }, work.inspected, new Date('2026-11-24T10:00:00Z'));
    const [second] = await append({ ...work.system, attempt: 2 }, work.inspected, new Date('2026-11-24T11:00:00Z'));

    expect(first?.appended).toBe(true);
    expect(second).toEqual({ appended: false, event: first?.event });
    expect(await readStream(database.db, jobStream(work.job))).toHaveLength(3);
    expect(await findEvent(database.db, jobStream(work.job), stepKey('inspect'))).toEqual(first?.event);
  });

  it('fails loudly when the key is taken by other content, and writes nothing of the transaction (I2)', async () => {
    const work = anImport();
    await append(work.context, work.accepted);
    const other: NewEvent[] = [
      {
        type: 'quota.reserved',
        stream: quotaStream(work.project, 'image'),
        key: 'another',
        data: { resource: 'image', amount: 1, holder: 'x' },
      },
      { type: 'job.cancel-requested', stream: jobStream(work.job), key: 'accepted', data: { reason: 'no' } },
    ];
    await expect(append(work.context, other)).rejects.toThrow(EventConflictError);
    expect(await findEvent(database.db, quotaStream(work.project, 'image'), 'another')).toBeUndefined();
    const quota = await database.db
      .selectFrom('quota')
      .select('reserved')
      .where('project_id', '=', work.project)
      .where('resource', '=', 'image')
      .executeTakeFirstOrThrow();
    expect(quota.reserved).toBe(1);
  });

  it('leaves neither key nor head nor event behind when the caller rolls back', async () => {
    const work = anImport();
    const before = await counts();
    await expect(
      inTransaction(database.db, async (trx) => {
        await appendEvents(trx, work.context, work.accepted);
        throw new Error('the caller changed its mind');
      }),
    ).rejects.toThrow('changed its mind');
    expect(await counts()).toEqual(before);
    expect((await append(work.context, work.accepted)).every(({ appended }) => appended)).toBe(true);
  });

  it('takes a text that only looks like a NUL character', async () => {
    const work = anImport();
    await append(work.context, work.accepted);
    const reason = '\\u0000';
    const [result] = await append(work.context, [
      { type: 'job.cancel-requested', stream: jobStream(work.job), key: 'cancel', data: { reason } },
    ]);
    expect(result?.event.data).toEqual({ reason });
  });

  it('takes the same key twice in one call as one event', async () => {
    const work = anImport();
    const [accepted] = work.accepted;
    if (accepted === undefined) throw new Error('an import begins with an event');
    const results = await append(work.context, [accepted, accepted]);
    expect(results.map(({ appended }) => appended)).toEqual([true, false]);
    expect(results[1]?.event).toEqual(results[0]?.event);
  });

  it('keeps one order per stream under 16 appenders at once, without a gap', async () => {
    const project = aProject();
    const stream = quotaStream(project, 'image');
    const perWriter = 10;
    await Promise.all(
      Array.from({ length: 16 }, async (_, writer) => {
        for (let n = 0; n < perWriter; n += 1) {
          await append({ projectId: project, actor: SYSTEM }, [
            {
              type: 'quota.reserved',
              stream,
              key: `${writer}:${n}`,
              data: { resource: 'image', amount: 1, holder: `${writer}` },
            },
          ]);
        }
      }),
    );
    const events = await readStream(database.db, stream);
    expect(events.map(({ streamPosition }) => streamPosition)).toEqual(
      Array.from({ length: 16 * perWriter }, (_, n) => n + 1),
    );
    for (const [n, event] of events.entries()) {
      const previous = events[n - 1];
      expect(event.prevHash).toEqual(previous?.hash ?? Buffer.alloc(32));
      // The order of the log never contradicts the order of a stream.
      if (previous !== undefined) {
        expect(BigInt(event.transactionId)).toBeGreaterThanOrEqual(BigInt(previous.transactionId));
        expect(event.globalPosition).toBeGreaterThan(previous.globalPosition);
      }
    }
    const quota = await database.db
      .selectFrom('quota')
      .selectAll()
      .where('project_id', '=', project)
      .executeTakeFirstOrThrow();
    expect(quota.reserved).toBe(16 * perWriter);
  });

  it('records one event when 16 attempts of the same step commit at once (I2)', async () => {
    const work = anImport();
    await append(work.context, work.accepted);
    const results = await Promise.all(
      Array.from({ length: 16 }, (_, attempt) => append({ ...work.system, attempt }, work.inspected)),
    );
    expect(results.flat().filter(({ appended }) => appended)).toHaveLength(1);
    expect(new Set(results.flat().map(({ event }) => event.eventId)).size).toBe(1);
    expect(await readStream(database.db, jobStream(work.job))).toHaveLength(2);
  });

  it('gives a writer that waited for a stream a place behind the one it waited for, though its transaction is older', async () => {
    const project = aProject();
    const stream = quotaStream(project, 'image');
    const event = (key: string): NewEvent => ({
      type: 'quota.reserved',
      stream,
      key,
      data: { resource: 'image', amount: 1, holder: key },
    });
    const context = { projectId: project, actor: SYSTEM };
    await inTransaction(database.db, async (older) => {
      await sql`select pg_current_xact_id()`.execute(older);
      await append(context, [event('younger')]);
      await appendEvents(older, context, [event('older')]);
    });
    const [younger, older] = await readStream(database.db, stream);
    expect([younger?.eventKey, older?.eventKey]).toEqual(['younger', 'older']);
    expect(older?.transactionId).toBe(younger?.transactionId);
  });

  describe('refuses, and writes nothing', () => {
    const job = jobId(randomBytes(16).toString('hex'));
    const context: EventContext = { projectId: aProject(), actor: SYSTEM };
    const accepted = (request: unknown): NewEvent => ({
      type: 'job.accepted',
      stream: jobStream(job),
      key: 'accepted',
      data: { jobType: 'imsImportImageJob', saga: 'image-create', imageId: null, imageName: 'x', request, steps: [] },
    });
    it.each([
      [
        'data that does not fit its type',
        {
          type: 'quota.reserved',
          stream: quotaStream(aProject(), 'image'),
          key: 'k',
          data: { resource: 'image', amount: 0.5, holder: 'h' },
        },
        /does not fit/,
      ],
      ['a leaf over 65,535 bytes', accepted('x'.repeat(65_536)), /65535 are allowed/],
      ['a NUL character', accepted({ name: 'a\u0000b' }), /NUL/],
      ['a NUL character behind a backslash', accepted({ name: '\\\\\u0000' }), /NUL/],
      ['a lone surrogate', accepted({ name: '\ud800' }), /canonical JSON/],
      ['an empty key', { ...accepted({}), key: '' }, /must not be empty/],
      ['a key with a control character', { ...accepted({}), key: 'a\nb' }, /control characters/],
    ] satisfies [string, NewEvent, RegExp][])('%s', async (_, event, reason) => {
      const before = await counts();
      const appending = append(context, [event]);
      await expect(appending).rejects.toThrow(EventRefusedError);
      await expect(appending).rejects.toThrow(reason);
      expect(await counts()).toEqual(before);
    });

    it('an event that does not fit the rows before it', async () => {
      const work = anImport();
      await append(work.context, work.accepted);
      const before = await counts();
      await expect(
        append(work.system, [
          { type: 'job.restarted', stream: jobStream(work.job), key: 'restart', data: { epoch: 1, reason: 'again' } },
        ]),
      ).rejects.toThrow(ProjectionError);
      expect(await counts()).toEqual(before);
    });
  });
});

async function counts() {
  const { rows } = await sql`select (select count(*) from event) as events, (select count(*) from event_key) as keys,
    (select count(*) from stream_head) as heads, (select coalesce(sum(reserved), 0) from quota) as reserved`.execute(
    database.db,
  );
  return rows;
}
