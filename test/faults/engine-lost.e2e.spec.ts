import { systemClock } from '@ims/db';
import { JobStarter, Reconciler } from '@ims/job-engine';
import { KillableTemporal, temporaryDirectory, TestStack, testTemporal, waitFor } from '@ims/testing';
import { FaultBench, type Work } from './support/fault-bench';
import { RegionUnderFault } from './support/region-under-fault';
import { SeededRandom } from './support/seeded-random';
import { WORKLOADS } from './workloads';

const MIB = 2 ** 20;
const SOURCE_MIB = 192;
// Nothing listens on the port of "tcpmux"; a connection is refused at once.
const NOBODY = '127.0.0.1:1';
const QUIET = { info: () => undefined, warn: () => undefined, error: () => undefined };

// Of several kinds of work of one workflow, the first.
const ONE_OF_EACH = [...Map.groupBy(WORKLOADS, ({ name }) => name.split(/[ ,]/)[0]).values()].flatMap(
  ([first]) => first ?? [],
);

describe('an engine that fails, forgets or is meddled with', () => {
  let engine: KillableTemporal;
  let joined: Awaited<ReturnType<typeof TestStack.startJoined>>;
  let region: RegionUnderFault;
  /** Where copies go to and come from; nothing happens to its own engine. */
  let other: RegionUnderFault;

  beforeAll(async () => {
    engine = await KillableTemporal.start(await temporaryDirectory());
    const env = { IMS_STORE_GRACE_SECONDS: '0' };
    joined = await TestStack.startJoined([{ temporal: engine, env }, { env }]);
    other = RegionUnderFault.watch(joined.stacks[1], await testTemporal());
    region = RegionUnderFault.watch(joined.stacks[0], engine, other);
  });
  afterAll(async () => {
    await region.stop();
    await other.stop();
    for (const link of joined.links) await link.close();
    await engine.stop();
  });

  const events = (id: string) =>
    region.db
      .selectFrom('event')
      .select(['event_key', 'type', 'data'])
      .where('stream_id', '=', `job:${id}`)
      .orderBy('stream_position')
      .execute();

  it('a job whose workflow could not be started at submit is started by the relay (P10, C3)', async () => {
    await region.stack.kill('gateway');
    await region.stack.run('gateway', { IMS_TEMPORAL_ADDRESS: NOBODY });
    const source = await region.putNoise('unreachable.raw', 8);
    const id = await region.submit(source, 'unreachable');
    expect(await region.settle([id])).toEqual(['succeeded']);
    await region.stack.restart('gateway');
    expect(await region.guestSha256(id)).toBe(source.sha256);
    expect(await region.violations([id])).toEqual([]);
  });

  it('a workflow terminated by hand ends its job FAIL, undone and audited (O1)', async () => {
    const { id } = await region.ingestAt('terminated', SOURCE_MIB, 40 * MIB);
    await region.temporal.client.workflow.getHandle(id).terminate('by hand');
    expect(await region.settle([id])).toEqual(['cancelled']);
    const told = await events(id);
    expect(told.map((event) => event.event_key)).toEqual(expect.arrayContaining(['cancel-requested', 'restarted:2']));
    expect(told.find((event) => event.type === 'job.cancel-requested')?.data).toMatchObject({
      reason: 'its workflow was ended from outside',
    });
    expect(await region.job(id)).toMatchObject({ status: 'FAIL', epoch: 2 });
    expect(await region.violations([id])).toEqual([]);
  });

  it('two reconcilers at once act once (C9)', async () => {
    const source = await region.putNoise('reconciled.raw', 8);
    await region.stack.kill('worker');
    const id = await region.submit(source, 'reconciled');
    await waitFor(
      async () => (await region.temporal.client.workflow.getHandle(id).describe()).status.name === 'RUNNING',
      { deadlineMs: 30_000, what: 'the workflow is started' },
    );
    await region.temporal.client.workflow.getHandle(id).terminate('by hand');
    // A later clock: the reconciler leaves jobs alone that are younger than a few seconds.
    const clock = { ...systemClock, now: () => new Date(systemClock.now().getTime() + 60_000) };
    const starter = new JobStarter(region.db, region.temporal, clock, QUIET);
    const passes = await Promise.all(
      [1, 2, 3].map(() => new Reconciler(region.db, region.temporal, starter, clock, QUIET).pass()),
    );
    expect(passes.flat()).toEqual([id]);
    await region.stack.run('worker');
    expect(await region.settle([id])).toEqual(['cancelled']);
    expect((await events(id)).filter((event) => event.type === 'job.restarted')).toHaveLength(1);
    expect(await region.violations([id])).toEqual([]);
  });

  it('a worker paused past its heartbeat cannot commit once another one has taken over (P5)', async () => {
    const { id, source } = await region.ingestAt('paused', SOURCE_MIB, 30 * MIB);
    region.stack.signal('worker', 'SIGSTOP');
    try {
      await region.stack.run('second-worker');
      expect(await region.settle([id])).toEqual(['succeeded']);
    } finally {
      region.stack.signal('worker', 'SIGCONT');
    }
    // The late attempt notes its end itself: it has run into what the other one left.
    await waitFor(async () => (await region.attemptsUnderWay(id)) === 0, {
      deadlineMs: 30_000,
      what: 'the late attempt ends',
    });
    const keys = (await events(id)).map((event) => event.event_key);
    expect(keys.filter((key) => key === 'step:ingest')).toHaveLength(1);
    expect(await region.guestSha256(id)).toBe(source.sha256);
    await region.stack.kill('second-worker', 'SIGTERM');
    expect(await region.violations([id])).toEqual([]);
  });

  it('its database deleted in the middle: every job ends once, and the old execution cannot commit (P11)', async () => {
    const sources = [
      await region.putNoise('forgotten-0.raw', SOURCE_MIB),
      await region.putNoise('forgotten-1.raw', SOURCE_MIB),
      await region.putNoise('forgotten-2.raw', 8),
    ];
    const ids: string[] = [];
    for (const source of sources) ids.push(await region.submit(source, source.key));
    expect(await region.reaches(ids[0] ?? '', 30 * MIB)).toBe(true);
    const forgotten = (await region.temporal.client.workflow.getHandle(ids[0] ?? '').describe()).runId;
    // Paused, so that its attempt outlives the execution it belongs to; it goes on when the new one is under way.
    region.stack.signal('worker', 'SIGSTOP');
    await engine.kill();
    await engine.deleteDatabase();
    await engine.run();
    await region.stack.run('second-worker');
    await waitFor(async () => (await region.job(ids[0] ?? '')).epoch === 2, {
      deadlineMs: 60_000,
      what: 'the job is started again',
    });
    region.stack.signal('worker', 'SIGCONT');
    expect(await region.settle(ids)).toEqual(['succeeded', 'succeeded', 'succeeded']);
    for (const [index, id] of ids.entries()) {
      const keys = (await events(id)).map((event) => event.event_key);
      expect(new Set(keys).size).toBe(keys.length);
      expect(await region.guestSha256(id)).toBe(sources[index]?.sha256);
    }
    // The attempt of the forgotten execution has come to its end too, and has not completed its step.
    const late = await waitFor(
      async () => {
        const rows = await region.db
          .selectFrom('step_attempt')
          .select(['outcome', 'error'])
          .where('job_id', '=', ids[0] ?? '')
          .where('run_id', '=', forgotten)
          .where('step', '=', 'ingest')
          .execute();
        return rows.every((row) => row.outcome !== null) ? rows : undefined;
      },
      { deadlineMs: 30_000, what: 'the late attempt ends' },
    );
    process.stderr.write(`late attempt: ${late.map((row) => `${row.outcome}, ${row.error}`).join('; ')}\n`);
    expect(late.length).toBeGreaterThan(0);
    expect(late.filter((row) => row.outcome === 'completed')).toEqual([]);
    await region.stack.kill('worker', 'SIGTERM');
    await region.stack.kill('second-worker', 'SIGTERM');
    await region.stack.run('worker');
    expect(await region.violations(ids)).toEqual([]);
  }, 240_000);

  it('its database deleted while jobs of every workflow run: all end as they should, none twice (P11, I2)', async () => {
    const bench = await FaultBench.over(region);
    try {
      const random = new SeededRandom('engine-lost');
      const works: Work[] = [];
      // What takes longest to prepare first, so that the imports are still under way when the engine goes.
      for (const workload of ONE_OF_EACH.toReversed())
        works.push(await workload.begin(bench, `all-${works.length}`, random));
      // Accepted, and never begun: the worker does not hear of them before the engine has forgotten them.
      region.stack.signal('worker', 'SIGSTOP');
      await Promise.all(works.map(async (work) => work.go?.()));
      const begun = await region.db.selectFrom('job').select(['id', 'saga']).where('outcome', 'is', null).execute();
      const sagas = new Set(begun.map(({ saga }) => saga));
      expect([...sagas].toSorted()).toEqual(expect.arrayContaining(['image-create', 'image-delete', 'store-collect']));
      await engine.kill();
      await engine.deleteDatabase();
      await engine.run();
      region.stack.signal('worker', 'SIGCONT');
      const ids = [...new Set(works.flatMap(({ jobIds }) => jobIds))];
      await waitFor(
        async () => {
          if (!region.stack.isAlive('worker')) await region.stack.run('worker');
          const digests = await Promise.all(works.map(async (work) => (await work.hasEnded?.()) ?? true));
          const open = await region.db.selectFrom('job').select('id').where('outcome', 'is', null).limit(1).execute();
          return open.length === 0 && digests.every(Boolean);
        },
        { deadlineMs: 110_000, what: 'every job ends' },
      );
      await region.settle(ids);
      const idsThere = works.flatMap(({ jobIdsThere }) => jobIdsThere ?? []);
      await other.settle(idsThere);
      for (const { id } of begun) {
        const keys = (await events(id)).map((event) => event.event_key);
        expect(keys.filter((key) => key === 'terminal')).toHaveLength(1);
        expect(new Set(keys).size).toBe(keys.length);
      }
      expect((await Promise.all(works.map((work) => work.check()))).flat()).toEqual([]);
      expect(await region.violations(ids)).toEqual([]);
      expect(await other.violations(idsThere)).toEqual([]);
    } finally {
      await bench.stop();
    }
  }, 240_000);
});
