import { connect, inTransaction, PROJECTION_TABLES, project, SCHEMA } from '@ims/db';
import { listTraces, readSealed, sealVisible, typedEvent } from '@ims/event-log';
import {
  convertDisk,
  failAfter,
  failBefore,
  Folds,
  makeDebianLikeDisk,
  rowStates,
  submitDeletion,
  temporaryDirectory,
  TestCell,
  trailViolations,
} from '@ims/testing';
import { sql } from 'kysely';

const SHADOW = 'past_states';
const KEY = 'source.qcow2';
const DEADLINE_MS = 30_000;

describe('a state of the past', () => {
  let cell: TestCell;
  let failedId: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    await cell.putFile(await convertDisk(disk.path, 'qcow2-v3'), KEY);
    const kept = await cell.submitImport({ key: KEY });
    const failed = await cell.submitImport(
      { key: KEY },
      { before: (id) => cell.faults.plan(id, { openUsage: failBefore, discardIngest: failAfter }) },
    );
    const cancelled = await cell.submitImport(
      { key: KEY },
      {
        before: (id) =>
          cell.faults.plan(id, {
            verifyDisk: async ({ real }) => {
              await cell.cancelInLog(id);
              return real();
            },
          }),
      },
    );
    const refused = await cell.submitUpload(Buffer.from('this is no disk'), 'qcow2');
    failedId = failed.jobId;
    for (const { jobId } of [kept, failed, cancelled, refused]) await cell.settle(jobId);
    const server = await cell.aServer(disk.path);
    const whole = await cell.submitBackupImage((await cell.aBackup(server.id)).id);
    await cell.settle(whole.jobId);
    await cell.settle((await submitDeletion(cell, { imageId: kept.imageId })).jobId);
  });
  afterAll(() => cell.stop());

  it('is at every index what the tables were when the event was recorded (G12, I5)', async () => {
    const { db, projectId } = cell;
    expect(await sealVisible(db, DEADLINE_MS)).toBe(true);
    const events = await readSealed(db, { projectId });
    const outcomes = await db.selectFrom('job').select('outcome').distinct().orderBy('outcome').execute();
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['cancelled', 'failed', 'succeeded']);
    const owner = connect(cell.database.ownerUrl, { poolSize: 1 });
    const shadow = connect(cell.database.ownerUrl, { poolSize: 1, schema: SHADOW });
    try {
      await sql`create schema ${sql.id(SHADOW)}`.execute(owner);
      for (const table of PROJECTION_TABLES)
        await sql`create table ${sql.id(SHADOW, table)} (like ${sql.id(SCHEMA, table)} including all)`.execute(owner);
      const folds = new Folds();
      let compared = 0;
      for (const event of events) {
        // What the transaction that appended it did to the tables.
        await inTransaction(shadow, (trx) => project(trx, typedEvent(event)));
        const folded = folds.apply(typedEvent(event));
        if (folded === undefined) continue;
        const rows = await rowStates(shadow);
        expect({ at: event.logIndex, state: folded }).toEqual({ at: event.logIndex, state: rows.get(event.streamId) });
        compared += 1;
      }
      expect(compared).toBeGreaterThan(70);
      expect([...folds.states].toSorted()).toEqual([...(await rowStates(db))].toSorted());
    } finally {
      await sql`drop schema ${sql.id(SHADOW)} cascade`.execute(owner);
      await Promise.all([owner.destroy(), shadow.destroy()]);
    }
  });

  it('names the step of a job that could not be undone, and lists the job as an incident (cts-api 8.1)', async () => {
    expect(await sealVisible(cell.db, DEADLINE_MS)).toBe(true);
    const filter = { projectId: cell.projectId, limit: 200 };
    const { traces } = await listTraces(cell.db, { ...filter, rating: 'incident' });
    expect(traces.map(({ operation_id }) => operation_id)).toEqual([failedId]);
    expect(JSON.parse(traces[0]?.response ?? '')).toMatchObject({ status: 'FAIL', left_behind: ['ingest'] });
    expect((await listTraces(cell.db, { ...filter, rating: 'warning' })).traces).toHaveLength(2);
  });

  it('is looked after by the check of a whole region, which names what was changed behind the log', async () => {
    expect(await trailViolations(cell.db)).toEqual([]);
    const { id } = await cell.db
      .selectFrom('image')
      .select('id')
      .where('status', '=', 'active')
      .executeTakeFirstOrThrow();
    await cell.db.updateTable('image').set({ name: 'changed' }).where('id', '=', id).execute();
    expect(await trailViolations(cell.db)).toEqual([expect.stringContaining(`image:${id}`)]);
  });
});
