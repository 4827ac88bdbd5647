import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { DirectoryBuckets, openSource, type SourceDescriptor } from '@ims/buckets';
import type { PinnedFile } from '@ims/contract';
import { type Clock, type Database, inTransaction, sqlState } from '@ims/db';
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import { Digests } from './digests';
import { StagedFileExistsError, StagedFileMissingError, StagedOffsetError, StagingFullError } from './staging.errors';
import type {
  AppendOptions,
  NewStagedFile,
  RestartedFile,
  StagedDigests,
  StagedFile,
  StagedFiles,
} from './staging.port';
import { WriterLocks } from './writer-locks';

const MIB = 2 ** 20;
// Staged files are read as objects of a bucket are; this is its name below the directory.
const BUCKET = 'staged';
// What a killed gateway may lose of an upload. A sync of 32 MiB takes about as long as writing them, so a smaller step would only wait more.
const SYNC_EVERY_BYTES = 32 * MIB;
// On a slow line too, little is sent twice.
const SYNC_EVERY_MS = 2_000;
// Room is held in steps, so that a sender who has not announced a length asks for it once per gigabit, not once per chunk.
const HOLD_STEP_BYTES = 128 * MIB;
// Each read keeps one core of hashing busy for some milliseconds.
const DIGEST_CHUNK_BYTES = 4 * MIB;

const ID = /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/;

type Row = Selectable<Database['staged_file']>;

export interface DirectoryStagingOptions {
  db: Kysely<Database>;
  /** For the session that holds writers' locks. */
  databaseUrl: string;
  directory: string;
  /** Bytes that one project may have waiting. */
  maxProjectBytes: number;
  clock: Clock;
}

/** Staged files as files of one directory that all processes of the region share, with a row each. */
export class DirectoryStagedFiles implements StagedFiles {
  readonly #files: DirectoryBuckets;
  readonly #locks: WriterLocks;

  constructor(private readonly options: DirectoryStagingOptions) {
    this.#files = new DirectoryBuckets(options.directory, '');
    this.#locks = new WriterLocks(options.databaseUrl);
  }

  async create(id: string, file: NewStagedFile, trx?: Transaction<Database>): Promise<StagedFile> {
    if (!ID.test(id)) throw new RangeError(`staged file ${JSON.stringify(id)}: not an id`);
    try {
      // Record alone: the first writer makes the file, so that a transaction which fails leaves none.
      const insert = (within: Transaction<Database>): Promise<Row> => this.#insert(within, id, file);
      return fromRow(await (trx === undefined ? inTransaction(this.options.db, insert) : insert(trx)));
    } catch (err) {
      if (sqlState(err) === UNIQUE_VIOLATION) throw new StagedFileExistsError(id);
      throw err;
    }
  }

  async #insert(
    trx: Transaction<Database>,
    id: string,
    { projectId, imageId, jobId, announcedBytes }: NewStagedFile,
  ): Promise<Row> {
    const now = this.options.clock.now();
    await lockProject(trx, projectId);
    const known = await trx.selectFrom('staged_file').selectAll().where('id', '=', id).executeTakeFirst();
    if (known !== undefined) {
      const isSame =
        known.project_id === projectId && known.image_id === (imageId ?? null) && known.job_id === (jobId ?? null);
      if (!isSame) throw new StagedFileExistsError(id);
      return known;
    }
    await this.#checkRoom(trx, id, projectId, announcedBytes ?? 0);
    return trx
      .insertInto('staged_file')
      .values({
        id,
        project_id: projectId,
        image_id: imageId ?? null,
        job_id: jobId ?? null,
        held_bytes: announcedBytes ?? 0,
        announced_bytes: announcedBytes ?? null,
        created_at: now,
        touched_at: now,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  }

  async #makeFile(id: string): Promise<void> {
    const folder = join(this.options.directory, BUCKET);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const handle = await open(this.#pathOf(id), constants.O_RDWR | constants.O_CREAT, 0o600);
    await handle.close();
    // A new name is durable only once its directory is.
    const names = await open(folder, 'r');
    await names.sync().finally(() => names.close());
  }

  async find(id: string): Promise<StagedFile | undefined> {
    const row = await this.options.db.selectFrom('staged_file').selectAll().where('id', '=', id).executeTakeFirst();
    return row && fromRow(row);
  }

  async findOfImage(imageId: string): Promise<StagedFile | undefined> {
    const row = await this.options.db
      .selectFrom('staged_file')
      .selectAll()
      .where('image_id', '=', imageId)
      .where('job_id', 'is', null)
      .executeTakeFirst();
    return row && fromRow(row);
  }

  async append(
    id: string,
    offset: number,
    body: AsyncIterable<Uint8Array>,
    options: AppendOptions = {},
  ): Promise<number> {
    return this.#locks.run(id, async (session) => {
      if (options.restartAs !== undefined) await this.#restart(session, id, options.restartAs);
      if (options.announcedBytes !== undefined) await this.#announce(id, options.announcedBytes);
      const row = await session.selectFrom('staged_file').selectAll().where('id', '=', id).executeTakeFirst();
      if (row === undefined || row.sealed) throw new StagedFileMissingError(id);
      if (row.length_bytes !== offset) throw new StagedOffsetError(id, offset, row.length_bytes);
      const handle = await this.#openForWriting(row);
      try {
        const length = await this.#write(session, row, handle, body, options);
        if (options.isRest === true) await this.seal(id);
        return length;
      } finally {
        await handle.close();
        await this.#returnRoom(id);
      }
    });
  }

  async restart(id: string, as: RestartedFile): Promise<void> {
    await this.#locks.run(id, (session) => this.#restart(session, id, as));
  }

  async #restart(session: Kysely<Database>, id: string, as: RestartedFile): Promise<void> {
    const row = await session.selectFrom('staged_file').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined || (row.sealed && row.job_id !== null)) throw new StagedFileMissingError(id);
    await inTransaction(this.options.db, async (trx) => {
      await lockProject(trx, row.project_id);
      const announced = as.announcedBytes ?? 0;
      await this.#checkRoom(trx, id, row.project_id, announced - row.held_bytes);
      await trx
        .updateTable('staged_file')
        .set({
          sealed: false,
          length_bytes: 0,
          held_bytes: announced,
          touched_at: this.options.clock.now(),
          announced_bytes: as.announcedBytes,
          validator: as.validator,
        })
        .where('id', '=', id)
        .where((eb) => eb.or([eb('job_id', 'is', null), eb('sealed', '=', false)]))
        .execute();
    });
  }

  async #announce(id: string, announcedBytes: number): Promise<void> {
    await inTransaction(this.options.db, async (trx) => {
      const row = await trx.selectFrom('staged_file').selectAll().where('id', '=', id).executeTakeFirst();
      if (row === undefined || row.sealed || row.announced_bytes !== null) return;
      await lockProject(trx, row.project_id);
      await this.#checkRoom(trx, id, row.project_id, announcedBytes - row.held_bytes);
      await trx
        .updateTable('staged_file')
        .set({ announced_bytes: announcedBytes, held_bytes: sql`greatest(length_bytes, ${announcedBytes}::bigint)` })
        .where('id', '=', id)
        .where('announced_bytes', 'is', null)
        .execute();
    });
  }

  async #openForWriting({ id, length_bytes: length }: Row): Promise<FileHandle> {
    // Begun, and the process killed before the file was made.
    if (length === 0) await this.#makeFile(id);
    const handle = await open(this.#pathOf(id), constants.O_RDWR | constants.O_NOFOLLOW).catch((err: unknown) => {
      if (codeOf(err) === 'ENOENT') throw new StagedFileMissingError(id);
      throw err;
    });
    // What a killed writer wrote beyond the durable length may be anything.
    await handle.truncate(length);
    return handle;
  }

  async #write(
    session: Kysely<Database>,
    row: Row,
    handle: FileHandle,
    body: AsyncIterable<Uint8Array>,
    { signal, maxBytes = Infinity, onDurable }: AppendOptions,
  ): Promise<number> {
    const { id } = row;
    const { clock } = this.options;
    const most = Math.min(maxBytes, row.announced_bytes ?? Infinity);
    let held = row.held_bytes;
    let durable = row.length_bytes;
    let written = durable;
    let syncedAt = clock.now().getTime();

    const settle = async (): Promise<void> => {
      if (written === durable) return;
      await handle.datasync();
      const at = clock.now();
      const result = await session
        .updateTable('staged_file')
        .set({ length_bytes: written, touched_at: at })
        .where('id', '=', id)
        .where('length_bytes', '=', durable)
        .where('sealed', '=', false)
        .executeTakeFirst();
      // Deleted or taken meanwhile.
      if (result.numUpdatedRows !== 1n) throw new StagedFileMissingError(id);
      durable = written;
      syncedAt = at.getTime();
      onDurable?.(durable);
    };

    try {
      for await (const chunk of body) {
        signal?.throwIfAborted();
        if (written + chunk.length > most)
          throw new StagingFullError(id, written + chunk.length > maxBytes ? 'file' : 'announced');
        if (written + chunk.length > held) held = await this.#hold(row, written + chunk.length);
        await writeAll(handle, chunk, written);
        written += chunk.length;
        const due = written - durable >= SYNC_EVERY_BYTES || clock.now().getTime() - syncedAt >= SYNC_EVERY_MS;
        if (due) await settle();
      }
      signal?.throwIfAborted();
    } catch (err) {
      if (err instanceof StagedFileMissingError) throw err;
      if (NO_ROOM.has(codeOf(err))) throw new StagingFullError(id, 'disk', { cause: err });
      await settle();
      throw err;
    }
    await settle();
    return durable;
  }

  /** Holds room up to `needed` bytes and some more where there is some. */
  async #hold({ id, project_id: projectId }: Row, needed: number): Promise<number> {
    return inTransaction(this.options.db, async (trx) => {
      await lockProject(trx, projectId);
      const row = await trx.selectFrom('staged_file').select('held_bytes').where('id', '=', id).executeTakeFirst();
      if (row === undefined) throw new StagedFileMissingError(id);
      const more = Math.max(0, needed - row.held_bytes);
      const room = await this.#checkRoom(trx, id, projectId, more);
      const held = row.held_bytes + Math.min(room, more + HOLD_STEP_BYTES);
      await trx.updateTable('staged_file').set({ held_bytes: held }).where('id', '=', id).execute();
      return held;
    });
  }

  /** Between writers a file is charged with what it has and what was announced for it. */
  async #returnRoom(id: string): Promise<void> {
    await this.options.db
      .updateTable('staged_file')
      .set({ held_bytes: sql`greatest(length_bytes, announced_bytes)` })
      .where('id', '=', id)
      .execute();
  }

  /** Room that the project has left; fails unless there is as much as `needed`. */
  async #checkRoom(trx: Transaction<Database>, id: string, projectId: string, needed: number): Promise<number> {
    const { held } = await trx
      .selectFrom('staged_file')
      .select((eb) => eb.fn.coalesce(sql<number>`sum(held_bytes)::bigint`, sql<number>`0::bigint`).as('held'))
      .where('project_id', '=', projectId)
      .executeTakeFirstOrThrow();
    const room = this.options.maxProjectBytes - held;
    if (needed > room) throw new StagingFullError(id, 'project');
    return room;
  }

  async length(id: string): Promise<number> {
    const file = await this.find(id);
    if (file === undefined) throw new StagedFileMissingError(id);
    return file.lengthBytes;
  }

  async digests(id: string, signal?: AbortSignal): Promise<StagedDigests> {
    const pinned = await this.pin(id);
    if (pinned === undefined) throw new StagedFileMissingError(id);
    const digests = new Digests();
    const source = await openSource(this.describe(pinned));
    try {
      for (let at = 0; at < pinned.sizeBytes; at += DIGEST_CHUNK_BYTES) {
        const chunk = Buffer.allocUnsafe(Math.min(DIGEST_CHUNK_BYTES, pinned.sizeBytes - at));
        await source.read(at, chunk, signal);
        digests.update(chunk);
      }
    } finally {
      await source.close();
    }
    return { ...digests.end(), sizeBytes: pinned.sizeBytes };
  }

  async pin(id: string): Promise<PinnedFile | undefined> {
    const file = await this.find(id);
    if (file === undefined) return undefined;
    const path = this.#pathOf(id);
    if (file.lengthBytes === 0) await this.#makeFile(id);
    const onDisk = await stat(path).catch(() => undefined);
    if (onDisk === undefined || onDisk.size < file.lengthBytes) return undefined;
    if (onDisk.size > file.lengthBytes) await this.#cutTail(id);
    return this.#files.pin({ bucket: BUCKET, key: id });
  }

  async #cutTail(id: string): Promise<void> {
    await this.#locks.run(id, async (session) => {
      const row = await session.selectFrom('staged_file').selectAll().where('id', '=', id).executeTakeFirst();
      if (row !== undefined) await (await this.#openForWriting(row)).close();
    });
  }

  describe(file: PinnedFile): SourceDescriptor {
    return this.#files.describe(file);
  }

  async seal(id: string): Promise<void> {
    const result = await this.options.db
      .updateTable('staged_file')
      .set({ sealed: true, held_bytes: sql`length_bytes` })
      .where('id', '=', id)
      .executeTakeFirst();
    if (result.numUpdatedRows !== 1n) throw new StagedFileMissingError(id);
  }

  async claim(trx: Transaction<Database>, id: string, jobId: string, lengthBytes?: number): Promise<void> {
    const result = await trx
      .updateTable('staged_file')
      .set({ job_id: jobId, sealed: true, held_bytes: sql`length_bytes` })
      .where('id', '=', id)
      .where((eb) => eb.or([eb('job_id', 'is', null), eb('job_id', '=', jobId)]))
      .$if(lengthBytes !== undefined, (query) => query.where('length_bytes', '=', lengthBytes ?? 0))
      .executeTakeFirst();
    if (result.numUpdatedRows !== 1n) throw new StagedFileMissingError(id);
  }

  async delete(id: string): Promise<void> {
    if (!ID.test(id)) return;
    // Bytes first: a record without them is still found and deleted by the sweeper.
    await unlink(this.#pathOf(id)).catch((err: unknown) => {
      if (codeOf(err) !== 'ENOENT') throw err;
    });
    await this.options.db.deleteFrom('staged_file').where('id', '=', id).execute();
  }

  async deleteUnclaimed(id: string): Promise<void> {
    const result = await this.options.db
      .deleteFrom('staged_file')
      .where('id', '=', id)
      .where('job_id', 'is', null)
      .executeTakeFirst();
    if (result.numDeletedRows === 1n) await this.delete(id);
  }

  async forgetIdle(trx: Transaction<Database>, id: string, touchedAt: Date): Promise<boolean> {
    const result = await trx
      .deleteFrom('staged_file')
      .where('id', '=', id)
      .where('job_id', 'is', null)
      .where('touched_at', '<=', touchedAt)
      .executeTakeFirst();
    return result.numDeletedRows === 1n;
  }

  async deleteStrays(before: Date): Promise<number> {
    const names = await readdir(join(this.options.directory, BUCKET)).catch((err: unknown) => {
      if (codeOf(err) === 'ENOENT') return [];
      throw err;
    });
    const known = new Set((await this.list()).map(({ id }) => id));
    let deleted = 0;
    for (const name of names.filter((each) => !known.has(each))) {
      const found = await stat(this.#pathOf(name)).catch(() => undefined);
      if (found === undefined || found.mtime >= before) continue;
      await this.delete(name);
      deleted += 1;
    }
    return deleted;
  }

  async list(): Promise<StagedFile[]> {
    const rows = await this.options.db.selectFrom('staged_file').selectAll().orderBy('created_at').execute();
    return rows.map(fromRow);
  }

  async close(): Promise<void> {
    await this.#locks.close();
  }

  #pathOf(id: string): string {
    return join(this.options.directory, BUCKET, id);
  }
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const UNIQUE_VIOLATION = '23505';
const NO_ROOM: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

const codeOf = (err: unknown): unknown =>
  typeof err === 'object' && err !== null && 'code' in err ? err.code : undefined;

/** Whoever asks for room of a project waits for the others who do: the sum is taken over rows that nobody changes meanwhile. */
async function lockProject(trx: Transaction<Database>, projectId: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`staging:${projectId}`}, 0))`.execute(trx);
}

async function writeAll(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < chunk.length;) {
    const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, position + done);
    done += bytesWritten;
  }
}

const fromRow = (row: Row): StagedFile => ({
  id: row.id,
  projectId: row.project_id,
  imageId: row.image_id,
  jobId: row.job_id,
  sealed: row.sealed,
  lengthBytes: row.length_bytes,
  announcedBytes: row.announced_bytes,
  validator: row.validator,
  createdAt: row.created_at,
  touchedAt: row.touched_at,
});
