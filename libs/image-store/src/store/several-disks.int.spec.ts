import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { dedupDomainId, imageId, type IngestedDisk } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';
import { NotHeldError } from '../errors';
import { SEGMENT_BYTES } from '../layout/segment';
import {
  describeRaw,
  endJob,
  ingestDisk,
  insertJob,
  makeRawDisk,
  newJobId,
  PROJECT,
  sha256OfChunks,
  sha256OfFile,
} from '../spec-support/store-fixture';
import { createImageStore } from './image-store';

const signal = new AbortController().signal;
const DATA = 'data:/dev/vdb';

let database: TestDatabase;
let directory: string;
let buckets: string;
let store: ReturnType<typeof createImageStore>;
const children: ChildProcess[] = [];

beforeEach(async () => {
  database = await testDatabase();
  directory = await temporaryDirectory();
  buckets = await temporaryDirectory();
  store = createImageStore({ db: database.db, directory, threads: 1, collectGraceMs: 0 });
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await store.close();
  await database.drop();
});

const aJob = async () => {
  const id = newJobId();
  await insertJob(database.db, id);
  return id;
};
const publishAll = (jobId: ReturnType<typeof newJobId>, disks: readonly [string | undefined, IngestedDisk][]) =>
  inTransaction(database.db, async (trx) => {
    for (const [part, { domainId, manifestHash }] of disks) {
      await store.publish(trx, {
        jobId,
        imageId: imageId(randomUUID()),
        ...(part === undefined ? {} : { part }),
        domainId: dedupDomainId(domainId),
        manifestHash,
      });
    }
  });
const sha256Of = async ({ domainId, manifestHash }: IngestedDisk): Promise<string> =>
  sha256OfChunks((await store.open({ domainId: dedupDomainId(domainId), manifestHash }, 'raw')).read());
const rowsLeft = async () => ({
  holds: await database.db.selectFrom('segment_hold').selectAll().execute(),
  manifests: await database.db.selectFrom('manifest_hold').selectAll().execute(),
});

describe('several disks of one job', () => {
  it('are stored and published side by side, also equal and blank ones (CRE-16)', async () => {
    const disks = await Promise.all(
      [
        [1, 2, null, 3],
        [1, 9],
        [1, 9],
        [null, null],
        [null, null],
      ].map((segments, n) => makeRawDisk(buckets, `${n}.raw`, segments)),
    );
    const jobId = await aJob();
    const ingested: [string | undefined, IngestedDisk][] = [];
    for (const [n, { disk }] of disks.entries()) {
      const part = n === 0 ? undefined : `data:/dev/vd${n}`;
      ingested.push([part, (await ingestDisk(store, jobId, disk, part === undefined ? {} : { part })).disk]);
      await store.collect();
    }
    expect(ingested.map(([, { segmentCount }]) => segmentCount)).toEqual([3, 2, 2, 0, 0]);
    // Each disk is what a job of that disk alone would have made of it.
    const alone = await aJob();
    const { disk: equal } = await makeRawDisk(buckets, 'equal.raw', [1, 9]);
    expect((await ingestDisk(store, alone, equal)).disk).toEqual(ingested[1]?.[1]);
    await store.discard(alone);

    await publishAll(jobId, ingested);
    expect(await rowsLeft()).toEqual({ holds: [], manifests: [] });
    await endJob(database.db, jobId);
    await store.collect();
    for (const [n, { path }] of disks.entries()) {
      const disk = ingested[n]?.[1];
      if (disk === undefined) throw new Error('a disk is missing');
      expect(await sha256Of(disk)).toBe(await sha256OfFile(path));
    }
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
  });

  it('are published all or none: the transaction fails with a disk that is not held', async () => {
    const system = await makeRawDisk(buckets, 'system.raw', [1, 2]);
    const data = await makeRawDisk(buckets, 'data.raw', [3]);
    const jobId = await aJob();
    const first = (await ingestDisk(store, jobId, system.disk)).disk;
    const second = (await ingestDisk(store, jobId, data.disk, { part: DATA })).disk;
    const before = await rowsLeft();
    await expect(
      publishAll(jobId, [
        [undefined, first],
        ['data:/dev/vdc', second],
      ]),
    ).rejects.toThrow(NotHeldError);
    expect(await rowsLeft()).toEqual(before);
    await publishAll(jobId, [
      [undefined, first],
      [DATA, second],
    ]);
  });

  it('are all discarded together, and nothing of them remains', async () => {
    const system = await makeRawDisk(buckets, 'system.raw', [1, 2]);
    const data = await makeRawDisk(buckets, 'data.raw', [2, 3]);
    const jobId = await aJob();
    await ingestDisk(store, jobId, system.disk);
    await ingestDisk(store, jobId, data.disk, { part: DATA });
    await store.discard(jobId);
    expect(await rowsLeft()).toEqual({ holds: [], manifests: [] });
    await store.collect();
    expect(await database.db.selectFrom('segment').selectAll().execute()).toEqual([]);
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
  });

  it('go on where a killed process was, in whichever disk that is, with the collector beside them (fault-matrix P1)', async () => {
    const system = await makeRawDisk(buckets, 'system.raw', [1, 2, 3]);
    // Incompressible, so that the first pack is full well before the end.
    const path = join(buckets, 'images', 'data.raw');
    await mkdir(join(buckets, 'images'), { recursive: true });
    const handle = await open(path, 'w');
    for (let index = 0; index < 70; index += 1) await handle.write(randomBytes(SEGMENT_BYTES));
    await handle.close();
    const disk = await describeRaw(buckets, 'data.raw');
    const jobId = await aJob();
    const domainId = await store.plainDomain(PROJECT);
    const first = (await ingestDisk(store, jobId, system.disk)).disk;

    const entry = join(__dirname, '..', '..', 'dist', 'spec-support', 'ingest-child.js');
    const input = { url: database.url, directory, threads: 1, jobId, domainId, part: DATA, disk };
    const child = spawn(process.execPath, [entry, JSON.stringify(input)], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    for await (const line of createInterface({ input: child.stdout })) {
      const told = /"bytesDone":(\d+)/.exec(line);
      if (Number(told?.[1] ?? 0) > 0) break;
    }
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const held = await database.db.selectFrom('segment_hold').select('part').where('job_id', '=', jobId).execute();
    const ofData = held.filter(({ part }) => part === DATA).length;
    expect(held.length - ofData).toBe(3);
    expect(ofData).toBeGreaterThan(0);
    expect(ofData).toBeLessThan(70);
    await store.collect();

    // The whole step runs again: the first disk is there already, the second goes on.
    const again = await ingestDisk(store, jobId, system.disk);
    expect(again.disk).toEqual(first);
    expect(again.last.bytesWritten).toBe(0);
    let least = Infinity;
    const { disk: second } = await ingestDisk(store, jobId, disk, {
      part: DATA,
      onProgress: ({ bytesDone }) => {
        least = Math.min(least, bytesDone);
      },
    });
    expect(least).toBeGreaterThanOrEqual(ofData * SEGMENT_BYTES);
    for (const { manifestHash } of [first, second]) {
      await store.verify({ domainId, manifestHash, signal, onProgress: () => undefined });
    }
    await publishAll(jobId, [
      [undefined, first],
      [DATA, second],
    ]);
    await endJob(database.db, jobId);
    await store.collect();
    expect([await sha256Of(first), await sha256Of(second)]).toEqual([
      await sha256OfFile(system.path),
      await sha256OfFile(path),
    ]);
    expect(await store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
  });
});
