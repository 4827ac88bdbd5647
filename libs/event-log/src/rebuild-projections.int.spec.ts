import { imageStream, jobStream, quotaStream, undoKey, usageStream } from '@ims/contract';
import { connect, type Database, inTransaction } from '@ims/db';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { type Kysely, sql } from 'kysely';
import { appendEvents } from './append-events';
import type { EventContext, NewEvent } from './event-log.port';
import { rebuildProjections } from './rebuild-projections';
import { anImport, aProject } from './spec-support/an-import';

let database: TestDatabase;
let owner: Kysely<Database>;
const append = (context: EventContext, events: NewEvent[]) =>
  inTransaction(database.db, (trx) => appendEvents(trx, context, events));

const succeeded = anImport();
beforeAll(async () => {
  database = await testDatabase();
  owner = connect(database.ownerUrl, { poolSize: 1 });
  const failed = anImport(succeeded.project);
  const cancelled = anImport(succeeded.project);
  const open = anImport();
  for (const work of [succeeded, failed, cancelled, open]) {
    await append(work.context, work.accepted);
    await append(work.system, work.started);
    await append(work.system, work.inspected);
  }
  await append(succeeded.system, succeeded.published);
  await append(succeeded.system, succeeded.succeeded);
  await append(succeeded.system, [
    {
      type: 'image.digested',
      stream: imageStream(succeeded.image),
      key: 'digested',
      data: { md5: 'd41d8cd98f00b204e9800998ecf8427e', sha512: 'cf83e1357eefb8bd', sizeBytes: 1_201 },
    },
  ]);
  await append(failed.system, failed.failed);
  await append(cancelled.context, [
    { type: 'job.cancel-requested', stream: jobStream(cancelled.job), key: 'cancel', data: { reason: 'not needed' } },
    {
      type: 'job.restarted',
      stream: jobStream(cancelled.job),
      key: 'restart:2',
      data: { epoch: 2, reason: 'engine lost' },
    },
    {
      type: 'image-create.step-undone',
      stream: jobStream(cancelled.job),
      key: undoKey('inspect'),
      data: { step: 'inspect' },
    },
    { type: 'image.withdrawn', stream: imageStream(cancelled.image), key: 'withdrawn', data: { reason: 'not needed' } },
    { type: 'job.cancelled', stream: jobStream(cancelled.job), key: 'terminal', data: { reason: 'not needed' } },
  ]);
  // Paused twice and resumed once: it is paused now, and the next pause is its third.
  const reason = 'not now';
  await append(open.context, [
    { type: 'job.paused', stream: jobStream(open.job), key: 'paused:1', data: { reason } },
    { type: 'job.resumed', stream: jobStream(open.job), key: 'resumed:1', data: { reason } },
    { type: 'job.paused', stream: jobStream(open.job), key: 'paused:2', data: { reason } },
  ]);
  const project = aProject();
  await append({ projectId: project, actor: { kind: 'system' } }, [
    {
      type: 'quota.limit-set',
      stream: quotaStream(project, 'image'),
      key: 'limit',
      data: { resource: 'image', limit: 7 },
    },
  ]);
  const deleted = anImport();
  await append(deleted.context, deleted.accepted);
  await append(deleted.system, deleted.started);
  await append(deleted.system, deleted.published);
  await append(deleted.context, [
    { type: 'image.deleted', stream: imageStream(deleted.image), key: 'deleted', data: {} },
    {
      type: 'usage.closed',
      stream: usageStream(deleted.image),
      key: 'closed',
      data: { usageId: `usage-${deleted.image}` },
    },
    {
      type: 'quota.released',
      stream: quotaStream(deleted.project, 'image'),
      key: 'deleted',
      data: { resource: 'image', amount: 1, holder: deleted.image, from: 'used' },
    },
  ]);
  const voided = anImport();
  await append(voided.context, voided.accepted);
  await append(voided.system, voided.started);
  await append(voided.system, voided.published);
  await append(voided.system, [
    {
      type: 'usage.voided',
      stream: usageStream(voided.image),
      key: 'voided',
      data: { usageId: `usage-${voided.image}` },
    },
  ]);
});
afterAll(async () => {
  await owner.destroy();
  await database.drop();
});

const shadowExists = async () =>
  (await sql`select from pg_namespace where nspname = 'ims_rebuild'`.execute(owner)).rows.length > 0;

describe(rebuildProjections.name, () => {
  it('gives the same rows from the events, to the last byte (I5)', async () => {
    const { events, rows, differences } = await rebuildProjections(database.ownerUrl);
    expect(differences).toEqual([]);
    const counted = await sql<{ events: number; rows: number }>`
      select (select count(*) from event) as events, (select count(*) from job) + (select count(*) from job_step) + (select count(*) from image) + (select count(*) from image_part)
        + (select count(*) from quota) + (select count(*) from usage_record) as rows`.execute(owner);
    expect({ events, rows }).toEqual(counted.rows[0]);
    expect(await shadowExists()).toBe(false);
  });

  it.each([
    ['job', sql`update job set fail_reason = 'forged' where id = ${succeeded.job}`, { id: succeeded.job }],
    [
      'job_step',
      sql`delete from job_step where job_id = ${succeeded.job} and step = 'publish'`,
      { job_id: succeeded.job, step: 'publish' },
    ],
    [
      'image',
      sql`update image set updated_at = updated_at + interval '1 millisecond' where id = ${succeeded.image}`,
      { id: succeeded.image },
    ],
    [
      'quota',
      sql`update quota set used = used + 1 where project_id = ${succeeded.project} and resource = 'image'`,
      { project_id: succeeded.project, resource: 'image' },
    ],
    [
      'usage_record',
      sql`insert into usage_record select 'forged', project_id, image_id, meter, 1, opened_at from usage_record where image_id = ${succeeded.image}`,
      { id: 'forged' },
    ],
  ])('names the row of %s that no event explains', async (table, change, key) => {
    const columns = await sql.raw<Record<string, unknown>>(`select * from ${table}`).execute(owner);
    await change.execute(owner);
    const { differences } = await rebuildProjections(database.ownerUrl);
    expect(differences).toEqual([expect.objectContaining({ table, key })]);
    await restore(table, columns.rows);
    expect((await rebuildProjections(database.ownerUrl)).differences).toEqual([]);
  });

  it('compares one view while events go on being appended', async () => {
    let done = false;
    const writing = (async () => {
      for (let n = 0; !done; n += 1) {
        const work = anImport();
        await append(work.context, work.accepted);
        await append(work.system, work.started);
      }
    })();
    const rebuilds = [await rebuildProjections(database.ownerUrl), await rebuildProjections(database.ownerUrl)];
    done = true;
    await writing;
    expect(rebuilds.flatMap(({ differences }) => differences)).toEqual([]);
  });

  it('cleans up what a killed rebuild has left', async () => {
    await sql`create schema ims_rebuild`.execute(owner);
    await sql`create table ims_rebuild.job (left_over text)`.execute(owner);
    expect((await rebuildProjections(database.ownerUrl)).differences).toEqual([]);
    expect(await shadowExists()).toBe(false);
  });
});

async function restore(table: string, rows: Record<string, unknown>[]): Promise<void> {
  await sql.raw(`delete from ${table}`).execute(owner);
  const columns = await sql<{ name: string }>`
    select attname as name from pg_attribute where attrelid = ${table}::regclass and attnum > 0 and attgenerated = '' order by attnum`.execute(
    owner,
  );
  const names = sql.join(columns.rows.map(({ name }) => sql.ref(name)));
  await sql`insert into ${sql.table(table)} (${names}) select ${names} from jsonb_populate_recordset(null::${sql.table(table)}, ${JSON.stringify(rows)}::jsonb)`.execute(
    owner,
  );
}
