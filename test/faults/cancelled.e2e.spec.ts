import { type Database, inTransaction } from '@ims/db';
import { testTemporal, TestStack, waitFor } from '@ims/testing';
import { sql, type Transaction } from 'kysely';
import { RegionUnderFault } from './support/region-under-fault';

const MIB = 2 ** 20;
const SOURCE_MIB = 96;
const DEADLINE_MS = 60_000;
// Few imports end within the milliseconds of a call; so many in a row would mean that cancelling does not work.
const MOST_JOBS = 5;

describe('a running import cancelled through the API (C5)', () => {
  let region: RegionUnderFault;

  beforeAll(async () => {
    region = RegionUnderFault.watch(await TestStack.start(), await testTemporal());
  });
  afterAll(() => region.stop());

  const eventKeys = async (id: string): Promise<string[]> =>
    (
      await region.db
        .selectFrom('event')
        .select('event_key')
        .where('stream_id', '=', `job:${id}`)
        .orderBy('stream_position')
        .execute()
    ).map((row) => row.event_key);

  /** A job that was cancelled when its ingest had come so far. One that ends before the call arrives was not met: another one follows. */
  const cancelledAt = async (share: number): Promise<string> => {
    for (let job = 0; job < MOST_JOBS; job++) {
      const { id } = await region.ingestAt(`cancelled-${share}-${job}`, SOURCE_MIB, share * SOURCE_MIB * MIB);
      const status = await region.cancel(id);
      if (status === 202) return id;
      expect(status).toBe(409);
    }
    throw new Error(`none of ${MOST_JOBS} jobs was cancelled at ${share}`);
  };

  it('ends once and leaves nothing, wherever the ingest was', async () => {
    const ids: string[] = [];
    const atOnce = await region.submit(await region.putNoise('cancelled-0.raw', SOURCE_MIB), 'cancelled-0');
    expect(await region.cancel(atOnce)).toBe(202);
    ids.push(atOnce);
    for (const share of [0.3, 0.7]) ids.push(await cancelledAt(share));
    const outcomes = await region.settle(ids);
    expect(new Set(outcomes)).toEqual(new Set(['cancelled']));
    for (const id of ids) {
      expect((await region.job(id)).status).toBe('FAIL');
      expect((await eventKeys(id)).filter((key) => key === 'terminal')).toHaveLength(1);
    }
    expect(await region.violations(ids)).toEqual([]);
  });

  it('ends as cancelled when its worker is dead and never hears of it (C5)', async () => {
    const { id } = await region.ingestAt('unheard', SOURCE_MIB, 20 * MIB);
    await region.stack.kill('worker');
    expect(await region.cancel(id)).toBe(202);
    await region.stack.run('worker');
    expect(await region.settle([id])).toEqual(['cancelled']);
    expect((await region.job(id)).fail_reason).toContain('cancelled by');
    expect(await region.violations([id])).toEqual([]);
  });

  it('ends as cancelled when it was cancelled in the engine and its worker is dead (O1)', async () => {
    const { id } = await region.ingestAt('unheard-in-engine', SOURCE_MIB, 20 * MIB);
    await region.stack.kill('worker');
    await region.temporal.client.workflow.getHandle(id).cancel();
    await region.stack.run('worker');
    expect(await region.settle([id])).toEqual(['cancelled']);
    expect(await region.violations([id])).toEqual([]);
  });

  /** Takes row locks in a transaction of its own, which lasts until `release`. */
  const hold = async (lock: (trx: Transaction<Database>) => Promise<unknown>): Promise<() => Promise<void>> => {
    const held = Promise.withResolvers<undefined>();
    const released = Promise.withResolvers<undefined>();
    const ended = inTransaction(region.db, async (trx) => {
      await lock(trx);
      held.resolve(undefined);
      await released.promise;
    });
    await Promise.race([held.promise, ended]);
    return async () => {
      released.resolve(undefined);
      await ended;
    };
  };

  /** Resolves when an undo of the worker waits for a lock of ours. */
  const undoIsBlocked = (query: string): Promise<boolean> =>
    waitFor(
      async () => {
        if (!(await region.running()).some(({ step }) => step.startsWith('undo:'))) return false;
        const { rows } = await sql<{ n: number }>`
          select count(*)::integer as n from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock' and query ilike ${`%${query}%`}`.execute(
          region.db,
        );
        return (rows[0]?.n ?? 0) > 0;
      },
      { deadlineMs: DEADLINE_MS, what: `the undo waits in ${query}`, everyMs: 5 },
    );

  const holdsExist = (id: string): Promise<boolean> =>
    waitFor(
      async () => {
        const row = await region.db
          .selectFrom('segment_hold')
          .select('segment_index')
          .where('job_id', '=', id)
          .limit(1)
          .executeTakeFirst();
        return row !== undefined;
      },
      { deadlineMs: DEADLINE_MS, what: `job ${id} holds segments`, everyMs: 2 },
    );

  it.each([{ when: 'in the middle of the effect' }, { when: 'after the effect and before its event' }])(
    'is undone by another worker when this one is killed $when (P2)',
    async ({ when }) => {
      const source = await region.putNoise(`undo-${when.replaceAll(' ', '-')}.raw`, SOURCE_MIB * 2);
      const id = await region.submit(source, `undo-${when.replaceAll(' ', '-')}`);
      // The effect deletes holds, then the transaction of the event locks the job. The holds are locked before the undo can begin.
      await holdsExist(id);
      const releaseHolds = await hold((trx) =>
        trx.selectFrom('segment_hold').select('segment_index').where('job_id', '=', id).forUpdate().execute(),
      );
      expect(await region.cancel(id)).toBe(202);
      await undoIsBlocked('segment_hold');
      if (when === 'in the middle of the effect') {
        await region.stack.kill('worker');
        await releaseHolds();
      } else {
        const releaseJob = await hold((trx) =>
          trx.selectFrom('job').select('id').where('id', '=', id).forUpdate().execute(),
        );
        await releaseHolds();
        await undoIsBlocked('for update');
        await region.stack.kill('worker');
        await releaseJob();
      }
      expect(await eventKeys(id)).not.toContain('undo:ingest');
      await region.stack.run('worker');
      expect(await region.settle([id])).toEqual(['cancelled']);
      expect((await eventKeys(id)).filter((key) => key === 'undo:ingest')).toHaveLength(1);
      expect(await region.violations([id])).toEqual([]);
    },
  );
});
