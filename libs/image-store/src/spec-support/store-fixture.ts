import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { DirectoryBuckets } from '@ims/buckets';
import { type DedupDomainId, type IngestedDisk, type JobId, jobId as toJobId } from '@ims/contract';
import type { Database } from '@ims/db';
import type { DiskDescriptor } from '@ims/image-format';
import { type Kysely, sql } from 'kysely';
import type { ImageStore, IngestBase, IngestProgress } from '../image-store.port';
import { SEGMENT_BYTES } from '../layout/segment';

/** Builders for the specs of this package. */

export const PROJECT = 'a'.repeat(32);
export const OTHER_PROJECT = 'b'.repeat(32);

/** Deterministic bytes that compress to about half: 48 random bytes, then zeros, repeated with a counter. */
export function segmentBytes(seed: number): Buffer {
  const bytes = Buffer.alloc(SEGMENT_BYTES);
  let state = createHash('sha256').update(`seed ${seed}`).digest();
  for (let at = 0; at < bytes.length; at += 64) {
    // A new digest every 4 KiB is as good as random for zstd and cheap to make.
    if (at % 4096 === 0) state = createHash('sha256').update(state).digest();
    state.copy(bytes, at);
    bytes.writeUInt32LE(at, at + 32);
    bytes.writeUInt32LE((at * 2654435761) >>> 0, at + 40);
  }
  return bytes;
}

/** Makes a raw disk in a bucket directory: `segments[i]` is the seed of segment i, `null` a hole. */
export async function makeRawDisk(
  bucketRoot: string,
  key: string,
  segments: readonly (number | null)[],
  options: { virtualSizeBytes?: number } = {},
): Promise<{ path: string; disk: DiskDescriptor }> {
  const path = join(bucketRoot, 'images', key);
  await mkdir(join(bucketRoot, 'images'), { recursive: true });
  const handle = await open(path, 'w');
  try {
    const virtualSizeBytes = options.virtualSizeBytes ?? segments.length * SEGMENT_BYTES;
    await handle.truncate(virtualSizeBytes);
    for (const [index, seed] of segments.entries()) {
      const length = Math.min(SEGMENT_BYTES, virtualSizeBytes - index * SEGMENT_BYTES);
      if (seed !== null) await handle.write(segmentBytes(seed), 0, length, index * SEGMENT_BYTES);
    }
  } finally {
    await handle.close();
  }
  return { path, disk: await describeRaw(bucketRoot, key) };
}

export async function describeRaw(bucketRoot: string, key: string): Promise<DiskDescriptor> {
  const buckets = new DirectoryBuckets(bucketRoot, 'region-1');
  const file = await buckets.pin({ bucket: 'images', key });
  if (file === undefined) throw new Error(`no file ${key}`);
  return { reader: 'raw', source: buckets.describe(file), virtualSizeBytes: file.sizeBytes };
}

export const newJobId = (): JobId => toJobId(randomUUID().replaceAll('-', ''));

/** A running job's row: the collector spares what it holds. */
export async function insertJob(db: Kysely<Database>, id: JobId): Promise<void> {
  await db
    .insertInto('job')
    .values({
      id,
      project_id: PROJECT,
      type: 'ims_image_create',
      saga: 'image-create',
      status: 'RUNNING',
      image_name: 'test',
      request: JSON.stringify({}),
      steps: ['ingest'],
      begin_at: sql`now()`,
    })
    .execute();
}

export async function endJob(db: Kysely<Database>, id: JobId): Promise<void> {
  await db.updateTable('job').set({ status: 'SUCCESS', outcome: 'succeeded' }).where('id', '=', id).execute();
}

export async function ingestDisk(
  store: ImageStore,
  jobId: JobId,
  disk: DiskDescriptor,
  options: {
    projectId?: string;
    /** Default the plain domain of the project. */
    domainId?: DedupDomainId;
    part?: string;
    base?: IngestBase;
    signal?: AbortSignal;
    onProgress?(progress: IngestProgress): void;
  } = {},
): Promise<{ disk: IngestedDisk; last: IngestProgress }> {
  let last: IngestProgress = { bytesDone: 0, bytesTotal: 0, bytesWritten: 0 };
  const ingested = await store.ingest({
    jobId,
    domainId: options.domainId ?? (await store.plainDomain(options.projectId ?? PROJECT)),
    ...(options.part === undefined ? {} : { part: options.part }),
    ...(options.base === undefined ? {} : { base: options.base }),
    disk,
    signal: options.signal ?? new AbortController().signal,
    onProgress: (progress) => {
      last = progress;
      options.onProgress?.(progress);
    },
  });
  return { disk: ingested, last };
}

export async function sha256OfFile(path: string): Promise<string> {
  const digest = createHash('sha256');
  for await (const chunk of createReadStream(path)) digest.update(chunk);
  return digest.digest('hex');
}

export async function sha256OfChunks(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const digest = createHash('sha256');
  for await (const chunk of chunks) digest.update(chunk);
  return digest.digest('hex');
}
