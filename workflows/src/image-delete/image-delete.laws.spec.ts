import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { imageId, imageStream, quotaStream, SYSTEM } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents } from '@ims/event-log';
import {
  deletionSagaOf,
  describeSagaLaws,
  jobViolations,
  noise,
  stageBytes,
  type SagaUnderTest,
  submitDeletion,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

const MIB = 2 ** 20;
const KEY = 'source.raw';

describe('image-delete (MGT-05, ims-api 12.6)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let serverId: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    const raw = join(await temporaryDirectory(), KEY);
    await writeFile(raw, noise(KEY, 4 * MIB));
    await cell.putFile(raw, KEY);
    serverId = (await cell.aServer(raw)).id;
    saga = await deletionSagaOf(cell, { key: KEY, serverId });
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'image-delete',
      steps: ['releaseOrigin', 'dropStaged'],
      undos: [
        { undo: 'letGo', failAt: 'dropStaged' },
        { undo: 'concludeJob', failAt: 'releaseOrigin' },
      ],
      isFinal: true,
    },
    () => saga,
  );

  it('drops what had arrived for an image that waited for its bytes', async () => {
    const id = imageId(randomUUID());
    const { projectId, db } = cell;
    await inTransaction(db, (trx) =>
      appendEvents(trx, { projectId, actor: SYSTEM }, [
        {
          type: 'image.queued',
          stream: imageStream(id),
          key: 'queued',
          data: { name: 'upload', diskFormat: 'raw', minDiskGib: 1, minRamMib: 0, tags: [], attributes: {} },
        },
        {
          type: 'quota.reserved',
          stream: quotaStream(projectId, 'image'),
          key: `reserve:${id}`,
          data: { resource: 'image', amount: 1, holder: id },
        },
      ]),
    );
    await stageBytes(cell, id);
    const deletion = await submitDeletion(cell, { imageId: id });
    expect(await cell.settle(deletion.jobId)).toBe('succeeded');
    expect(await cell.staged.findOfImage(id)).toBeUndefined();
    await cell.checkSystem();
  });

  it('fails with IMG.0176 when the backup cannot be deleted, and sets it free all the same', async () => {
    const { projectId, cloud } = cell;
    const { imageId: id, jobId } = await cell.submitImport({ key: KEY });
    await cell.settle(jobId);
    // Backups of the retired line are only read.
    const { id: backupId } = await cloud.backups.recordCsbsItem({ id: randomUUID(), projectId, serverId, name: 'old' });
    await cloud.backups.claimForImage({ projectId, backupId, imageId: id });
    const deletion = await submitDeletion(cell, { imageId: id, backupId, isBackupDeleted: true });
    expect(await cell.settle(deletion.jobId)).toBe('failed');
    const job = await cell.db
      .selectFrom('job')
      .select(['error_code', 'status'])
      .where('id', '=', deletion.jobId)
      .executeTakeFirst();
    expect(job).toEqual({ error_code: 'IMG.0176', status: 'FAIL' });
    expect(await cloud.backups.get(projectId, backupId)).toMatchObject({ imageId: null });
    expect(await jobViolations(cell.db, deletion.jobId)).toEqual([]);
    await cell.checkSystem();
  });
});
