import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DirectoryBuckets } from '@ims/buckets';
import { dedupDomainId, imageId, jobId } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { createImageStore } from '@ims/image-store';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';
import { sql } from 'kysely';
import { PROJECT } from '../contract/builders';
import { openEmbeddedCloud } from '../embedded/embedded-cloud';
import { storedImages } from './stored-images';

const MIB = 1024 * 1024;
const SIZE_BYTES = 9 * MIB;
// Two segments of the store.
const HOLE = { offset: 4 * MIB, length: 4 * MIB };

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

afterAll(() => database.drop());

describe(storedImages, () => {
  it('shows the holes of an image in a disk made from it, and keeps that alive through deletion and collection of the image, until it stands alone (MGT-05)', async () => {
    const { db } = database;
    const directory = await temporaryDirectory();
    const store = createImageStore({ db, directory: join(directory, 'store'), threads: 1, collectGraceMs: 0 });
    const cloud = await openEmbeddedCloud({
      db,
      directory: join(directory, 'cloud'),
      images: storedImages(store),
      qemu: false,
    });
    try {
      const bytes = randomBytes(SIZE_BYTES).fill(0, HOLE.offset, HOLE.offset + HOLE.length);
      const buckets = new DirectoryBuckets(join(directory, 'buckets'), 'region-1');
      await buckets.createBucket('images');
      const file = await buckets.put({ bucket: 'images', key: 'disk.raw' }, bytes, bytes.length);
      const job = jobId(randomUUID().replaceAll('-', ''));
      await db
        .insertInto('job')
        .values({
          id: job,
          project_id: PROJECT,
          type: 'imsImportImageJob',
          saga: 'image-create',
          status: 'RUNNING',
          image_name: 'data',
          request: JSON.stringify({}),
          steps: ['ingest'],
          begin_at: sql`now()`,
        })
        .execute();
      const domainId = await store.plainDomain(PROJECT);
      const { manifestHash } = await store.ingest({
        jobId: job,
        domainId,
        disk: { reader: 'raw', source: buckets.describe(file), virtualSizeBytes: SIZE_BYTES },
        onProgress: () => undefined,
        signal: new AbortController().signal,
      });
      const image = { imageId: imageId(randomUUID()), domainId: dedupDomainId(domainId), manifestHash };
      await inTransaction(db, (trx) => store.publish(trx, { jobId: job, ...image }));
      await db.updateTable('job').set({ status: 'SUCCESS', outcome: 'succeeded' }).where('id', '=', job).execute();

      const volumeId = randomUUID();
      const origin = { from: 'image', image, role: 'data' } as const;
      await cloud.volumes.create({ id: volumeId, projectId: PROJECT, sizeGib: 10, origin });
      const content = async (): Promise<Buffer> => {
        const { disk, release } = await cloud.volumes.exportDisk(PROJECT, volumeId, { readOnly: true });
        const read = Buffer.alloc(SIZE_BYTES);
        await disk.read(0, read).finally(release);
        return read;
      };
      const { disk, release } = await cloud.volumes.exportDisk(PROJECT, volumeId, { readOnly: true });
      expect(await disk.status(0, disk.sizeBytes).finally(release)).toEqual([
        { length: HOLE.offset, isData: true },
        { length: HOLE.length, isData: false },
        { length: MIB, isData: true },
        { length: disk.sizeBytes - SIZE_BYTES, isData: false },
      ]);
      await inTransaction(db, (trx) => store.release(trx, image));
      expect(await store.collect()).toMatchObject({ segmentsRemoved: 0 });
      expect((await content()).equals(bytes)).toBe(true);
      expect(await cloud.volumes.hydrate({ projectId: PROJECT, volumeId })).toEqual({
        bytesCopied: SIZE_BYTES - HOLE.length,
      });
      expect((await store.collect()).segmentsRemoved).toBe(3);
      expect((await content()).equals(bytes)).toBe(true);
    } finally {
      await cloud.close();
      await store.close();
    }
  });
});
