import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DedupDomainId, dedupDomainId, imageId, type IngestedDisk } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { temporaryDirectory, testDatabase, type TestDatabase, waitFor } from '@ims/testing';
import { sql } from 'kysely';
import { StoredBytesDamagedError } from '../errors';
import type { DataKeys, IngestProgress, KeyedDomain } from '../image-store.port';
import { SEGMENT_BYTES } from '../layout/segment';
import { openAz } from '../placement/directory-az';
import {
  describeRaw,
  insertJob,
  makeRawDisk,
  newJobId,
  PROJECT,
  sha256OfChunks,
  sha256OfFile,
} from '../spec-support/store-fixture';
import { StoreThreads } from '../threads/store-threads';
import { Domains } from './domains';
import { createImageStore, type ImageStoreOptions } from './image-store';
import { IngestSession } from './ingest';
import { SegmentIndex } from './segment-index';

/** Keeps data keys as a key service does: wrapped, bound to their domain, and given out while the user's key is enabled. */
class Keyring implements DataKeys {
  readonly disabled = new Set<string>();
  readonly issued: Buffer[] = [];
  opened = 0;
  private readonly masters = new Map<string, Buffer>();

  create = (domain: KeyedDomain): Promise<{ key: Buffer; wrapped: Buffer }> => {
    const key = randomBytes(32);
    this.issued.push(Buffer.from(key));
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.master(domain), nonce).setAAD(Buffer.from(domain.id));
    return Promise.resolve({
      key,
      wrapped: Buffer.concat([nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()]),
    });
  };

  open = async (domain: KeyedDomain, wrapped: Uint8Array): Promise<Buffer> => {
    const decipher = createDecipheriv('aes-256-gcm', this.master(domain), wrapped.subarray(0, 12))
      .setAAD(Buffer.from(domain.id))
      .setAuthTag(wrapped.subarray(-16));
    this.opened += 1;
    return Promise.resolve(Buffer.concat([decipher.update(wrapped.subarray(12, -16)), decipher.final()]));
  };

  private master({ keyId }: KeyedDomain): Buffer {
    if (this.disabled.has(keyId)) throw new Error(`key ${keyId} is disabled`);
    const master = this.masters.get(keyId) ?? randomBytes(32);
    this.masters.set(keyId, master);
    return master;
  }
}

let database: TestDatabase;
let buckets: string;
let directory: string;
let keyring: Keyring;
const stores: ReturnType<typeof createImageStore>[] = [];
const signal = new AbortController().signal;

beforeAll(async () => {
  database = await testDatabase();
  buckets = await temporaryDirectory();
});
beforeEach(async () => {
  // In the order of their references.
  for (const table of [
    'manifest_segment',
    'manifest_hold',
    'manifest',
    'segment_hold',
    'segment',
    'pack',
    'dedup_domain',
    'store_az',
    'job',
  ])
    await sql`delete from ${sql.table(table)}`.execute(database.db);
  directory = await temporaryDirectory();
  keyring = new Keyring();
});
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
});
afterAll(() => database.drop());

function openStore(options: Partial<ImageStoreOptions> = {}): ReturnType<typeof createImageStore> {
  const store = createImageStore({
    db: database.db,
    directory,
    threads: 2,
    collectGraceMs: 0,
    dataKeys: keyring,
    ...options,
  });
  stores.push(store);
  return store;
}
type Store = ReturnType<typeof createImageStore>;

interface Stored {
  disk: IngestedDisk;
  last: IngestProgress;
}

// Does not compress, so a plain store has it literally.
const SECRET = randomBytes(SEGMENT_BYTES);

async function importDisk(store: Store, key: string, domainId: DedupDomainId, job = newJobId()): Promise<Stored> {
  const { path } = await makeRawDisk(buckets, key, [1, null, 2, 1, 3, 4, null, null]);
  const file = await open(path, 'r+');
  await file.write(SECRET, 0, SEGMENT_BYTES, 7 * SEGMENT_BYTES);
  await file.close();
  const disk = await describeRaw(buckets, key);
  let last: IngestProgress = { bytesDone: 0, bytesTotal: 0, bytesWritten: 0 };
  const ingested = await store.ingest({
    jobId: job,
    domainId,
    disk,
    signal,
    onProgress: (progress) => {
      last = progress;
    },
  });
  return { disk: ingested, last };
}

async function copyDisk(store: Store, from: IngestedDisk, domainId: DedupDomainId, job = newJobId()): Promise<Stored> {
  let last: IngestProgress = { bytesDone: 0, bytesTotal: 0, bytesWritten: 0 };
  const disk = await store.copy({
    jobId: job,
    from: handleOf(from),
    domainId,
    signal,
    onProgress: (progress) => {
      last = progress;
    },
  });
  return { disk, last };
}

const handleOf = ({ domainId, manifestHash }: IngestedDisk) => ({ domainId: dedupDomainId(domainId), manifestHash });
const verify = (store: Store, disk: IngestedDisk) =>
  store.verify({ ...handleOf(disk), signal, onProgress: () => undefined });
const rawHash = async (store: Store, disk: IngestedDisk): Promise<string> =>
  sha256OfChunks((await store.open(handleOf(disk), 'raw')).read());
const fileOf = (key: string): Promise<string> => sha256OfFile(join(buckets, 'images', key));

async function storedBytes(): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) parts.push(await readFile(join(entry.parentPath, entry.name)));
  return Buffer.concat(parts);
}

describe('an encrypted dedup domain', () => {
  it('gives back what was stored in it, and holds neither guest bytes nor the data key (ENC-01)', async () => {
    const store = openStore();
    const domain = await store.keyedDomain(PROJECT, 'key-1');
    const { disk } = await importDisk(store, 'enc.raw', domain);
    expect(await verify(store, disk)).toEqual({ segmentsVerified: 6, contentRoot: disk.contentRoot });
    expect(await rawHash(store, disk)).toBe(await fileOf('enc.raw'));
    const bytes = await storedBytes();
    // The plain store below shows that it would be found.
    const literal = SECRET.subarray(1000, 1032);
    expect(bytes.includes(literal)).toBe(false);
    for (const key of keyring.issued) expect(bytes.includes(key)).toBe(false);
    expect(keyring.issued).toHaveLength(1);

    const plain = await importDisk(store, 'enc.raw', await store.plainDomain(PROJECT));
    expect((await storedBytes()).includes(literal)).toBe(true);
    // Nobody learns from roots, names or manifests that the two are alike.
    expect(plain.disk.contentRoot).not.toBe(disk.contentRoot);
    expect(plain.disk.manifestHash).not.toBe(disk.manifestHash);
    // The file that a download serves is as long, because its frames are the same.
    expect(disk.fileBytes).toBe(plain.disk.fileBytes);
    expect((await store.open(handleOf(disk), 'zvhd2')).sizeBytes).toBe(disk.fileBytes);
  });

  it('is one for a project and a key, and the same disk is stored in it once', async () => {
    const store = openStore();
    const domains = await Promise.all([1, 2, 3].map(() => store.keyedDomain(PROJECT, 'key-1')));
    expect(new Set(domains).size).toBe(1);
    expect(await store.keyedDomain(PROJECT, 'key-2')).not.toBe(domains[0]);
    const [domain] = domains;
    if (domain === undefined) throw new Error('no domain');
    const first = await importDisk(store, 'once.raw', domain);
    const second = await importDisk(store, 'once.raw', domain);
    expect(second.last.bytesWritten).toBe(0);
    // By the same names and under the same manifest: an ingest that is run twice has one output.
    expect(second.disk).toEqual(first.disk);
  });

  it('adopts a sealed pack that a dead attempt left behind', async () => {
    const store = openStore();
    const domain = await store.keyedDomain(PROJECT, 'key-1');
    const job = newJobId();
    const first = await importDisk(store, 'adopt.raw', domain, job);
    await sql`delete from segment_hold`.execute(database.db);
    await sql`delete from segment`.execute(database.db);
    await sql`update pack set state = 'open', job_id = ${job}`.execute(database.db);
    const again = await importDisk(store, 'adopt.raw', domain, job);
    expect(again.last.bytesWritten).toBe(0);
    expect(again.disk).toEqual(first.disk);
    await verify(store, again.disk);
  });

  it('tells a segment or a frame that lies in the place of another (ENC-01)', async () => {
    const store = openStore();
    const { disk } = await importDisk(store, 'swap.raw', await store.keyedDomain(PROJECT, 'key-1'));
    // The rows of all segments point to the bytes of one: checksums are right, the seals are not.
    await sql`
      update segment s set pack_id = o.pack_id, pack_offset = o.pack_offset, frame_lengths = o.frame_lengths,
        frame_checksums = o.frame_checksums, frame_nonces = o.frame_nonces
      from (select * from segment order by key limit 1) o`.execute(database.db);
    await expect(rawHash(store, disk)).rejects.toThrow(/seal is broken/);
    await expect(verify(store, disk)).rejects.toThrow(StoredBytesDamagedError);
  });

  it('serves no frames in the open in the place of sealed ones (ENC-01)', async () => {
    const store = openStore();
    const plain = await importDisk(store, 'plain.raw', await store.plainDomain(PROJECT));
    const { disk } = await importDisk(store, 'plain.raw', await store.keyedDomain(PROJECT, 'key-1'));
    await sql`
      update segment s set pack_id = o.pack_id, pack_offset = o.pack_offset, frame_lengths = o.frame_lengths,
        frame_checksums = o.frame_checksums, frame_nonces = null
      from (select * from segment where domain_id = ${plain.disk.domainId} order by key limit 1) o
      where s.domain_id = ${disk.domainId}`.execute(database.db);
    await expect(rawHash(store, disk)).rejects.toThrow(/is not sealed/);
    await expect(verify(store, disk)).rejects.toThrow(StoredBytesDamagedError);
  });

  it('is read only while its key may be used, and again afterwards (ENC-05)', async () => {
    // The key is asked for at every use.
    const store = openStore({ dataKeyMs: 1 });
    const domain = await store.keyedDomain(PROJECT, 'key-1');
    const { disk } = await importDisk(store, 'off.raw', domain);
    keyring.disabled.add('key-1');
    const isRefused = (work: () => Promise<unknown>): Promise<unknown> =>
      waitFor(
        () =>
          work().then(
            () => false,
            (error: unknown) => String(error).includes('key-1 is disabled'),
          ),
        { deadlineMs: 10_000, what: 'the key is not used any more' },
      );
    await isRefused(() => rawHash(store, disk));
    await isRefused(() => verify(store, disk));
    await isRefused(async () => copyDisk(store, disk, await store.plainDomain(PROJECT)));
    await isRefused(() => importDisk(store, 'off.raw', domain));
    keyring.disabled.clear();
    expect(await rawHash(store, disk)).toBe(await fileOf('off.raw'));
  });

  it('is written only while its key may be used, however slow the source is (ENC-05)', async () => {
    const domains = new Domains(database.db, keyring, 1);
    const az = openAz({ driver: 'directory', name: 'az1', path: join(directory, 'az1') });
    const parts = { az, index: new SegmentIndex(database.db), domains, threads: new StoreThreads(1) };
    const domainId = dedupDomainId(await domains.keyed(PROJECT, 'key-1'));
    const request = {
      jobId: newJobId(),
      domainId,
      virtualSizeBytes: SEGMENT_BYTES,
      signal,
      onProgress: () => undefined,
    };
    const session = new IngestSession(parts, request, 1, 0, 1);
    keyring.disabled.add('key-1');
    // A source that gives nothing before it is let go: no look-up, and no pack is opened.
    const nothing = (until: AbortSignal) =>
      new Promise<void>((_, reject) => {
        until.addEventListener('abort', () => reject(new Error('let go', { cause: until.reason })));
      });
    await expect(session.run(nothing)).rejects.toMatchObject({ cause: { message: 'key key-1 is disabled' } });
  });

  it('keeps a data key in memory for its time only', async () => {
    const store = openStore();
    const { disk } = await importDisk(store, 'cached.raw', await store.keyedDomain(PROJECT, 'key-1'));
    const before = keyring.opened;
    await rawHash(store, disk);
    expect(keyring.opened).toBe(before);
    const impatient = openStore({ dataKeyMs: 1 });
    await waitFor(
      async () => {
        await rawHash(impatient, disk);
        return keyring.opened > before + 1;
      },
      { deadlineMs: 10_000, what: 'the key is asked for again' },
    );
  });

  it('lets the collector move sealed frames without the key', async () => {
    const store = openStore({ rewriteBelow: 1 });
    const domain = await store.keyedDomain(PROJECT, 'key-1');
    const job = newJobId();
    await insertJob(database.db, job);
    const { disk } = await importDisk(store, 'moved.raw', domain, job);
    await inTransaction(database.db, (trx) =>
      store.publish(trx, { jobId: job, imageId: imageId('00000000-0000-4000-8000-000000000001'), ...handleOf(disk) }),
    );
    keyring.disabled.add('key-1');
    const packs = () => database.db.selectFrom('segment').select('pack_id').distinct().execute();
    const before = await packs();
    await openStore({ rewriteBelow: 1 }).collect();
    expect(await packs()).not.toEqual(before);
    keyring.disabled.clear();
    await verify(store, disk);
    expect(await rawHash(store, disk)).toBe(await fileOf('moved.raw'));
  });
});

describe('a copy', () => {
  it('converts plain and encrypted disks into each other with the same guest bytes and other stored bytes (REP-01)', async () => {
    const store = openStore();
    const plain = await store.plainDomain(PROJECT);
    const [one, two] = [await store.keyedDomain(PROJECT, 'key-1'), await store.keyedDomain(PROJECT, 'key-2')];
    const source = await importDisk(store, 'copied.raw', plain);
    const expected = await fileOf('copied.raw');
    const encrypted = await copyDisk(store, source.disk, one);
    const other = await copyDisk(store, encrypted.disk, two);
    await sql`delete from segment_hold where domain_id = ${plain}`.execute(database.db);
    await sql`delete from segment where domain_id = ${plain}`.execute(database.db);
    const back = await copyDisk(store, other.disk, plain);
    for (const { disk, last } of [encrypted, other, back]) {
      expect(last.bytesDone).toBe(6 * SEGMENT_BYTES);
      expect(last.bytesWritten).toBeGreaterThan(0);
      expect(disk.virtualSizeBytes).toBe(8 * SEGMENT_BYTES);
      expect(await verify(store, disk)).toMatchObject({ segmentsVerified: 6 });
      expect(await rawHash(store, disk)).toBe(expected);
    }
    expect(new Set([source, encrypted, other].map(({ disk }) => disk.contentRoot)).size).toBe(3);
    // A plain copy of an encrypted copy is the disk it began with, to the frame.
    expect(back.disk).toMatchObject({ manifestHash: source.disk.manifestHash, storedBytes: source.disk.storedBytes });
    expect(keyring.issued).toHaveLength(2);
  });

  it('is whole beside another one of the same image at the same moment, also when that one is given up', async () => {
    const store = openStore();
    const source = await importDisk(store, 'twins.raw', await store.plainDomain(PROJECT));
    const domain = await store.keyedDomain(PROJECT, 'key-1');
    const jobs = [newJobId(), newJobId(), newJobId()];
    for (const job of jobs) await insertJob(database.db, job);
    const twins = await Promise.all(jobs.map((job) => copyDisk(store, source.disk, domain, job)));
    const [first, ...others] = twins.map(({ disk }) => disk);
    if (first === undefined) throw new Error('no copy');
    for (const other of others) expect(other).toEqual(first);
    for (const job of jobs.slice(1)) await store.discard(job);
    await store.collect();
    await verify(store, first);
    expect(await rawHash(store, first)).toBe(await fileOf('twins.raw'));
  });

  it('moves no byte in its own domain, and none that the other domain has', async () => {
    const store = openStore();
    const source = await importDisk(store, 'again.raw', await store.plainDomain(PROJECT));
    const domain = await store.keyedDomain(PROJECT, 'key-1');
    await copyDisk(store, source.disk, domain);
    for (const target of [await store.plainDomain(PROJECT), domain]) {
      const { disk, last } = await copyDisk(store, source.disk, target);
      expect(last).toMatchObject({ bytesDone: last.bytesTotal, bytesWritten: 0 });
      await verify(store, disk);
    }
  });

  it('goes on from what its job holds already, and takes nothing for done that is damaged', async () => {
    const store = openStore();
    const source = await importDisk(store, 'resumed.raw', await store.plainDomain(PROJECT));
    const domain = await store.keyedDomain(PROJECT, 'key-1');
    const job = newJobId();
    const first = await copyDisk(store, source.disk, domain, job);
    await sql`delete from segment_hold where job_id = ${job} and segment_index > 2`.execute(database.db);
    const again = await copyDisk(store, source.disk, domain, job);
    expect(again.disk).toEqual(first.disk);
    expect(again.last.bytesWritten).toBe(0);
    await sql`update segment set frame_checksums[1] = 1 where domain_id = ${source.disk.domainId}`.execute(database.db);
    await expect(copyDisk(store, source.disk, await store.keyedDomain(PROJECT, 'key-2'))).rejects.toThrow(
      StoredBytesDamagedError,
    );
  });
});
