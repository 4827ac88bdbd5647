import type { DiskReader } from '../disk-reader';

export interface ByteRange {
  offset: number;
  length: number;
}

/** The guest bytes of a disk whose holes are known before anything is read, as the image store gives them. */
export interface DiskBytes {
  readonly sizeBytes: number;
  /** The whole disk, or a range of it, in order; holes as zeros. */
  read(range?: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Ascending and disjoint; what lies in none of them reads as zeros. */
  dataRanges(range?: ByteRange): Iterable<ByteRange>;
}

/** What all written formats know of a disk: 2 MiB of guest bytes, the segment of the store and the block of VHD, ZVHD and ZVHD2. */
export const SEGMENT_BYTES = 2 * 1024 * 1024;

const SECTOR_BYTES = 512;

/** Formats count whole sectors; a disk that ends inside one is shown with the rest of it as zeros. */
export const wholeSectorBytes = (disk: DiskBytes): number => Math.ceil(disk.sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;

/** Numbers of the segments that may hold data, ascending. */
export function dataSegments(disk: DiskBytes): Uint32Array {
  const found: number[] = [];
  let next = 0;
  for (const { offset, length } of disk.dataRanges()) {
    if (length <= 0) continue;
    const end = Math.ceil((offset + length) / SEGMENT_BYTES);
    for (let index = Math.max(next, Math.floor(offset / SEGMENT_BYTES)); index < end; index += 1) found.push(index);
    next = Math.max(next, end);
  }
  return Uint32Array.from(found);
}

// Up to here passing over zeros costs less than a new read, which looks up afresh where its segments lie.
const LONGEST_PASSED_SEGMENTS = 64;

/**
 * The named segments in order, each of 2 MiB, the disk's last one filled up with zeros. Neighbours are read by one pass, so that whoever reads ahead
 * can.
 */
export async function* readSegments(
  disk: DiskBytes,
  segments: Uint32Array,
  signal?: AbortSignal,
): AsyncGenerator<{ index: number; bytes: Buffer }, void, undefined> {
  for (let from = 0; from < segments.length;) {
    let to = from + 1;
    while (to < segments.length && (segments[to] ?? 0) - (segments[to - 1] ?? 0) <= LONGEST_PASSED_SEGMENTS) to += 1;
    yield* readNeighbours(disk, segments.subarray(from, to), signal);
    from = to;
  }
}

async function* readNeighbours(
  disk: DiskBytes,
  segments: Uint32Array,
  signal?: AbortSignal,
): AsyncGenerator<{ index: number; bytes: Buffer }, void, undefined> {
  const first = segments[0] ?? 0;
  const last = segments.at(-1) ?? first;
  let position = first * SEGMENT_BYTES;
  const end = Math.min(disk.sizeBytes, (last + 1) * SEGMENT_BYTES);
  let at = 0;
  let bytes = Buffer.alloc(SEGMENT_BYTES);
  for await (const chunk of disk.read({ offset: position, length: end - position }, signal)) {
    for (let done = 0; done < chunk.length;) {
      const index = segments[at] ?? last + 1;
      const segmentAt = index * SEGMENT_BYTES;
      const passed = Math.min(Math.max(0, segmentAt - position), chunk.length - done);
      position += passed;
      done += passed;
      const taken = chunk.subarray(done, Math.max(done, done + segmentAt + SEGMENT_BYTES - position));
      if (taken.length === 0) continue;
      bytes.set(taken, position - segmentAt);
      position += taken.length;
      done += taken.length;
      if (position < segmentAt + SEGMENT_BYTES && position < end) continue;
      yield { index, bytes };
      at += 1;
      bytes = Buffer.alloc(SEGMENT_BYTES);
    }
  }
  if (at !== segments.length) throw new RangeError(`a disk of ${disk.sizeBytes} bytes ended at ${position}`);
}

// What a hole is read as; nobody changes it, because chunks are written or copied.
const ZEROS = Buffer.alloc(SEGMENT_BYTES);
export const isZero = (bytes: Uint8Array): boolean => ZEROS.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;

/**
 * A reader of any format as guest bytes: its extents are gathered once. The reader stays the caller's to close.
 *
 * @example const file = writeQcow2(await diskBytesOf(reader));
 */
export async function diskBytesOf(reader: DiskReader, signal?: AbortSignal): Promise<DiskBytes> {
  const extents: ByteRange[] = [];
  for await (const { offset, length } of reader.extents(signal)) extents.push({ offset, length });
  const sizeBytes = reader.virtualSizeBytes;
  return {
    sizeBytes,
    async *read({ offset, length } = { offset: 0, length: sizeBytes }, readSignal) {
      const end = Math.min(sizeBytes, offset + length);
      for (let at = offset; at < end; at += SEGMENT_BYTES) {
        const bytes = Buffer.alloc(Math.min(SEGMENT_BYTES, end - at));
        await reader.read(at, bytes, readSignal);
        yield bytes;
      }
    },
    *dataRanges({ offset, length } = { offset: 0, length: sizeBytes }) {
      for (const extent of extents) {
        const from = Math.max(offset, extent.offset);
        const to = Math.min(offset + length, extent.offset + extent.length);
        if (from < to) yield { offset: from, length: to - from };
      }
    },
  };
}
