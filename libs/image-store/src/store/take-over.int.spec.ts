import { randomUUID } from 'node:crypto';
import { dedupDomainId, imageId, type IngestedDisk } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';
import type { IngestBase } from '../image-store.port';
import { SEGMENT_BYTES } from '../layout/segment';
import {
  endJob,
  ingestDisk,
  insertJob,
  makeRawDisk,
  newJobId,
  OTHER_PROJECT,
  sha256OfChunks,
  sha256OfFile,
} from '../spec-support/store-fixture';
import { createImageStore } from './image-store';

let database: TestDatabase;
let buckets: string;
let store: ReturnType<typeof createImageStore>;

beforeEach(async () => {
  database = await testDatabase();
  buckets = await temporaryDirectory();
  store = createImageStore({ db: database.db, directory: await temporaryDirectory(), threads: 1, collectGraceMs: 0 });
});
afterEach(async () => {
  await store.close();
  await database.drop();
});

interface Made {
  disk: IngestedDisk;
  path: string;
  image: { imageId: ReturnType<typeof imageId>; domainId: ReturnType<typeof dedupDomainId>; manifestHash: string };
}

/** An image of a disk with these segments, published. */
async function anImage(segments: readonly (number | null)[], base?: IngestBase, projectId?: string): Promise<Made> {
  const { path, disk } = await makeRawDisk(buckets, `${randomUUID()}.raw`, segments);
  const jobId = newJobId();
  await insertJob(database.db, jobId);
  const { disk: ingested } = await ingestDisk(store, jobId, disk, {
    ...(base === undefined ? {} : { base }),
    ...(projectId === undefined ? {} : { projectId }),
  });
  const { manifestHash } = ingested;
  const image = { imageId: imageId(randomUUID()), domainId: dedupDomainId(ingested.domainId), manifestHash };
  await inTransaction(database.db, (trx) => store.publish(trx, { jobId, ...image }));
  await endJob(database.db, jobId);
  return { disk: ingested, path, image };
}

const baseOf = ({ image }: Made, changed: readonly number[]): IngestBase => ({
  domainId: image.domainId,
  manifestHash: image.manifestHash,
  // Any byte of a segment makes it a changed one.
  changed: changed.map((segment) => ({ offset: segment * SEGMENT_BYTES + 7, length: 1 })),
});
const sha256Of = async ({ domainId, manifestHash }: IngestedDisk): Promise<string> =>
  sha256OfChunks((await store.open({ domainId: dedupDomainId(domainId), manifestHash }, 'raw')).read());

describe('an ingest of a disk of which an earlier one is stored', () => {
  it('reads only what has changed, and the image is whole (IMG-12)', async () => {
    const first = await anImage([1, 2, null, 3, 4, null]);
    expect(first.disk).toMatchObject({ bytesRead: 4 * SEGMENT_BYTES, segmentsTakenOver: 0 });
    const second = await anImage([1, 5, null, null, 4, 6], baseOf(first, [1, 3, 5]));
    // Segment 3 has become a hole, which costs no reading.
    expect(second.disk).toMatchObject({ bytesRead: 2 * SEGMENT_BYTES, segmentsTakenOver: 2, segmentCount: 4 });
    expect(await sha256Of(second.disk)).toBe(await sha256OfFile(second.path));
    // The older image may go: what both need stays.
    await inTransaction(database.db, (trx) => store.release(trx, first.image));
    await store.collect();
    expect(await sha256Of(second.disk)).toBe(await sha256OfFile(second.path));
  });

  it('takes the word of whoever keeps account: what is called unchanged is not looked at', async () => {
    const first = await anImage([1, null, 3]);
    const { disk } = await anImage([7, 8, 3], baseOf(first, [2]));
    expect(disk).toMatchObject({ bytesRead: SEGMENT_BYTES, segmentsTakenOver: 1 });
    expect(await sha256Of(disk)).toBe(await sha256OfFile(first.path));
  });

  it('reads everything when the base has gone, is of another size or of another domain', async () => {
    const gone = await anImage([1, 2]);
    await inTransaction(database.db, (trx) => store.release(trx, gone.image));
    await store.collect();
    const longer = await anImage([1, 2, 3]);
    const foreign = await anImage([1, 2], undefined, OTHER_PROJECT);
    for (const base of [gone, longer, foreign]) {
      const { disk, path } = await anImage([1, 9], baseOf(base, []));
      expect(disk).toMatchObject({ bytesRead: 2 * SEGMENT_BYTES, segmentsTakenOver: 0 });
      expect(await sha256Of(disk)).toBe(await sha256OfFile(path));
    }
  });
});
