import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { imageId, imageStream, jobId, jobStream, SYSTEM, TERMINAL_KEY, uploadBegunKey } from '@ims/contract';
import { type Clock, inTransaction, systemClock } from '@ims/db';
import { appendEvents, type NewEvent, readStream } from '@ims/event-log';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';
import { createStagedFiles } from './create-staged-files';
import type { StagedFiles } from './staging.port';
import { sweepUploads } from './sweep-uploads';

const HOUR_MS = 3_600_000;
const IDLE_MS = 24 * HOUR_MS;
const projectId = randomBytes(16).toString('hex');

let database: TestDatabase;
let directory: string;
let staged: StagedFiles;

beforeAll(async () => {
  database = await testDatabase();
  directory = await temporaryDirectory();
  staged = createStagedFiles({
    db: database.db,
    databaseUrl: database.url,
    directory,
    maxProjectBytes: 2 ** 30,
    clock: systemClock,
  });
});
afterAll(async () => {
  await staged.close();
  await database.drop();
});

const append = (...events: NewEvent[]) =>
  inTransaction(database.db, (trx) => appendEvents(trx, { projectId, actor: SYSTEM }, events));

/** An image whose bytes arrive. */
async function anUpload() {
  const [id, uploadId] = [imageId(randomUUID()), randomUUID()];
  const stream = imageStream(id);
  await append(
    {
      type: 'image.queued',
      stream,
      key: 'queued',
      data: { name: 'a', diskFormat: 'raw', minDiskGib: 1, minRamMib: 0, tags: [], attributes: {} },
    },
    { type: 'image.uploading', stream, key: uploadBegunKey(uploadId), data: { uploadId } },
  );
  await staged.create(uploadId, { projectId, imageId: id });
  await staged.append(
    uploadId,
    0,
    (async function* () {
      yield Buffer.from('abc');
    })(),
  );
  return { id, uploadId };
}

const statusOf = async (id: string) =>
  (await database.db.selectFrom('image').select('status').where('id', '=', id).executeTakeFirstOrThrow()).status;
const sweep = (clock: Clock = systemClock) => sweepUploads({ db: database.db, staged, clock, idleMs: IDLE_MS });
const later = (ms: number): Clock => ({ now: () => new Date(systemClock.now().getTime() + ms) });

describe(sweepUploads.name, () => {
  it('ends an upload that nobody goes on with, and its image waits again, as an event says', async () => {
    const { id, uploadId } = await anUpload();
    expect(await sweep(later(IDLE_MS - HOUR_MS))).toEqual([]);
    expect(await statusOf(id)).toBe('uploading');
    const both = await Promise.all([sweep(later(IDLE_MS + HOUR_MS)), sweep(later(IDLE_MS + HOUR_MS))]);
    expect(both.flat()).toEqual([uploadId]);
    expect(await statusOf(id)).toBe('queued');
    expect(await staged.find(uploadId)).toBeUndefined();
    expect(await readdir(join(directory, 'staged'))).toEqual([]);
    const events = await readStream(database.db, imageStream(id));
    expect(events.map(({ type }) => type)).toEqual(['image.queued', 'image.uploading', 'image.requeued']);
    expect(events.at(-1)?.data).toEqual({ reason: 'nothing was added to its upload for 1440 minutes' });
  });

  it('removes what was sent for an image that is gone, however fresh it is', async () => {
    const { id, uploadId } = await anUpload();
    await append({ type: 'image.deleted', stream: imageStream(id), key: 'deleted', data: {} });
    expect(await sweep()).toEqual([uploadId]);
    expect(await statusOf(id)).toBe('deleted');
  });

  it('leaves a job its file and removes it once the job has ended', async () => {
    const { id, uploadId } = await anUpload();
    const job = jobId(randomBytes(16).toString('hex'));
    await append({
      type: 'job.accepted',
      stream: jobStream(job),
      key: 'accepted',
      data: { jobType: 'a', saga: 'image-create', imageId: id, imageName: 'a', request: {}, steps: ['inspect'] },
    });
    await inTransaction(database.db, (trx) => staged.claim(trx, uploadId, job));
    expect(await sweep(later(2 * IDLE_MS))).toEqual([]);
    await append({
      type: 'job.failed',
      stream: jobStream(job),
      key: TERMINAL_KEY,
      data: { errorCode: 'IMG.0061', reason: 'a', step: null },
    });
    expect(await sweep()).toEqual([uploadId]);
  });

  it('removes bytes that no record names once nobody can be about to write it', async () => {
    const folder = join(directory, 'staged');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'stray'), 'abc');
    await sweep();
    expect(await readdir(folder)).toEqual(['stray']);
    const long = new Date(systemClock.now().getTime() - 2 * HOUR_MS);
    await utimes(join(folder, 'stray'), long, long);
    await sweep();
    expect(await readdir(folder)).toEqual([]);
  });
});
