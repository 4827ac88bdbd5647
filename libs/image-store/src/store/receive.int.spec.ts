import { createHash, randomBytes } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { dedupDomainId, type IngestedDisk, type JobId } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { noise, temporaryDirectory, testDatabase, type TestDatabase, waitFor } from '@ims/testing';
import { ExchangeError, StoredBytesDamagedError } from '../errors';
import type { DataKeys, RemoteDisk } from '../image-store.port';
import { LEAF_BYTES, SEGMENT_BYTES } from '../layout/segment';
import {
  describeRaw,
  ingestDisk,
  insertJob,
  makeRawDisk,
  newJobId,
  OTHER_PROJECT,
  PROJECT,
  sha256OfChunks,
} from '../spec-support/store-fixture';
import { createImageStore } from './image-store';

type Store = ReturnType<typeof createImageStore>;

describe('a disk is fetched from another store', () => {
  let databases: TestDatabase[];
  let source: Store;
  let target: Store;
  let bucket: string;
  let directory: string;

  beforeAll(async () => {
    databases = [await testDatabase(), await testDatabase()];
    const [here, there] = databases;
    if (here === undefined || there === undefined) throw new Error('two databases are needed');
    directory = await temporaryDirectory();
    bucket = join(directory, 'bucket');
    source = createImageStore({ db: here.db, directory: join(directory, 'a'), threads: 2 });
    target = createImageStore({ db: there.db, directory: join(directory, 'b'), threads: 2 });
  });
  afterAll(async () => {
    await source.close();
    await target.close();
    for (const database of databases) await database.drop();
  });

  const targetDb = () => {
    const db = databases[1]?.db;
    if (db === undefined) throw new Error('two databases are needed');
    return db;
  };
  const store = async (key: string): Promise<IngestedDisk> =>
    (await ingestDisk(source, newJobId(), await describeRaw(bucket, key))).disk;

  const refOf = ({ domainId, manifestHash }: { domainId: string; manifestHash: string }) => ({
    domainId: dedupDomainId(domainId),
    manifestHash,
  });

  /** The line between the two, which counts what passes and can be bent. */
  const lineTo = (disk: IngestedDisk, bend: (answer: Buffer, call: number) => Buffer | Promise<Buffer> = (b) => b) => {
    const line = { sent: 0, calls: 0 };
    const remote: RemoteDisk = {
      manifest: async () => {
        const bytes = await source.manifestBytes(refOf(disk));
        line.sent += bytes.length;
        return bytes;
      },
      exchange: async (request) => {
        const answer = await bend(await source.answer(refOf(disk), request), (line.calls += 1));
        line.sent += request.length + answer.length;
        return answer;
      },
    };
    return { line, remote };
  };

  const receive = async (
    disk: IngestedDisk,
    remote: RemoteDisk,
    options: { jobId?: JobId; base?: IngestedDisk; projectId?: string } = {},
  ) => {
    const { jobId = newJobId(), base, projectId = PROJECT } = options;
    const progress: number[] = [];
    const received = await target.receive({
      jobId,
      domainId: await target.plainDomain(projectId),
      manifestHash: disk.manifestHash,
      remote,
      base: base && refOf(base),
      signal: new AbortController().signal,
      onProgress: ({ bytesDone }) => progress.push(bytesDone),
    });
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    return received;
  };

  const sha256Of = async (from: Store, disk: { domainId: string; manifestHash: string }) =>
    sha256OfChunks((await from.open(refOf(disk), 'raw')).read());

  it('is the same disk there, read back and byte for byte, under names of its own (REP-03, I3)', async () => {
    await makeRawDisk(bucket, 'first.raw', [1, null, 2, 2, 3, null], { virtualSizeBytes: 6 * SEGMENT_BYTES - 512 });
    const disk = await store('first.raw');
    const { line, remote } = lineTo(disk);
    const received = await receive(disk, remote);
    expect(received).toMatchObject({ manifestHash: disk.manifestHash, contentRoot: disk.contentRoot, segmentCount: 4 });
    expect(received.domainId).not.toBe(disk.domainId);
    await target.verify({ ...refOf(received), signal: new AbortController().signal, onProgress: () => undefined });
    expect(await sha256Of(target, received)).toBe(await sha256Of(source, disk));
    // Three distinct segments, their frames as they are stored; heads and checksums of the messages are not counted.
    expect(received.wireBytes).toBeLessThanOrEqual(line.sent);
    expect(received.wireBytes).toBeGreaterThan(disk.storedBytes);
    expect(received.wireBytes).toBeLessThan(disk.storedBytes + 2_000);
  });

  it('moves no segment that the project has, and each project gets its own', async () => {
    const disk = await store('first.raw');
    const again = lineTo(disk);
    expect((await receive(disk, again.remote)).wireBytes).toBe(again.line.sent);
    expect(again.line.calls).toBe(0);
    const other = lineTo(disk);
    const received = await receive(disk, other.remote, { projectId: OTHER_PROJECT });
    expect(other.line.calls).toBeGreaterThan(0);
    expect(await sha256Of(target, received)).toBe(await sha256Of(source, disk));
  });

  it('moves little more than the leaves of 16 KiB that have changed: 120 small overwrites', async () => {
    const segments = 24;
    const bytes = noise('version 1', segments * SEGMENT_BYTES);
    const path = join(bucket, 'images', 'versions.raw');
    await writeFile(path, bytes);
    const before = await store('versions.raw');
    const base = await receive(before, lineTo(before).remote);
    const changed = new Set<number>();
    const file = await open(path, 'r+');
    for (let n = 0; n < 120; n += 1) {
      const at = createHash('sha256').update(`overwrite ${n}`).digest().readUInt32LE(0) % (bytes.length - 4096);
      await file.write(noise(`overwrite ${n}`, 4096), 0, 4096, at);
      changed.add(Math.floor(at / LEAF_BYTES)).add(Math.floor((at + 4095) / LEAF_BYTES));
    }
    await file.close();
    const after = await store('versions.raw');
    const { line, remote } = lineTo(after);
    const received = await receive(after, remote, { base });
    // Everything that passed in both directions, manifest and checksums too.
    expect(line.sent).toBeLessThanOrEqual(1.2 * changed.size * LEAF_BYTES);
    expect(line.sent).toBeGreaterThan(changed.size * LEAF_BYTES);
    expect(received.wireBytes).toBeLessThanOrEqual(line.sent);
    expect(await sha256Of(target, received)).toBe(await sha256Of(source, after));
  });

  it('asks for no key and tells no hash of a base that is encrypted (ENC-04)', async () => {
    const key = randomBytes(32);
    const dataKeys: DataKeys = {
      create: () => Promise.resolve({ key: Buffer.from(key), wrapped: Buffer.from('wrapped') }),
      open: () => Promise.resolve(Buffer.from(key)),
    };
    const keyed = createImageStore({ db: targetDb(), directory: join(directory, 'b'), threads: 1, dataKeys });
    await makeRawDisk(bucket, 'secret.raw', [51, 52]);
    const { disk: base } = await ingestDisk(keyed, newJobId(), await describeRaw(bucket, 'secret.raw'), {
      domainId: await keyed.keyedDomain(PROJECT, 'key-1'),
    });
    await keyed.close();
    const disk = await store('secret.raw');
    // Here nobody opens it: the store has no key service.
    const received = await receive(disk, lineTo(disk).remote, { base });
    expect(await sha256Of(target, received)).toBe(await sha256Of(source, disk));
  });

  it('goes on where a broken line left it, and what it took is counted once (BIL-10)', async () => {
    await writeFile(join(bucket, 'images', 'long.raw'), noise('long', 32 * SEGMENT_BYTES));
    const disk = await store('long.raw');
    const whole = await receive(disk, lineTo(disk).remote, { projectId: OTHER_PROJECT });
    const jobId = newJobId();
    await insertJob(targetDb(), jobId);
    const broken = lineTo(disk, (answer, call) => {
      if (call === 6) throw new Error('the line is cut');
      return answer;
    });
    await expect(receive(disk, broken.remote, { jobId })).rejects.toThrow('the line is cut');
    const { count } = await targetDb()
      .selectFrom('segment_hold')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .where('job_id', '=', jobId)
      .executeTakeFirstOrThrow();
    expect(count).toBeGreaterThan(0);
    const resumed = lineTo(disk);
    const received = await receive(disk, resumed.remote, { jobId });
    expect(resumed.line.sent).toBeLessThan(whole.wireBytes);
    expect(received.wireBytes).toBe(whole.wireBytes);
    expect(await sha256Of(target, received)).toBe(await sha256Of(source, disk));
    await target.discard(jobId);
  });

  it('goes on after a worker that died with an unsealed pack, which is sent again and counted once (P1, BIL-10)', async () => {
    await writeFile(join(bucket, 'images', 'died.raw'), noise('died', 12 * SEGMENT_BYTES));
    const disk = await store('died.raw');
    const jobId = newJobId();
    await insertJob(targetDb(), jobId);
    const death = Promise.withResolvers<never>();
    const isDead = Promise.withResolvers<void>();
    // Of what hangs nothing comes any more; what came before lies in a pack that nobody has sealed.
    const first = receive(
      disk,
      lineTo(disk, (answer, call) => (call < 3 ? answer : (isDead.resolve(), death.promise))).remote,
      {
        jobId,
      },
    );
    first.catch(() => undefined);
    await isDead.promise;
    const openPacks = async () =>
      (
        await targetDb()
          .selectFrom('pack')
          .select('id')
          .where('job_id', '=', jobId)
          .where('state', '=', 'open')
          .execute()
      ).length;
    await waitFor(async () => (await openPacks()) > 0, { deadlineMs: 10_000, what: 'a pack is being written' });
    const { line, remote } = lineTo(disk);
    const received = await receive(disk, remote, { jobId });
    expect(received.wireBytes).toBeLessThanOrEqual(line.sent);
    expect(received.wireBytes).toBeGreaterThan(disk.storedBytes);
    expect(received.wireBytes).toBeLessThan(disk.storedBytes * 1.01);
    expect(await sha256Of(target, received)).toBe(await sha256Of(source, disk));
    // The dead one was only asleep: it is too late for what it has.
    death.reject(new Error('awake'));
    await expect(first).rejects.toThrow();
    expect(await sha256Of(target, received)).toBe(await sha256Of(source, disk));
    await target.discard(jobId);
  });

  it('drops what came with a job that is called back (I4)', async () => {
    await makeRawDisk(bucket, 'dropped.raw', [71, 72]);
    const disk = await store('dropped.raw');
    const jobId = newJobId();
    await receive(disk, lineTo(disk).remote, { jobId });
    await target.discard(jobId);
    const held = await inTransaction(targetDb(), (trx) =>
      trx.selectFrom('segment_hold').select('key').where('job_id', '=', jobId).execute(),
    );
    expect(held).toEqual([]);
  });

  describe('trusts nothing that is sent (S5, S6)', () => {
    let disk: IngestedDisk;
    beforeAll(async () => {
      await makeRawDisk(bucket, 'hostile.raw', [91, 92]);
      disk = await store('hostile.raw');
    });
    const flipped = (bytes: Buffer, at: number): Buffer => {
      const copy = Buffer.from(bytes);
      copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
      return copy;
    };
    /** With a checksum that fits, as a liar would send it. */
    const sealed = (answer: Buffer): Buffer => {
      const body = answer.subarray(0, -32);
      return Buffer.concat([body, createHash('sha256').update(body).digest()]);
    };

    /** Where the first segment's frame lengths are, and where its frames. */
    const [LENGTHS_AT, FRAMES_AT] = [15, 47];
    const padded = (answer: Buffer, bytes: number): Buffer => {
      const skipped = Buffer.alloc(8 + bytes);
      // zstd: magic of a frame to be skipped, its length.
      skipped.writeUInt32LE(0x184d2a50, 0);
      skipped.writeUInt32LE(bytes, 4);
      return withFirstFrame(answer, (frame) => Buffer.concat([frame, skipped]));
    };
    const bomb = (answer: Buffer): Buffer => withFirstFrame(answer, () => zstdCompressSync(Buffer.alloc(2 ** 28)));
    const withFirstFrame = (answer: Buffer, change: (frame: Buffer) => Buffer): Buffer => {
      const end = FRAMES_AT + answer.readUInt32LE(LENGTHS_AT);
      const frame = change(answer.subarray(FRAMES_AT, end));
      const length = Buffer.alloc(4);
      length.writeUInt32LE(frame.length);
      return Buffer.concat([
        answer.subarray(0, LENGTHS_AT),
        length,
        answer.subarray(LENGTHS_AT + 4, FRAMES_AT),
        frame,
        answer.subarray(end),
      ]);
    };

    it.each<[string, (answer: Buffer) => Buffer]>([
      ['a bit that flipped on the way', (answer) => flipped(answer, 1000)],
      ['a cut answer', (answer) => answer.subarray(0, answer.length - 100)],
      ['an answer that goes on', (answer) => sealed(Buffer.concat([answer, Buffer.alloc(64)]))],
      ['another segment than was asked for', (answer) => sealed(flipped(answer, 11))],
      ['frames of other bytes', (answer) => sealed(flipped(answer, 1000))],
      ['frames that go on with bytes that decode to nothing', (answer) => sealed(padded(answer, 2 ** 20))],
      ['frames that decode to more than a frame', (answer) => sealed(bomb(answer))],
      ['nothing at all', () => Buffer.alloc(0)],
    ])('%s', async (_, bend) => {
      await expect(receive(disk, lineTo(disk, bend).remote)).rejects.toThrow(ExchangeError);
    });

    it('the manifest of another disk', async () => {
      const other = await store('first.raw');
      await expect(receive(disk, lineTo(other).remote)).rejects.toThrow(StoredBytesDamagedError);
    });

    it.each([
      ['none', Buffer.from('GET / HTTP/1.1')],
      ['a segment that the disk does not have', Buffer.from('494d5357414e54310100ffffff0000', 'hex')],
      ['a count beyond all bounds', Buffer.from('494d5357414e5431ffff', 'hex')],
    ])('a request that is %s', async (_, request) => {
      await expect(source.answer(refOf(disk), request)).rejects.toThrow(ExchangeError);
    });
  });

  it('asks for a segment as a whole when its base was not what its hashes said', async () => {
    await writeFile(join(bucket, 'images', 'base.raw'), noise('base', SEGMENT_BYTES));
    const before = await store('base.raw');
    const base = await receive(before, lineTo(before).remote);
    const bytes = noise('base', SEGMENT_BYTES);
    noise('changed', 100).copy(bytes, 70_000);
    await writeFile(join(bucket, 'images', 'base.raw'), bytes);
    const after = await store('base.raw');
    const { line, remote } = lineTo(after, (answer, call) => {
      if (call > 1) return answer;
      // Leaves of zeros instead of the ones that changed: the root does not come out.
      const copy = Buffer.from(answer.subarray(0, 10 + 5));
      const bitmap = answer.subarray(15, 31);
      const body = Buffer.concat([copy, bitmap, bitmap, Buffer.alloc(4)]);
      return Buffer.concat([body, createHash('sha256').update(body).digest()]);
    });
    const received = await receive(after, remote, { base });
    expect(line.calls).toBe(2);
    expect(await sha256Of(target, received)).toBe(await sha256Of(source, after));
  });
});
