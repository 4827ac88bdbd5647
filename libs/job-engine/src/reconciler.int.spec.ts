import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { imageDigestWorkflowId, imageId } from '@ims/contract';
import { systemClock } from '@ims/db';
import { noise, temporaryDirectory, TestCell, waitFor } from '@ims/testing';
import { Reconciler } from './reconciler';

const KEY = 'source.raw';
const QUIET = { info: () => undefined, warn: () => undefined, error: () => undefined };

describe(Reconciler.name, () => {
  let cell: TestCell;

  beforeAll(async () => {
    cell = await TestCell.start();
    const raw = join(await temporaryDirectory(), KEY);
    await writeFile(raw, noise(KEY, 2 ** 20));
    await cell.putFile(raw, KEY);
  });
  afterAll(() => cell.stop());

  it('orders a digest again that the engine has forgotten, once, and leaves one alone that it knows (P11)', async () => {
    const { jobId, imageId: id } = await cell.submitImport({ key: KEY });
    expect(await cell.settle(jobId)).toBe('succeeded');
    // Marked as sent and never started: as after the loss of the engine's database, nobody knows of it.
    const workflowId = imageDigestWorkflowId(imageId(id));
    await cell.db
      .updateTable('outbox')
      .set({ sent_at: systemClock.now() })
      .where('workflow_id', '=', workflowId)
      .execute();
    // The reconciler leaves alone what is younger than a few seconds.
    const later = { ...systemClock, now: () => new Date(systemClock.now().getTime() + 60_000) };
    const reconcilers = [1, 2].map(() => new Reconciler(cell.db, cell.temporal, cell.starter, later, QUIET));
    expect((await Promise.all(reconcilers.map((each) => each.restartDigests()))).flat()).toEqual([id]);
    const image = () => cell.db.selectFrom('image').select(['md5', 'sha512']).where('id', '=', id).executeTakeFirst();
    await waitFor(async () => (await image())?.sha512 != null, { deadlineMs: 30_000, what: 'the digest is there' });
    const rows = await cell.db.selectFrom('outbox').select('id').where('workflow_id', '=', workflowId).execute();
    expect(rows).toHaveLength(2);
    expect(await reconcilers[0]?.restartDigests()).toEqual([]);
  });

  it('comes round to every open job, however many older ones stay open, paused for days for instance', async () => {
    const later = { ...systemClock, now: () => new Date(systemClock.now().getTime() + 60_000) };
    const hour = systemClock.now().getTime() - 3_600_000;
    const job = (n: number) => ({
      id: n.toString(16).padStart(32, '0'),
      project_id: cell.projectId,
      type: 'imsImportImageJob',
      saga: 'image-create',
      status: 'RUNNING' as const,
      image_name: 'waiting',
      request: '{}',
      steps: ['ingest'],
      begin_at: new Date(hour + Math.floor(n / 3)),
    });
    // Nothing can be done for these: nobody has ordered a workflow of them.
    const waiting = Array.from({ length: 8 }, (_, n) => job(n + 1));
    await cell.db.insertInto('job').values(waiting).execute();
    const { jobId } = await cell.submitImport({ key: KEY }, { start: false });
    await cell.db.updateTable('outbox').set({ sent_at: systemClock.now() }).where('workflow_id', '=', jobId).execute();
    const reconciler = new Reconciler(cell.db, cell.temporal, cell.starter, later, QUIET, 4);
    const acted = [...(await reconciler.pass()), ...(await reconciler.pass()), ...(await reconciler.pass())];
    expect(acted).toEqual([jobId]);
    expect(await cell.settle(jobId)).toBe('succeeded');
    await cell.db.deleteFrom('job').where('image_name', '=', 'waiting').execute();
  });
});
