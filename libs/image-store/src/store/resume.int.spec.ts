import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { dedupDomainId } from '@ims/contract';
import type { DiskDescriptor } from '@ims/image-format';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';
import { SEGMENT_BYTES } from '../layout/segment';
import { PACK_LIMIT_BYTES } from '../placement/pack-writer';
import {
  describeRaw,
  ingestDisk,
  insertJob,
  newJobId,
  OTHER_PROJECT,
  PROJECT,
  sha256OfChunks,
  sha256OfFile,
} from '../spec-support/store-fixture';
import { createImageStore } from './image-store';

const THREADS = 2;
const signal = new AbortController().signal;

let database: TestDatabase;
let directory: string;
let buckets: string;
let path: string;
let disk: DiskDescriptor;
const children: ChildProcess[] = [];

beforeEach(async () => {
  database = await testDatabase();
  directory = await temporaryDirectory();
  buckets = await temporaryDirectory();
  // Bytes that do not compress fill packs quickest; a hole and a repeated segment in between.
  path = join(buckets, 'images', 'big.raw');
  await mkdir(join(buckets, 'images'), { recursive: true });
  const handle = await open(path, 'w');
  const repeated = randomBytes(SEGMENT_BYTES);
  for (let index = 0; index < 190; index += 1) {
    if (index === 50) continue;
    const bytes = index % 60 === 1 ? repeated : randomBytes(SEGMENT_BYTES);
    await handle.write(bytes, 0, bytes.length, index * SEGMENT_BYTES);
  }
  await handle.close();
  disk = await describeRaw(buckets, 'big.raw');
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await database.drop();
});

function startChild(input: object): { child: ChildProcess; lines: AsyncIterable<string> } {
  const entry = join(__dirname, '..', '..', 'dist', 'spec-support', 'ingest-child.js');
  const child = spawn(process.execPath, [entry, JSON.stringify(input)], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  if (child.stdout === null) throw new Error('no output');
  return { child, lines: createInterface({ input: child.stdout }) };
}

async function bytesOnDisk(): Promise<number> {
  let sum = 0;
  for (const folder of ['open', 'packs']) {
    for (const entry of await readdir(join(directory, 'az1', folder), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) sum += (await stat(join(entry.parentPath, entry.name))).size;
    }
  }
  return sum;
}

const numberIn = (line: string, name: string): number => {
  const parsed: unknown = JSON.parse(line);
  const value =
    typeof parsed === 'object' && parsed !== null
      ? Object.entries(parsed).find(([key]) => key === name)?.[1]
      : undefined;
  return typeof value === 'number' ? value : 0;
};

describe('an ingest whose process is killed', () => {
  it('goes on from the last durable pack: at most one open pack per thread is written again (fault-matrix P1)', async () => {
    const store = createImageStore({ db: database.db, directory, threads: THREADS, collectGraceMs: 0 });
    const domainId = await store.plainDomain(PROJECT);
    const jobId = newJobId();
    await insertJob(database.db, jobId);
    const { child, lines } = startChild({ url: database.url, directory, threads: THREADS, jobId, domainId, disk });
    for await (const line of lines) if (numberIn(line, 'bytesDone') > 0) break;
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');

    const held = await database.db
      .selectFrom('segment_hold')
      .select('segment_index')
      .where('job_id', '=', jobId)
      .execute();
    expect(held.length).toBeGreaterThan(0);
    expect(held.length).toBeLessThan(189);
    const writtenBefore = await bytesOnDisk();
    // The collector comes by between the attempts and must leave the running job alone.
    await store.collect();

    let least = Infinity;
    const { disk: ingested, last } = await ingestDisk(store, jobId, disk, {
      onProgress: ({ bytesDone }) => {
        least = Math.min(least, bytesDone);
      },
    });
    expect(least).toBeGreaterThanOrEqual(held.length * SEGMENT_BYTES);
    expect(writtenBefore + last.bytesWritten - ingested.storedBytes).toBeLessThanOrEqual(THREADS * PACK_LIMIT_BYTES);
    expect(last.bytesWritten).toBeLessThan(ingested.storedBytes);

    await store.verify({ domainId, manifestHash: ingested.manifestHash, signal, onProgress: () => undefined });
    const raw = await store.open({ domainId, manifestHash: ingested.manifestHash }, 'raw');
    expect(await sha256OfChunks(raw.read())).toBe(await sha256OfFile(path));

    // An ingest that nobody disturbed comes to the same result.
    const { disk: undisturbed } = await ingestDisk(store, newJobId(), disk, { projectId: OTHER_PROJECT });
    expect({ ...undisturbed, domainId }).toEqual(ingested);
    await store.collect();
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
    await store.close();
  });

  it('an attempt that was replaced can no longer commit and leaves nothing behind (fault-matrix P5)', async () => {
    const store = createImageStore({ db: database.db, directory, threads: THREADS, collectGraceMs: 0 });
    const domainId = await store.plainDomain(PROJECT);
    const jobId = newJobId();
    await insertJob(database.db, jobId);
    const { child, lines } = startChild({ url: database.url, directory, threads: THREADS, jobId, domainId, disk });
    for await (const line of lines) if (numberIn(line, 'bytesDone') > 0) break;
    // Frozen, not dead: what a network partition looks like.
    child.kill('SIGSTOP');
    await store.discard(jobId);
    child.kill('SIGCONT');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    expect(child.exitCode).not.toBe(0);
    await database.db.updateTable('job').set({ status: 'FAIL', outcome: 'failed' }).where('id', '=', jobId).execute();
    await store.collect();
    expect(await database.db.selectFrom('segment_hold').selectAll().execute()).toEqual([]);
    expect(await database.db.selectFrom('segment').selectAll().execute()).toEqual([]);
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
    await store.close();
  });

  it('a pack that was written but not registered is adopted, a damaged one is not', async () => {
    const store = createImageStore({ db: database.db, directory, threads: 1, collectGraceMs: 0 });
    const domainId = dedupDomainId(await store.plainDomain(PROJECT));
    const jobId = newJobId();
    await insertJob(database.db, jobId);
    const first = await ingestDisk(store, jobId, disk);
    const packs = await database.db.selectFrom('pack').select('id').orderBy('sealed_at').execute();
    const [whole, damaged] = packs;
    if (whole === undefined || damaged === undefined) throw new Error('too few packs');
    // As if the process had died right before it registered these two.
    for (const { id } of [whole, damaged]) {
      const keys = await database.db.selectFrom('segment').select('key').where('pack_id', '=', id).execute();
      for (const { key } of keys) await database.db.deleteFrom('segment_hold').where('key', '=', key).execute();
      await database.db.deleteFrom('segment').where('pack_id', '=', id).execute();
      await database.db
        .updateTable('pack')
        .set({ state: 'open', sealed_at: null, size_bytes: null, live_bytes: 0 })
        .where('id', '=', id)
        .execute();
    }
    const file = await open(join(directory, 'az1', 'packs', damaged.id.slice(0, 2), `${damaged.id}.pack`), 'r+');
    await file.write(createHash('sha256').update('x').digest(), 0, 32, 1_000_000);
    await file.close();

    const { disk: again, last } = await ingestDisk(store, jobId, disk);
    expect(again).toEqual(first.disk);
    expect(last.bytesWritten).toBeGreaterThan(0);
    expect(last.bytesWritten).toBeLessThanOrEqual(PACK_LIMIT_BYTES);
    const ids = (await database.db.selectFrom('pack').select('id').execute()).map(({ id }) => id);
    expect(ids).toContain(whole.id);
    expect(ids).not.toContain(damaged.id);
    await store.verify({ domainId, manifestHash: again.manifestHash, signal, onProgress: () => undefined });
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
    await store.close();
  });
});
