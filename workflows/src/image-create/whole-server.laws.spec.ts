import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dedupDomainId, ingestedDisk } from '@ims/contract';
import { ImagesRepository } from '@ims/db';
import {
  describeSagaLaws,
  makeDebianLikeDisk,
  noise,
  type SagaUnderTest,
  submitDeletion,
  temporaryDirectory,
  TestCell,
  wholeServerSagaOf,
} from '@ims/testing';

const MIB = 2 ** 20;
const SEGMENT = 2 * MIB;
// Three segments in a disk of 10 GiB.
const DATA = noise('data disk', 6 * MIB);

describe('image-create from a server with all its disks (CRE-16, CRE-17)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let system: string;
  let data: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    const directory = await temporaryDirectory();
    data = join(directory, 'data.raw');
    await writeFile(data, DATA);
    system = (await makeDebianLikeDisk(directory)).path;
    saga = wholeServerSagaOf(cell, system, [data]);
  });
  afterAll(() => cell.stop());

  // The steps that follow are those of every source; the steps of the backup are gone over one by one in its own laws.
  describeSagaLaws(
    {
      name: 'image-create',
      steps: [
        'quiesceServer',
        'copyDisk',
        'joinDisks',
        'sealCheckpoint',
        'releaseMoment',
        'claimBackup',
        'ingestDisk',
        'verifyDisk',
        'identifyOs',
        'publishImage',
        'openUsage',
      ],
      only: ['copyDisk'],
      undos: [
        { undo: 'unsealCheckpoint', failAt: 'claimBackup' },
        { undo: 'releaseBackup', failAt: 'verifyDisk' },
      ],
    },
    () => saga,
  );

  const ingestOf = async (jobId: string) => {
    const row = await cell.db
      .selectFrom('job_step')
      .select('output')
      .where('job_id', '=', jobId)
      .where('step', '=', 'ingest')
      .executeTakeFirst();
    return ingestedDisk.parse(row?.output);
  };

  it('reads for a second image of the server only what has changed, and both images are whole (IMG-12, BIL-03)', async () => {
    const { projectId, cloud, db } = cell;
    const { id: serverId, volumes } = await cell.aServer(system, 'ACTIVE', [data]);
    const { id: vaultId } = await cell.aVault();
    const imageOf = async () => {
      const job = await cell.submitWholeServerImage({ serverId, vaultId });
      expect(await cell.settle(job.jobId)).toBe('succeeded');
      return { ...job, ingest: await ingestOf(job.jobId) };
    };
    const bytesOf = async (imageId: string): Promise<Buffer> => {
      const [part] = await new ImagesRepository(db).parts(imageId);
      if (part === undefined) throw new Error('the image has no data disk');
      const disk = { domainId: dedupDomainId(part.domain_id), manifestHash: part.manifest_hash };
      const file = await cell.store.open(disk, 'raw');
      const chunks: Uint8Array[] = [];
      for await (const chunk of file.read({ offset: 0, length: DATA.length })) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks);
    };

    const first = await imageOf();
    expect(first.ingest).toMatchObject({
      segmentsTakenOver: 0,
      dataDisks: [{ segmentsTakenOver: 0, bytesRead: DATA.length }],
    });
    expect(first.ingest.bytesRead).toBeGreaterThan(0);
    const volumeId = volumes.find(({ bootIndex }) => bootIndex === null)?.volumeId ?? '';
    const { disk, release } = await cloud.volumes.exportDisk(projectId, volumeId, { readOnly: false });
    await disk.write(SEGMENT + 5, Buffer.from('changed')).finally(release);
    const second = await imageOf();
    const segments = first.ingest.segmentCount;
    expect(second.ingest).toMatchObject({ bytesRead: 0, segmentsTakenOver: segments, segmentCount: segments });
    expect(second.ingest.dataDisks).toMatchObject([{ bytesRead: SEGMENT, segmentsTakenOver: 2, segmentCount: 3 }]);
    expect((await bytesOf(first.imageId)).equals(DATA)).toBe(true);
    const expected = Buffer.from(DATA);
    expected.write('changed', SEGMENT + 5);
    expect((await bytesOf(second.imageId)).equals(expected)).toBe(true);

    // One charge per backup, by what it takes in its vault, and none for the image besides.
    const { attributes } = (await new ImagesRepository(db).find(projectId, second.imageId)) ?? {};
    const backupId = String((attributes as { __backup_id?: unknown }).__backup_id);
    const charges = () =>
      db
        .selectFrom('usage_record')
        .select(['meter', 'quantity_bytes', 'image_id', 'closed_at'])
        .where((eb) => eb.or([eb('backup_id', '=', backupId), eb('image_id', '=', second.imageId)]))
        .execute();
    expect(await charges()).toEqual([
      { meter: 'backup.storage', quantity_bytes: SEGMENT, image_id: null, closed_at: null },
    ]);
    const used = async () => (await cloud.backups.getVault(projectId, vaultId))?.usedBytes ?? 0;
    const before = await used();
    const deletion = await submitDeletion(cell, { imageId: second.imageId, backupId, isBackupDeleted: true });
    expect(await cell.settle(deletion.jobId)).toBe('succeeded');
    expect(await charges()).toEqual([expect.objectContaining({ closed_at: expect.any(Date) as unknown })]);
    expect(await used()).toBe(before - SEGMENT);
    await cell.checkSystem();
  });
});
