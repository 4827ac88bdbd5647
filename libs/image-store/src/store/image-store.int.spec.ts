import { mkdir, open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DedupDomainId, dedupDomainId, imageId, LONGEST_DOWNLOAD_MS } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { openZvhd2 } from '@ims/image-format';
import { openSource } from '@ims/buckets';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';
import { createHash, randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import {
  AzIdentityError,
  CollectorBusyError,
  ManifestNotFoundError,
  NotHeldError,
  StoredBytesDamagedError,
} from '../errors';
import { SEGMENT_BYTES } from '../layout/segment';
import {
  describeRaw,
  endJob,
  ingestDisk,
  insertJob,
  makeRawDisk,
  newJobId,
  OTHER_PROJECT,
  PROJECT,
  segmentBytes,
  sha256OfChunks,
  sha256OfFile,
} from '../spec-support/store-fixture';
import { createImageStore, type ImageStoreOptions } from './image-store';

const run = promisify(execFile);
const signal = new AbortController().signal;
const quiet = (): void => undefined;

let database: TestDatabase;
let directory: string;
let buckets: string;
type Store = ReturnType<typeof createImageStore>;
const stores: Store[] = [];

function storeOf(options: Partial<ImageStoreOptions> = {}): Store {
  const store = createImageStore({ db: database.db, directory, threads: 2, collectGraceMs: 0, ...options });
  stores.push(store);
  return store;
}

/** Ingests under a job that has a row, as the product does. */
async function ingestAs(
  store: Store,
  segments: readonly (number | null)[],
  projectId = PROJECT,
  virtualSizeBytes?: number,
) {
  const key = `${randomUUID()}.raw`;
  const { path, disk } = await makeRawDisk(
    buckets,
    key,
    segments,
    virtualSizeBytes === undefined ? {} : { virtualSizeBytes },
  );
  const jobId = newJobId();
  await insertJob(database.db, jobId);
  const result = await ingestDisk(store, jobId, disk, { projectId });
  return { path, jobId, ...result };
}

async function publish(
  store: Store,
  jobId: ReturnType<typeof newJobId>,
  disk: { domainId: string; manifestHash: string },
) {
  const image = imageId(randomUUID());
  await inTransaction(database.db, (trx) =>
    store.publish(trx, {
      jobId,
      imageId: image,
      domainId: dedupDomainId(disk.domainId),
      manifestHash: disk.manifestHash,
    }),
  );
  await endJob(database.db, jobId);
  return image;
}

const handleOf = (disk: {
  domainId: string;
  manifestHash: string;
}): { domainId: DedupDomainId; manifestHash: string } => ({
  domainId: dedupDomainId(disk.domainId),
  manifestHash: disk.manifestHash,
});

async function packFiles(): Promise<string[]> {
  const root = join(directory, 'az1', 'packs');
  const found: string[] = [];
  for (const xx of await readdir(root))
    for (const name of await readdir(join(root, xx))) found.push(join(root, xx, name));
  return found;
}

beforeEach(async () => {
  database = await testDatabase();
  directory = await temporaryDirectory();
  buckets = await temporaryDirectory();
});
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

describe('ingest, verify, open', () => {
  it('stores a sparse disk and gives the same guest bytes back, whole and by range', async () => {
    const store = storeOf();
    const virtualSizeBytes = 9 * SEGMENT_BYTES + 1536;
    const { path, disk, last } = await ingestAs(
      store,
      [1, 2, null, null, 3, null, 4, 5, null, 6],
      PROJECT,
      virtualSizeBytes,
    );
    expect(disk).toMatchObject({ virtualSizeBytes, segmentCount: 6 });
    expect(last.bytesDone).toBe(last.bytesTotal);
    expect(disk.storedBytes).toBeLessThan(6 * SEGMENT_BYTES);

    const raw = await store.open(handleOf(disk), 'raw');
    expect(raw.sizeBytes).toBe(virtualSizeBytes);
    expect(await sha256OfChunks(raw.read())).toBe(await sha256OfFile(path));

    const handle = await open(path);
    for (const [offset, length] of [
      [0, 1],
      [SEGMENT_BYTES - 3, 7],
      [2 * SEGMENT_BYTES - 4096, 2 * SEGMENT_BYTES + 8192],
      [virtualSizeBytes - 2000, 2000],
      [virtualSizeBytes - 10, 4096],
      [virtualSizeBytes, 10],
      [5 * SEGMENT_BYTES + 17, 0],
    ] as const) {
      const expected = Buffer.alloc(Math.max(0, Math.min(length, virtualSizeBytes - offset)));
      if (expected.length > 0) await handle.read(expected, 0, expected.length, offset);
      const chunks: Uint8Array[] = [];
      for await (const chunk of raw.read({ offset, length })) chunks.push(Buffer.from(chunk));
      expect(Buffer.concat(chunks).equals(expected)).toBe(true);
    }
    await handle.close();

    const rangesOf = (range?: { offset: number; length: number }): number[][] =>
      [...raw.dataRanges(range)].map(({ offset, length }) => [offset, length]);
    expect(rangesOf()).toEqual([
      [0, 2 * SEGMENT_BYTES],
      [4 * SEGMENT_BYTES, SEGMENT_BYTES],
      [6 * SEGMENT_BYTES, 2 * SEGMENT_BYTES],
      [9 * SEGMENT_BYTES, 1536],
    ]);
    expect(rangesOf({ offset: SEGMENT_BYTES + 5, length: 3 * SEGMENT_BYTES + 10 })).toEqual([
      [SEGMENT_BYTES + 5, SEGMENT_BYTES - 5],
      [4 * SEGMENT_BYTES, 15],
    ]);
    expect(rangesOf({ offset: 2 * SEGMENT_BYTES, length: 2 * SEGMENT_BYTES })).toEqual([]);
    expect(rangesOf({ offset: virtualSizeBytes - 10, length: 4096 })).toEqual([[virtualSizeBytes - 10, 10]]);
    expect(rangesOf({ offset: virtualSizeBytes, length: 10 })).toEqual([]);

    const seen: [number, number][] = [];
    const verified = await store.verify({
      ...handleOf(disk),
      signal,
      onProgress: (...progress) => seen.push(progress),
    });
    expect(verified).toEqual({ segmentsVerified: 6, contentRoot: disk.contentRoot });
    expect(seen.at(-1)).toEqual([6 * SEGMENT_BYTES, 6 * SEGMENT_BYTES]);
  });

  it('assembles a ZVHD2 file of the promised length that reads back as the disk', async () => {
    const store = storeOf();
    const { path, disk } = await ingestAs(store, [1, null, 2, 2, null, 3]);
    const file = await store.open(handleOf(disk), 'zvhd2');
    expect([...file.dataRanges({ offset: 7, length: file.sizeBytes })]).toEqual([
      { offset: 7, length: file.sizeBytes - 7 },
    ]);
    expect(file.sizeBytes).toBe(disk.fileBytes);
    const target = join(buckets, 'images', 'out.zvhd2');
    await writeFile(target, file.read());
    expect((await stat(target)).size).toBe(disk.fileBytes);
    const described = await describeRaw(buckets, 'out.zvhd2');
    if (described.reader === 'nbd') throw new Error('a bucket file');
    const reader = await openZvhd2(await openSource(described.source));
    const guest = Buffer.alloc(6 * SEGMENT_BYTES);
    for (let at = 0; at < guest.length; at += SEGMENT_BYTES)
      await reader.read(at, guest.subarray(at, at + SEGMENT_BYTES));
    await reader.close();
    const source = await open(path);
    const expected = Buffer.alloc(guest.length);
    await source.read(expected, 0, expected.length, 0);
    await source.close();
    expect(guest.equals(expected)).toBe(true);

    const middle = await sha256OfChunks(file.read({ offset: 5000, length: 700_000 }));
    const whole = await open(target);
    const part = Buffer.alloc(700_000);
    await whole.read(part, 0, part.length, 5000);
    await whole.close();
    expect(
      await sha256OfChunks(
        (async function* () {
          yield part;
        })(),
      ),
    ).toBe(middle);
  });

  it('an empty disk of 1 TiB stores nothing and is whole', async () => {
    const store = storeOf();
    const { disk } = await ingestAs(store, [], PROJECT, 1024 ** 4);
    expect(disk).toMatchObject({ segmentCount: 0, storedBytes: 0, virtualSizeBytes: 1024 ** 4 });
    expect(await store.verify({ ...handleOf(disk), signal, onProgress: quiet })).toMatchObject({ segmentsVerified: 0 });
    const raw = await store.open(handleOf(disk), 'raw');
    let bytes = 0;
    for await (const chunk of raw.read({ offset: 1024 ** 4 - 5_000_000, length: 10_000_000 })) bytes += chunk.length;
    expect(bytes).toBe(5_000_000);
    expect([...raw.dataRanges()]).toEqual([]);
    expect(await packFiles()).toEqual([]);
  });

  it('the same content root comes from raw and qcow2 of the same disk', async () => {
    const store = storeOf();
    const { path, disk } = await ingestAs(store, [1, null, 2, 3, null, null, 4, null]);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', path, join(buckets, 'images', 'same.qcow2')]);
    const described = await describeRaw(buckets, 'same.qcow2');
    if (described.reader === 'nbd') throw new Error('a bucket file');
    const jobId = newJobId();
    const second = await ingestDisk(store, jobId, {
      reader: 'qcow2',
      source: described.source,
      virtualSizeBytes: 8 * SEGMENT_BYTES,
    });
    expect(second.disk).toEqual(disk);
    expect(second.last.bytesWritten).toBe(0);
  });

  it('a second import of the same disk writes nothing; in another project it shares no key', async () => {
    const store = storeOf();
    const first = await ingestAs(store, [1, 2, 1, 1, null, 2]);
    const packs = await packFiles();
    const again = await ingestAs(store, [1, 2, 1, 1, null, 2]);
    expect(again.disk).toEqual(first.disk);
    expect(again.last.bytesWritten).toBe(0);
    expect(await packFiles()).toEqual(packs);

    const foreign = await ingestAs(store, [1, 2, 1, 1, null, 2], OTHER_PROJECT);
    expect(foreign.disk.contentRoot).toBe(first.disk.contentRoot);
    expect(foreign.disk.manifestHash).toBe(first.disk.manifestHash);
    const rows = await database.db.selectFrom('segment').select(['domain_id', 'key']).execute();
    expect(rows).toHaveLength(4);
    expect(new Set(rows.map(({ key }) => key.toString('hex'))).size).toBe(4);
  });

  it('content that occurs many times in one disk is written once', async () => {
    const store = storeOf();
    const { disk, last } = await ingestAs(
      store,
      Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? 7 : null)),
    );
    expect(disk.segmentCount).toBe(20);
    expect(await database.db.selectFrom('segment').selectAll().execute()).toHaveLength(1);
    expect(last.bytesWritten).toBeLessThan(SEGMENT_BYTES);
    expect(disk.storedBytes).toBeLessThan(SEGMENT_BYTES);
  });

  it('cancelling stops the ingest, and the next attempt goes on', async () => {
    const store = storeOf();
    const { path, disk } = await makeRawDisk(
      buckets,
      'cancel.raw',
      Array.from({ length: 120 }, (_, index) => index),
    );
    const jobId = newJobId();
    await insertJob(database.db, jobId);
    const abort = new AbortController();
    const reason = new Error('cancelled by the test');
    await expect(
      ingestDisk(store, jobId, disk, {
        signal: abort.signal,
        onProgress: ({ bytesDone }) => {
          if (bytesDone > 0) abort.abort(reason);
        },
      }),
    ).rejects.toBe(reason);
    const held = await database.db.selectFrom('segment_hold').selectAll().where('job_id', '=', jobId).execute();
    expect(held.length).toBeGreaterThan(0);
    let least = Infinity;
    const { disk: ingested } = await ingestDisk(store, jobId, disk, {
      onProgress: ({ bytesDone }) => {
        least = Math.min(least, bytesDone);
      },
    });
    expect(least).toBeGreaterThanOrEqual(held.length * SEGMENT_BYTES);
    const raw = await store.open(handleOf(ingested), 'raw');
    expect(await sha256OfChunks(raw.read())).toBe(await sha256OfFile(path));
    await store.collect();
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
  });

  it('a manifest nobody made is not found', async () => {
    const store = storeOf();
    const domainId = await store.plainDomain(PROJECT);
    await expect(store.open({ domainId, manifestHash: '0'.repeat(64) }, 'raw')).rejects.toThrow(ManifestNotFoundError);
  });
});

describe('damage', () => {
  it('one flipped byte in a pack fails verification and the read of that frame, and nothing else', async () => {
    const store = storeOf();
    const { disk } = await ingestAs(store, [1, 2, 3]);
    const place = await database.db.selectFrom('segment').selectAll().orderBy('pack_offset').executeTakeFirstOrThrow();
    const file = (await packFiles()).find((path) => path.includes(place.pack_id));
    if (file === undefined) throw new Error('no pack');
    const handle = await open(file, 'r+');
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, place.pack_offset + 100);
    byte.writeUInt8(byte.readUInt8(0) ^ 0x40, 0);
    await handle.write(byte, 0, 1, place.pack_offset + 100);
    await handle.close();

    await expect(store.verify({ ...handleOf(disk), signal, onProgress: quiet })).rejects.toThrow(
      StoredBytesDamagedError,
    );
    const raw = await store.open(handleOf(disk), 'raw');
    await expect(sha256OfChunks(raw.read())).rejects.toThrow(StoredBytesDamagedError);
    const zvhd2 = await store.open(handleOf(disk), 'zvhd2');
    await expect(sha256OfChunks(zvhd2.read())).rejects.toThrow(StoredBytesDamagedError);
    // The other two segments still read.
    const whole = [];
    for (const [index, seed] of [1, 2, 3].entries()) {
      const expected = createHash('sha256').update(segmentBytes(seed)).digest('hex');
      const range = { offset: index * SEGMENT_BYTES, length: SEGMENT_BYTES };
      const read = await sha256OfChunks(raw.read(range)).catch((error: unknown) => error);
      if (read === expected) whole.push(seed);
      else expect(read).toBeInstanceOf(StoredBytesDamagedError);
    }
    expect(whole).toHaveLength(2);
  });

  it('a missing pack, a damaged footer and a changed manifest are each refused by name', async () => {
    const store = storeOf();
    const { disk } = await ingestAs(store, [1, null, 3]);
    const path = join(directory, 'az1', 'manifests', disk.domainId, disk.manifestHash.slice(0, 2), disk.manifestHash);
    const handle = await open(path, 'r+');
    await handle.write(Buffer.from([9]), 0, 1, 60);
    await handle.close();
    await expect(store.open(handleOf(disk), 'raw')).rejects.toThrow(StoredBytesDamagedError);

    const other = await ingestAs(store, [4, null, 5]);
    const packs = await packFiles();
    for (const pack of packs) {
      const { size } = await stat(pack);
      const packHandle = await open(pack, 'r+');
      await packHandle.write(Buffer.from([1, 2, 3, 4]), 0, 4, size - 500);
      await packHandle.close();
    }
    await expect(store.verify({ ...handleOf(other.disk), signal, onProgress: quiet })).rejects.toThrow(/footer/);
    for (const pack of packs) await rm(pack);
    await expect(store.verify({ ...handleOf(other.disk), signal, onProgress: quiet })).rejects.toThrow(/is missing/);
    const raw = await store.open(handleOf(other.disk), 'raw');
    await expect(sha256OfChunks(raw.read())).rejects.toThrow(/is missing/);
    expect((await store.audit()).missingObjects).toHaveLength(packs.length);
  });
});

describe('the AZ directory', () => {
  it('is refused when it is not empty, has lost its identity or has another one', async () => {
    await mkdir(join(directory, 'az1'), { recursive: true });
    await writeFile(join(directory, 'az1', 'holiday.jpg'), 'x');
    await expect(storeOf().audit()).rejects.toThrow(AzIdentityError);
    await rm(join(directory, 'az1', 'holiday.jpg'));
    expect(await storeOf().audit()).toEqual({ unknownObjects: [], missingObjects: [] });

    await rm(join(directory, 'az1', 'identity.json'));
    await expect(storeOf().audit()).rejects.toThrow(/identity.json is missing/);
    await writeFile(join(directory, 'az1', 'identity.json'), JSON.stringify({ az: 'az1', storeId: randomUUID() }));
    await expect(storeOf().audit()).rejects.toThrow(/belongs to/);
  });

  it('two processes that start at the same time agree on one identity', async () => {
    const results = await Promise.all([storeOf().audit(), storeOf().audit(), storeOf().audit()]);
    expect(results).toHaveLength(3);
    expect(await database.db.selectFrom('store_az').selectAll().execute()).toMatchObject([
      { name: 'az1', initialized: true },
    ]);
  });

  it('an object that no row explains is told by the audit', async () => {
    const store = storeOf();
    await store.audit();
    await writeFile(join(directory, 'az1', 'open', `${randomUUID()}.pack`), 'x');
    await writeFile(join(directory, 'az1', 'notes.txt'), 'x');
    expect((await store.audit()).unknownObjects).toHaveLength(2);
  });
});

/** Of several passes at once one runs and the others are told so (C9). */
const collectUnlessBusy = (store: Store): Promise<unknown> =>
  store.collect().catch((err: unknown) => {
    if (!(err instanceof CollectorBusyError)) throw err;
  });

describe('references and collection', () => {
  it('spares what a running job holds or a live image uses, and removes the rest with its packs', async () => {
    const store = storeOf();
    const kept = await ingestAs(store, [1, 2, null, 3]);
    const image = await publish(store, kept.jobId, kept.disk);
    const running = await ingestAs(store, [3, 4]);
    const undone = await ingestAs(store, [5, 6]);
    await store.discard(undone.jobId);
    await store.discard(undone.jobId);
    expect(await store.isCollectionDue()).toBe(true);
    await store.collect();
    expect(await store.isCollectionDue()).toBe(false);
    const left = async () => (await database.db.selectFrom('segment').select('key').execute()).length;
    expect(await left()).toBe(4);
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
    expect(await store.verify({ ...handleOf(running.disk), signal, onProgress: quiet })).toMatchObject({
      segmentsVerified: 2,
    });
    expect(await store.verify({ ...handleOf(kept.disk), signal, onProgress: quiet })).toMatchObject({
      segmentsVerified: 3,
    });

    await inTransaction(database.db, (trx) => store.release(trx, { imageId: image, ...handleOf(kept.disk) }));
    expect(await store.isCollectionDue()).toBe(true);
    await store.collect();
    expect(await left()).toBe(2);
    await store.discard(running.jobId);
    const { bytesRemoved } = await store.collect();
    expect(bytesRemoved).toBeGreaterThan(0);
    expect(await left()).toBe(0);
    expect(await packFiles()).toEqual([]);
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
    expect(await database.db.selectFrom('manifest').selectAll().execute()).toEqual([]);
  });

  it('keeps released bytes for the grace of open readers', async () => {
    const store = storeOf({ collectGraceMs: 3_600_000 });
    const { jobId, disk, path } = await ingestAs(store, [1, 2]);
    const image = await publish(store, jobId, disk);
    const raw = await store.open(handleOf(disk), 'raw');
    await inTransaction(database.db, (trx) => store.release(trx, { imageId: image, ...handleOf(disk) }));
    expect(await store.isCollectionDue()).toBe(false);
    expect(await store.collect()).toEqual({ segmentsRemoved: 0, packsRemoved: 0, bytesRemoved: 0 });
    expect(await sha256OfChunks(raw.read())).toBe(await sha256OfFile(path));
  });

  it('keeps released bytes as long as the longest download lasts, and no longer than an hour more', async () => {
    const store = createImageStore({ db: database.db, directory, threads: 1 });
    try {
      const { jobId, disk, path } = await ingestAs(store, [1, 2]);
      const image = await publish(store, jobId, disk);
      const raw = await store.open(handleOf(disk), 'raw');
      await inTransaction(database.db, (trx) => store.release(trx, { imageId: image, ...handleOf(disk) }));
      await endJob(database.db, jobId);
      const age = (ms: number) =>
        database.db
          .updateTable('manifest')
          .set({ released_at: sql<Date>`now() - ${ms} * interval '1 millisecond'` })
          .where('hash', '=', disk.manifestHash)
          .execute();
      await age(LONGEST_DOWNLOAD_MS);
      expect(await store.collect()).toEqual({ segmentsRemoved: 0, packsRemoved: 0, bytesRemoved: 0 });
      expect(await sha256OfChunks(raw.read())).toBe(await sha256OfFile(path));
      await age(LONGEST_DOWNLOAD_MS + 3_600_000);
      expect(await store.collect()).toMatchObject({ segmentsRemoved: 2 });
    } finally {
      await store.close();
    }
  });

  it('rewrites a pack that is mostly dead; frames stay the same and a reader under way follows', async () => {
    const store = storeOf({ threads: 1 });
    const big = await ingestAs(store, [1, 2, 3, 4, 5, 6, 7, 8]);
    const small = await ingestAs(store, [3, null, 7]);
    await publish(store, small.jobId, small.disk);
    const before = await sha256OfChunks((await store.open(handleOf(small.disk), 'zvhd2')).read());
    const raw = await store.open(handleOf(small.disk), 'raw');
    await store.discard(big.jobId);
    const oldPacks = await packFiles();
    const removed = await store.collect();
    expect(removed.segmentsRemoved).toBe(6);
    const newPacks = await packFiles();
    expect(newPacks).toHaveLength(1);
    expect(oldPacks).not.toContain(newPacks[0]);
    expect(await sha256OfChunks((await store.open(handleOf(small.disk), 'zvhd2')).read())).toBe(before);
    expect(await sha256OfChunks(raw.read())).toBe(await sha256OfFile(small.path));
    await store.verify({ ...handleOf(small.disk), signal, onProgress: quiet });
    const pack = await database.db.selectFrom('pack').selectAll().executeTakeFirstOrThrow();
    expect(pack.state).toBe('sealed');
    expect(pack.live_bytes).toBe(small.disk.storedBytes);
    expect(await store.collect()).toEqual({ segmentsRemoved: 0, packsRemoved: 0, bytesRemoved: 0 });
  });

  it('runs beside ingests of the same content without losing a segment', async () => {
    const store = storeOf();
    for (let round = 0; round < 3; round += 1) {
      const dead = await ingestAs(store, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
      await store.discard(dead.jobId);
      const [first, second] = await Promise.all([
        ingestAs(store, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ingestAs(store, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        collectUnlessBusy(store),
        collectUnlessBusy(store),
        (async () => {
          for (let times = 0; times < 20; times += 1) await collectUnlessBusy(store);
        })(),
      ]);
      await store.verify({ ...handleOf(first.disk), signal, onProgress: quiet });
      await store.verify({ ...handleOf(second.disk), signal, onProgress: quiet });
      await store.discard(first.jobId);
      await store.discard(second.jobId);
      await store.collect();
      expect(await database.db.selectFrom('segment').selectAll().execute()).toEqual([]);
    }
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
  });

  it('publishes only what the job holds, and once', async () => {
    const store = storeOf();
    const { jobId, disk } = await ingestAs(store, [1, 2]);
    const stranger = newJobId();
    await expect(publish(store, stranger, disk)).rejects.toThrow(NotHeldError);
    await publish(store, jobId, disk);
    await expect(publish(store, jobId, disk)).rejects.toThrow(NotHeldError);
    const undone = await ingestAs(store, [1, 2]);
    await store.discard(undone.jobId);
    await expect(publish(store, undone.jobId, disk)).rejects.toThrow(NotHeldError);
  });

  it('an image that shares its manifest with a live one releases nothing', async () => {
    const store = storeOf();
    const first = await ingestAs(store, [1, 2]);
    const second = await ingestAs(store, [1, 2]);
    const images = [await publish(store, first.jobId, first.disk), await publish(store, second.jobId, second.disk)];
    for (const id of images) {
      await database.db
        .insertInto('image')
        .values({
          id,
          project_id: PROJECT,
          name: 'x',
          status: 'active',
          disk_format: 'zvhd2',
          min_disk_gib: 1,
          min_ram_mib: 0,
          tags: [],
          attributes: JSON.stringify({}),
          domain_id: first.disk.domainId,
          manifest_hash: first.disk.manifestHash,
          created_at: sql`now()`,
          updated_at: sql`now()`,
        })
        .execute();
    }
    const remove = async (id: string): Promise<void> => {
      await inTransaction(database.db, async (trx) => {
        await store.release(trx, { imageId: imageId(id), ...handleOf(first.disk) });
        await trx
          .updateTable('image')
          .set({ deleted_at: sql`now()` })
          .where('id', '=', id)
          .execute();
      });
      await store.collect();
    };
    await remove(images[0] ?? '');
    await store.verify({ ...handleOf(first.disk), signal, onProgress: quiet });
    await remove(images[1] ?? '');
    expect(await packFiles()).toEqual([]);
  });
});
