import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dedupDomainId } from '@ims/contract';
import { ImagesRepository } from '@ims/db';
import {
  backupImageSagaOf,
  describeSagaLaws,
  failBefore,
  type Fault,
  makeDebianLikeDisk,
  noise,
  type SagaUnderTest,
  submitDeletion,
  submitServerBackup,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

// Two segments and a bit, in a disk of 10 GiB.
const DATA = noise('data disk', 5 * 2 ** 20);

describe('image-create from a backup (CRE-16, CRE-18)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let serverId: string;
  /** What the system disk and the data disk begin with; what follows is empty. */
  let expected: [Buffer, Buffer];

  beforeAll(async () => {
    cell = await TestCell.start();
    const directory = await temporaryDirectory();
    const data = join(directory, 'data.raw');
    await writeFile(data, DATA);
    const system = (await makeDebianLikeDisk(directory)).path;
    serverId = (await cell.aServer(system, 'ACTIVE', [data])).id;
    expected = [await readFile(system), DATA];
    saga = backupImageSagaOf(cell, serverId);
  });
  afterAll(() => cell.stop());

  // The other steps are those of every source.
  describeSagaLaws(
    {
      name: 'image-create',
      steps: ['claimBackup', 'ingestDisk', 'verifyDisk', 'identifyOs', 'publishImage', 'openUsage'],
      only: ['claimBackup'],
      undos: [
        { undo: 'releaseBackup', failAt: 'ingestDisk' },
        { undo: 'withdrawImage', failAt: 'openUsage' },
      ],
    },
    () => saga,
  );

  it('of two jobs at once that want one backup exactly one gets it (CRE-18)', async () => {
    for (const [line, code] of [
      ['CBR', 'IMG.0029'],
      ['CSBS', 'IMG.0134'],
    ] as const) {
      const backup = await cell.aBackup(serverId, line);
      const jobs = await Promise.all([1, 2].map(() => cell.submitBackupImage(backup.id, { line })));
      const outcomes = await Promise.all(jobs.map(({ jobId }) => cell.settle(jobId)));
      expect(outcomes.toSorted()).toEqual(['failed', 'succeeded']);
      const loser = jobs[outcomes.indexOf('failed')];
      const row = await cell.db
        .selectFrom('job')
        .select('error_code')
        .where('id', '=', loser?.jobId ?? '')
        .executeTakeFirst();
      expect(row?.error_code).toBe(code);
    }
    await cell.checkSystem();
  });

  it('stores every disk of the server, byte for byte, and charges what the backup takes (CRE-16, BIL-03)', async () => {
    const backup = await cell.aBackup(serverId);
    const { jobId, imageId } = await cell.submitBackupImage(backup.id);
    expect(await cell.settle(jobId)).toBe('succeeded');
    const image = await new ImagesRepository(cell.db).find(cell.projectId, imageId);
    const [part, ...more] = await new ImagesRepository(cell.db).parts(imageId);
    expect(more).toEqual([]);
    expect(part?.part).toMatch(/^data:\/dev\/.+/);
    for (const [stored, bytes] of [
      [image, expected[0]],
      [part, expected[1]],
    ] as const) {
      if (stored?.domain_id == null || stored.manifest_hash === null) throw new Error('a disk is missing');
      const disk = { domainId: dedupDomainId(stored.domain_id), manifestHash: stored.manifest_hash };
      const file = await cell.store.open(disk, 'raw');
      const chunks: Uint8Array[] = [];
      for await (const chunk of file.read({ offset: 0, length: bytes.length })) chunks.push(Buffer.from(chunk));
      expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
      const manifest = await cell.db
        .selectFrom('manifest')
        .select('segment_count')
        .where('hash', '=', stored.manifest_hash)
        .executeTakeFirst();
      expect(manifest?.segment_count).toBe(segmentsWithData(bytes));
    }
    expect([image?.virtual_size_bytes, part?.virtual_size_bytes]).toEqual([2 ** 30, 10 * 2 ** 30]);
    const usage = await cell.db.selectFrom('usage_record').selectAll().where('image_id', '=', imageId).execute();
    expect(usage).toMatchObject([
      {
        meter: 'backup.storage',
        quantity_bytes: backup.children.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
      },
    ]);
    expect(image?.attributes).toMatchObject({ __whole_image: 'true', __backup_id: backup.id });
  });

  it('is charged once: by its checkpoint until it is deleted, and as the product that it came from (BIL-03, BIL-08)', async () => {
    const vault = (await cell.cloud.backups.vaultOfServer(cell.projectId, serverId)) ?? (await cell.aVault());
    const checkpoint = await submitServerBackup(cell, { serverId, vaultId: vault.id });
    expect(await cell.settle(checkpoint.jobId)).toBe('succeeded');
    const [backup] = await cell.cloud.backups.list(cell.projectId, { checkpointId: checkpoint.checkpointId });
    const backupId = backup?.id ?? '';
    const lineage = { parentImageId: null, publicPlatform: null, productCode: 'db-1' };
    const { jobId, imageId } = await cell.submitBackupImage(backupId, { lineage });
    expect(await cell.settle(jobId)).toBe('succeeded');
    const charges = () =>
      cell.db
        .selectFrom('usage_record')
        .select(['id', 'meter', 'image_id', 'product_code'])
        .where((eb) => eb.or([eb('backup_id', '=', backupId), eb('image_id', '=', imageId)]))
        .where('closed_at', 'is', null)
        .orderBy('meter')
        .execute();
    const byCheckpoint = {
      id: `backup-storage:${backupId}`,
      meter: 'backup.storage',
      image_id: null,
      product_code: null,
    };
    expect(await charges()).toEqual([
      byCheckpoint,
      { id: `market-image:${imageId}`, meter: 'market.image', image_id: imageId, product_code: 'db-1' },
    ]);
    await cell.checkSystem();
    const deletion = await submitDeletion(cell, { imageId, backupId, isBackupDeleted: true }, () => undefined);
    expect(await cell.settle(deletion.jobId)).toBe('succeeded');
    expect(await charges()).toEqual([]);
    await cell.checkSystem();
  });

  it('a claim that outlived its image is no obstacle (CRE-18)', async () => {
    const backup = await cell.aBackup(serverId);
    const diesBeforeUndo: Fault = () => Promise.resolve();
    const lost = await cell.submitBackupImage(backup.id, {
      before: (id) => cell.faults.plan(id, { verifyDisk: failBefore, releaseBackup: diesBeforeUndo }),
    });
    expect(await cell.settle(lost.jobId)).toBe('failed');
    expect(await cell.deadClaims()).toEqual([lost.imageId]);
    const { jobId, imageId } = await cell.submitBackupImage(backup.id);
    expect(await cell.settle(jobId)).toBe('succeeded');
    expect((await cell.cloud.backups.get(cell.projectId, backup.id))?.imageId).toBe(imageId);
  });
});

// A segment is 2 MiB.
function segmentsWithData(bytes: Buffer): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at += 2 ** 21)
    if (bytes.subarray(at, at + 2 ** 21).some((byte) => byte !== 0)) count += 1;
  return count;
}
