import { spawn } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { openSource, SourceChangedError } from '@ims/buckets';
import { inTransaction, systemClock } from '@ims/db';
import {
  mayMount,
  mountSmallDisk,
  unmountSmallDisk,
  temporaryDirectory,
  testDatabase,
  type TestDatabase,
  waitFor,
} from '@ims/testing';
import { sql } from 'kysely';
import { createStagedFiles } from './create-staged-files';
import {
  StagedFileBusyError,
  StagedFileExistsError,
  StagedFileMissingError,
  StagedOffsetError,
  StagingFullError,
} from './staging.errors';
import type { StagedFiles } from './staging.port';

const MIB = 2 ** 20;
const PROJECT_BYTES = 400 * MIB;
const projectId = randomBytes(16).toString('hex');

let database: TestDatabase;
let directory: string;
let staged: StagedFiles;
/** The same files as another process has them. */
let elsewhere: StagedFiles;

const open = (): StagedFiles =>
  createStagedFiles({
    db: database.db,
    databaseUrl: database.url,
    directory,
    maxProjectBytes: PROJECT_BYTES,
    clock: systemClock,
  });

beforeAll(async () => {
  database = await testDatabase();
  directory = await temporaryDirectory();
  staged = open();
  elsewhere = open();
});
afterEach(async () => {
  for (const { id } of await staged.list()) await staged.delete(id);
});
afterAll(async () => {
  await staged.close();
  await elsewhere.close();
  await database.drop();
});

async function* pieces(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function read(files: StagedFiles, id: string): Promise<Buffer> {
  const pinned = await files.pin(id);
  if (pinned === undefined) throw new Error(`nothing staged as ${id}`);
  const source = await openSource(files.describe(pinned));
  const bytes = Buffer.alloc(source.sizeBytes);
  await source.read(0, bytes);
  await source.close();
  return bytes;
}

/** A body that gives its first chunks and then waits until it is told to go on. */
function heldBody(...chunks: Uint8Array[]) {
  const { promise: goOn, resolve: release } = Promise.withResolvers<void>();
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield* chunks;
    reach();
    await goOn;
  };
  return { body: body(), reached, release };
}

/** Postgres notices the end of a session a moment after whoever had it. */
const appendOnceFree = (files: StagedFiles, id: string, offset: number, bytes: Uint8Array): Promise<number> =>
  waitFor(
    async () => {
      try {
        return await files.append(id, offset, pieces(bytes));
      } catch (err) {
        if (err instanceof StagedFileBusyError) return undefined;
        throw err;
      }
    },
    { deadlineMs: 10_000, what: `nobody writes ${id}` },
  );

describe('a staged file', () => {
  it('takes its bytes in pieces from several processes and is read as a pinned source (CRE-30)', async () => {
    const id = randomUUID();
    const [first, second] = [randomBytes(3 * MIB + 17), randomBytes(5 * MIB)];
    await staged.create(id, { projectId });
    expect(await staged.append(id, 0, pieces(first.subarray(0, 100), first.subarray(100)))).toBe(first.length);
    expect(await elsewhere.append(id, first.length, pieces(second))).toBe(first.length + second.length);
    const whole = Buffer.concat([first, second]);
    expect((await read(elsewhere, id)).equals(whole)).toBe(true);
    expect(await staged.digests(id)).toEqual({
      md5: createHash('md5').update(whole).digest('hex'),
      sha256: createHash('sha256').update(whole).digest('hex'),
      sha512: createHash('sha512').update(whole).digest('hex'),
      sizeBytes: whole.length,
    });
  });

  it('is begun once, however often its creation is repeated, and belongs to one project', async () => {
    const id = randomUUID();
    await staged.create(id, { projectId, imageId: 'image' });
    await staged.append(id, 0, pieces(Buffer.from('abc')));
    expect(await elsewhere.create(id, { projectId, imageId: 'image' })).toMatchObject({ lengthBytes: 3 });
    expect((await read(staged, id)).toString()).toBe('abc');
    const another = { projectId: randomBytes(16).toString('hex') };
    await expect(staged.create(id, another)).rejects.toBeInstanceOf(StagedFileExistsError);
    await expect(staged.create(randomUUID(), { projectId, imageId: 'image' })).rejects.toBeInstanceOf(
      StagedFileExistsError,
    );
    await expect(staged.create('../outside', { projectId })).rejects.toBeInstanceOf(RangeError);
    expect(await staged.findOfImage('image')).toMatchObject({ id });
  });

  it('refuses bytes for any other place than its end and says where that is', async () => {
    const id = randomUUID();
    await staged.create(id, { projectId });
    await staged.append(id, 0, pieces(Buffer.from('abc')));
    for (const offset of [0, 2, 4]) {
      const refusal = staged.append(id, offset, pieces(Buffer.from('x')));
      await expect(refusal).rejects.toThrow(StagedOffsetError);
      await expect(refusal).rejects.toMatchObject({ lengthBytes: 3 });
    }
    await expect(staged.append(randomUUID(), 0, pieces())).rejects.toBeInstanceOf(StagedFileMissingError);
    expect((await read(staged, id)).toString()).toBe('abc');
  });

  it('has one writer at a time, in this process and in others', async () => {
    const id = randomUUID();
    await staged.create(id, { projectId });
    const { body, reached, release } = heldBody(Buffer.from('first'));
    const writing = staged.append(id, 0, body);
    await reached;
    await expect(staged.append(id, 0, pieces())).rejects.toBeInstanceOf(StagedFileBusyError);
    await expect(elsewhere.append(id, 0, pieces())).rejects.toBeInstanceOf(StagedFileBusyError);
    release();
    expect(await writing).toBe(5);
    expect(await elsewhere.append(id, 5, pieces(Buffer.from('second')))).toBe(11);
  });

  it('keeps what arrived when its sender goes away', async () => {
    const id = randomUUID();
    await staged.create(id, { projectId });
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('abc');
      throw new Error('connection lost');
    };
    await expect(staged.append(id, 0, body())).rejects.toThrow('connection lost');
    expect(await staged.length(id)).toBe(3);
    const stop = new AbortController();
    const cut = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('def');
      stop.abort();
      yield Buffer.from('ghi');
    };
    await expect(staged.append(id, 3, cut(), { signal: stop.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expect((await read(staged, id)).toString()).toBe('abcdef');
  });

  it('goes on from what is durable after its writer was killed (P7)', async () => {
    const id = randomUUID();
    await staged.create(id, { projectId });
    const child = spawn(
      process.execPath,
      [resolve(__dirname, '../dist/spec-support/append-child.js'), database.url, directory, id, '0'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const ended = once(child, 'exit');
    for await (const line of createInterface(child.stdout)) if (Number(line) >= 32 * MIB) break;
    await expect(staged.append(id, 0, pieces())).rejects.toBeInstanceOf(StagedFileBusyError);
    child.kill('SIGKILL');
    await ended;
    const durable = await staged.length(id);
    // A dying write may have left anything behind the durable bytes.
    await appendFile(join(directory, 'staged', id), Buffer.alloc(1000, 0xee));
    const rest = Buffer.from('the rest');
    expect(await appendOnceFree(staged, id, durable, rest)).toBe(durable + rest.length);
    const bytes = await read(staged, id);
    const expected = Buffer.alloc(
      durable,
      Uint8Array.from({ length: 256 }, (_, n) => (n * 7 + 3) & 0xff),
    );
    expect(bytes.subarray(0, durable).equals(expected)).toBe(true);
    expect(bytes.subarray(durable).equals(rest)).toBe(true);
  });

  it('takes nothing more from a writer whose session was lost, and lets the next one go on', async () => {
    const id = randomUUID();
    await staged.create(id, { projectId });
    const { body, reached, release } = heldBody(Buffer.from('lost'));
    const writing = staged.append(id, 0, body);
    writing.catch(() => undefined);
    await reached;
    await sql`
      select pg_terminate_backend(pid) from pg_locks
      where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`.execute(
      database.db,
    );
    expect(await appendOnceFree(elsewhere, id, 0, Buffer.from('next'))).toBe(4);
    release();
    await expect(writing).rejects.toThrow();
    expect((await read(elsewhere, id)).toString()).toBe('next');
    expect(await staged.append(id, 4, pieces(Buffer.from('!')))).toBe(5);
  });

  it('belongs to the job that claimed it: nothing is appended and no other job takes it', async () => {
    const id = randomUUID();
    await staged.create(id, { projectId, imageId: 'image' });
    await staged.append(id, 0, pieces(Buffer.from('abc')));
    const ofAnotherLength = inTransaction(database.db, (trx) => staged.claim(trx, id, 'job-1', 4));
    await expect(ofAnotherLength).rejects.toThrow(StagedFileMissingError);
    await inTransaction(database.db, (trx) => staged.claim(trx, id, 'job-1', 3));
    await inTransaction(database.db, (trx) => staged.claim(trx, id, 'job-1'));
    await expect(inTransaction(database.db, (trx) => staged.claim(trx, id, 'job-2'))).rejects.toThrow(
      StagedFileMissingError,
    );
    await expect(staged.append(id, 3, pieces(Buffer.from('d')))).rejects.toBeInstanceOf(StagedFileMissingError);
    expect(await staged.findOfImage('image')).toBeUndefined();
    await expect(staged.create(randomUUID(), { projectId, imageId: 'image' })).resolves.toBeDefined();
  });

  it('is gone with its bytes once it is deleted, also under its writer and its reader', async () => {
    const id = randomUUID();
    await staged.create(id, { projectId });
    await staged.append(id, 0, pieces(Buffer.from('abc')));
    const pinned = await staged.pin(id);
    if (pinned === undefined) throw new Error('not staged');
    const { body, reached, release } = heldBody(Buffer.from('def'));
    const writing = staged.append(id, 3, body);
    writing.catch(() => undefined);
    await reached;
    await elsewhere.delete(id);
    release();
    await expect(writing).rejects.toBeInstanceOf(StagedFileMissingError);
    await elsewhere.delete(id);
    expect(await staged.find(id)).toBeUndefined();
    expect(await staged.pin(id)).toBeUndefined();
    await expect(openSource(staged.describe(pinned))).rejects.toBeInstanceOf(SourceChangedError);
    expect(await readdir(join(directory, 'staged'))).toEqual([]);
  });
});

describe('room for staged files', () => {
  it('is refused beyond the longest file and beyond what was announced', async () => {
    const [long, announced] = [randomUUID(), randomUUID()];
    await staged.create(long, { projectId });
    const tooLong = staged.append(long, 0, pieces(Buffer.alloc(8), Buffer.alloc(8)), { maxBytes: 15 });
    await expect(tooLong).rejects.toMatchObject({ name: 'StagingFullError', why: 'file' });
    await staged.create(announced, { projectId, announcedBytes: 15 });
    const more = staged.append(announced, 0, pieces(Buffer.alloc(16)));
    await expect(more).rejects.toMatchObject({ name: 'StagingFullError', why: 'announced' });
    expect(await staged.length(announced)).toBe(0);
  });

  (mayMount() ? it : it.skip)(
    'is refused on a full disk, and what was durable before stays until it is deleted',
    async () => {
      const small = await temporaryDirectory();
      mountSmallDisk(small, 4);
      const files = createStagedFiles({
        db: database.db,
        databaseUrl: database.url,
        directory: small,
        maxProjectBytes: PROJECT_BYTES,
        clock: systemClock,
      });
      try {
        const id = randomUUID();
        await files.create(id, { projectId });
        await files.append(id, 0, pieces(randomBytes(MIB)));
        const full = files.append(id, MIB, pieces(...Array.from({ length: 8 }, () => randomBytes(MIB))));
        await expect(full).rejects.toMatchObject({ name: 'StagingFullError', why: 'disk' });
        expect(await files.length(id)).toBe(MIB);
        expect((await files.pin(id))?.sizeBytes).toBe(MIB);
        await files.delete(id);
        expect(await readdir(join(small, 'staged'))).toEqual([]);
      } finally {
        await files.close();
        unmountSmallDisk(small);
      }
    },
  );

  it('is a project’s own, counted exactly also when many ask at once, and comes back with each file', async () => {
    const ids = Array.from({ length: 5 }, () => randomUUID());
    const begun = await Promise.allSettled(
      ids.map((id) => staged.create(id, { projectId, announcedBytes: 100 * MIB })),
    );
    expect(begun.filter(({ status }) => status === 'fulfilled')).toHaveLength(4);
    const refused = begun.filter((result) => result.status === 'rejected');
    expect(refused[0]?.reason).toBeInstanceOf(StagingFullError);
    expect(refused[0]?.reason).toMatchObject({ why: 'project' });
    const other = randomBytes(16).toString('hex');
    await expect(staged.create(randomUUID(), { projectId: other, announcedBytes: MIB })).resolves.toBeDefined();
    for (const { id, projectId: owner } of await staged.list()) if (owner === projectId) await staged.delete(id);
    const id = randomUUID();
    await staged.create(id, { projectId });
    await staged.append(id, 0, pieces(Buffer.alloc(MIB)));
    // Between writers only what is there is held.
    await expect(staged.create(randomUUID(), { projectId, announcedBytes: 399 * MIB })).resolves.toBeDefined();
    const full = staged.append(id, MIB, pieces(Buffer.alloc(1)));
    await expect(full).rejects.toMatchObject({ name: 'StagingFullError', why: 'project' });
    expect(await staged.length(id)).toBe(MIB);
    expect((await stat(join(directory, 'staged', id))).size).toBe(MIB);
    expect((await readFile(join(directory, 'staged', id))).every((byte) => byte === 0)).toBe(true);
  });
});
