import { assembleZvhd2 } from '@ims/image-format';
import { StoredBytesDamagedError } from '../errors';
import type { ByteRange, DiskFile } from '../image-store.port';
import { decompressFrame, frameChecksum } from '../layout/frame';
import type { Manifest } from '../layout/manifest';
import { sealBytesOf, storedBytesOf } from '../layout/pack-format';
import { FRAME_BYTES, FRAMES_PER_SEGMENT, SEGMENT_BYTES, storageKey } from '../layout/segment';
import type { AzStore, PackSource } from '../placement/az-store.port';
import type { Domains } from './domains';
import type { SegmentIndex, SegmentLocation } from './segment-index';
import { zvhd2LayoutOf } from './zvhd2-form';

// Places looked up with one query while a file is read in order: 512 MiB of guest bytes.
const LOCATE_AHEAD = 256;
// A read that jumps needs one segment or, at a border, two.
const LOCATE_RANDOM = 2;
// Pieces under way at once when a file is read in order: 2 MiB of plain bytes, so that the disk works while a piece is decoded. Decoding is
// synchronous, 0.15 ms a frame: on libuv's pool it cost more than twice the CPU.
const FRAMES_AHEAD = 8;
const PAYLOADS_AHEAD = 2;
// Packs kept open by one reading: neighbours on the disk lie in as many packs as there were lanes.
const OPEN_PACKS = 4;
// What a hole is served from; never changed by anyone who reads it, because each chunk is written to a socket or copied.
const ZEROS = Buffer.alloc(1024 * 1024);

export interface DiskParts {
  az: AzStore;
  index: SegmentIndex;
  domains: Domains;
  domainId: string;
  domainSecret: Buffer;
  /** Of an encrypted domain. */
  isSealed: boolean;
  manifest: Manifest;
}

/** Guest bytes of a disk. Holes cost neither a look-up nor a read. */
export function rawFile(parts: DiskParts): DiskFile {
  const { manifest } = parts;
  return {
    sizeBytes: manifest.virtualSizeBytes,
    read: (range, signal) => readRaw(parts, cut(range, manifest.virtualSizeBytes), signal),
    dataRanges: (range) => segmentRanges(manifest, cut(range, manifest.virtualSizeBytes)),
  };
}

/** The ZVHD2 file assembled from stored frames as they are, those of an encrypted domain unsealed. */
export async function zvhd2File(parts: DiskParts): Promise<DiskFile> {
  const { manifest } = parts;
  const segments: { index: number; storedBytes: number }[] = [];
  const places = new Places(parts);
  for (let position = 0; position < manifest.dataSegments.length; position += 1) {
    const index = manifest.dataSegments[position] ?? 0;
    const { frameLengths, frameNonces } = await places.at(position);
    segments.push({ index, storedBytes: storedBytesOf(frameLengths) - sealBytesOf(frameNonces !== undefined) });
  }
  const layout = zvhd2LayoutOf(manifest.hash, manifest.virtualSizeBytes, segments);
  return {
    sizeBytes: layout.sizeBytes,
    read: (range, signal) => readZvhd2(parts, layout, cut(range, layout.sizeBytes), signal),
    dataRanges: (range) => [cut(range, layout.sizeBytes)].filter(({ length }) => length > 0),
  };
}

function cut(range: ByteRange | undefined, sizeBytes: number): ByteRange {
  if (range === undefined) return { offset: 0, length: sizeBytes };
  if (
    !Number.isSafeInteger(range.offset) ||
    !Number.isSafeInteger(range.length) ||
    range.offset < 0 ||
    range.length < 0
  ) {
    throw new RangeError(`range ${range.offset}+${range.length} is not one`);
  }
  return { offset: range.offset, length: Math.max(0, Math.min(range.length, sizeBytes - range.offset)) };
}

async function* readRaw(parts: DiskParts, range: ByteRange, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const reader = new SegmentReader(parts);
  // Decoded pieces in order; as many are under way as `FRAMES_AHEAD` says.
  const ahead: { bytes: Promise<Uint8Array>; from: number; to: number }[] = [];
  const first = async function* (): AsyncGenerator<Uint8Array> {
    const next = ahead.shift();
    if (next !== undefined) yield (await next.bytes).subarray(next.from, next.to);
  };
  try {
    for (const piece of rawPieces(parts.manifest, range)) {
      signal?.throwIfAborted();
      if (piece.kind === 'zeros') {
        while (ahead.length > 0) yield* first();
        for (let left = piece.length; left > 0; left -= ZEROS.length) {
          signal?.throwIfAborted();
          yield ZEROS.subarray(0, Math.min(left, ZEROS.length));
        }
        continue;
      }
      if (ahead.length === FRAMES_AHEAD) yield* first();
      const bytes = reader.frame(piece.position, piece.frame);
      bytes.catch(() => undefined);
      ahead.push({ bytes, from: piece.from, to: piece.to });
    }
    while (ahead.length > 0) yield* first();
  } finally {
    await Promise.allSettled(ahead.map(({ bytes }) => bytes));
    await reader.close();
  }
}

type RawPiece =
  { kind: 'zeros'; length: number } | { kind: 'frame'; position: number; frame: number; from: number; to: number };

/** A range of the disk as runs of zeros and pieces of frames, in order. */
function* rawPieces(manifest: Manifest, { offset, length }: ByteRange): Generator<RawPiece> {
  const end = offset + length;
  let at = offset;
  let position = manifest.positionFrom(Math.floor(offset / SEGMENT_BYTES));
  while (at < end) {
    const index = manifest.dataSegments[position];
    const dataAt = index === undefined ? end : Math.min(end, index * SEGMENT_BYTES);
    if (at < dataAt) {
      yield { kind: 'zeros', length: dataAt - at };
      at = dataAt;
      continue;
    }
    const segmentAt = (index ?? 0) * SEGMENT_BYTES;
    const segmentEnd = Math.min(end, segmentAt + SEGMENT_BYTES);
    while (at < segmentEnd) {
      const frame = Math.floor((at - segmentAt) / FRAME_BYTES);
      const frameAt = segmentAt + frame * FRAME_BYTES;
      const to = Math.min(segmentEnd, frameAt + FRAME_BYTES);
      yield { kind: 'frame', position, frame, from: at - frameAt, to: to - frameAt };
      at = to;
    }
    position += 1;
  }
}

/** Where the segments lie that are stored, cut at the range's ends. */
function* segmentRanges(manifest: Manifest, { offset, length }: ByteRange): Generator<ByteRange> {
  const { dataSegments } = manifest;
  const end = offset + length;
  for (let position = manifest.positionFrom(Math.floor(offset / SEGMENT_BYTES)); position < dataSegments.length;) {
    const first = dataSegments[position] ?? 0;
    const from = Math.max(offset, first * SEGMENT_BYTES);
    if (from >= end) return;
    let next = first + 1;
    for (position += 1; dataSegments[position] === next; position += 1) next += 1;
    yield { offset: from, length: Math.min(end, next * SEGMENT_BYTES) - from };
  }
}

async function* readZvhd2(
  parts: DiskParts,
  layout: ReturnType<typeof zvhd2LayoutOf>,
  range: ByteRange,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const reader = new SegmentReader(parts);
  const { manifest } = parts;
  const ahead = new Map<number, Promise<Uint8Array>>();
  // Read before it is asked for, so that the disk works while the socket does; the assembler goes through the segments in order.
  const start = (position: number): Promise<Uint8Array> => {
    const under = ahead.get(position) ?? reader.payload(position);
    under.catch(() => undefined);
    ahead.set(position, under);
    return under;
  };
  const readPayload = (index: number): Promise<Uint8Array> => {
    const position = manifest.positionFrom(index);
    const wanted = start(position);
    ahead.delete(position);
    const end = range.offset + range.length;
    for (let next = position + 1; next <= position + PAYLOADS_AHEAD && next < layout.blockCount; next += 1) {
      if ((layout.blockOffsets[next] ?? end) < end) void start(next);
    }
    return wanted;
  };
  try {
    for await (const chunk of assembleZvhd2(layout, readPayload, range)) {
      signal?.throwIfAborted();
      yield chunk;
    }
  } finally {
    await Promise.allSettled(ahead.values());
    await reader.close();
  }
}

/** Places of the data segments of one disk, looked up many at a time. */
class Places {
  private window = new Map<number, SegmentLocation>();
  private loading: Promise<void> | undefined;
  private lastLoaded = -1;

  constructor(private readonly parts: DiskParts) {}

  async at(position: number): Promise<SegmentLocation> {
    // One after the other: the second of two neighbours finds what the first one loaded.
    while (this.loading !== undefined) await this.loading;
    const found = this.window.get(position);
    if (found !== undefined) return found;
    const done = this.load(position).finally(() => {
      this.loading = undefined;
    });
    done.catch(() => undefined);
    this.loading = done;
    await done;
    const loaded = this.window.get(position);
    if (loaded !== undefined) return loaded;
    const { manifest } = this.parts;
    throw new StoredBytesDamagedError(
      `manifest ${manifest.hash}: segment ${manifest.dataSegments[position]} is not stored`,
    );
  }

  /** What is known may have moved. */
  forget(): void {
    this.window = new Map();
  }

  private async load(from: number): Promise<void> {
    const { index, domainId, domainSecret, manifest } = this.parts;
    // A first or a jumping look-up is likely a random read and asks for little; going on in order asks for more.
    const count = from === this.lastLoaded + 1 ? LOCATE_AHEAD : LOCATE_RANDOM;
    const to = Math.min(from + count, manifest.dataSegments.length);
    const keys = new Map<string, number[]>();
    for (let position = from; position < to; position += 1) {
      const name = storageKey(domainSecret, manifest.rootAt(position)).toString('latin1');
      keys.set(name, [...(keys.get(name) ?? []), position]);
    }
    const window = new Map<number, SegmentLocation>();
    for (const place of await index.locate(
      domainId,
      [...keys.keys()].map((name) => Buffer.from(name, 'latin1')),
    )) {
      for (const position of keys.get(place.key.toString('latin1')) ?? []) window.set(position, place);
    }
    this.window = window;
    this.lastLoaded = to - 1;
  }
}

/** Reads stored frames, checks each against its checksum, and keeps a few packs open. */
export class SegmentReader {
  private readonly places: Places;
  // In order of last use.
  private readonly packs = new Map<string, OpenPack>();

  constructor(private readonly parts: DiskParts) {
    this.places = new Places(parts);
  }

  /** Guest bytes (256 KiB) of one frame of the n-th data segment. */
  async frame(position: number, frame: number): Promise<Buffer> {
    const place = await this.places.at(position);
    return decompressFrame(await this.frames(position, frame, frame + 1), whereOf(place, frame));
  }

  /** All frames of the n-th data segment, compressed, one after the other. */
  async payload(position: number): Promise<Buffer> {
    return this.frames(position, 0, FRAMES_PER_SEGMENT);
  }

  private async frames(position: number, from: number, to: number): Promise<Buffer> {
    const { place, bytes } = await this.stored(position, await this.places.at(position), from, to);
    const { key, frameLengths, frameNonces } = place;
    const { domains, domainId, isSealed } = this.parts;
    // Whoever can write rows must not be able to hand out bytes of their own as an encrypted image's.
    if ((frameNonces !== undefined) !== isSealed)
      throw new StoredBytesDamagedError(`${whereOf(place, from)}: ${isSealed ? 'is not sealed' : 'is sealed'}`);
    if (frameNonces === undefined) return bytes;
    const { seal } = await domains.open(domainId);
    if (seal === undefined) throw new StoredBytesDamagedError(`domain ${domainId}: is not an encrypted one any more`);
    const segment = seal.segment(key);
    let at = 0;
    const opened: Buffer[] = [];
    for (let frame = from; frame < to; frame += 1) {
      const sealed = bytes.subarray(at, at + (frameLengths[frame] ?? 0));
      opened.push(segment.openFrame(frame, frameNonces[frame], sealed, whereOf(place, frame)));
      at += sealed.length;
    }
    return Buffer.concat(opened);
  }

  /** The same with the length of each frame. */
  async storedSegment(position: number): Promise<{ frames: Buffer; frameLengths: readonly number[] }> {
    const frames = await this.payload(position);
    return { frames, frameLengths: (await this.places.at(position)).frameLengths };
  }

  /** Guest bytes (2 MiB) of the n-th data segment. */
  async segment(position: number): Promise<Buffer> {
    const { frames, frameLengths } = await this.storedSegment(position);
    const plain = Buffer.allocUnsafe(SEGMENT_BYTES);
    let at = 0;
    for (const [frame, length] of frameLengths.entries()) {
      decompressFrame(
        frames.subarray(at, at + length),
        `data segment ${position}: frame ${frame}`,
        plain.subarray(frame * FRAME_BYTES),
      );
      at += length;
    }
    return plain;
  }

  async close(): Promise<void> {
    for (const pack of this.packs.values()) await closePack(pack);
    this.packs.clear();
  }

  private async stored(
    position: number,
    place: SegmentLocation,
    from: number,
    to: number,
  ): Promise<{ place: SegmentLocation; bytes: Buffer }> {
    const bytes = await this.read(place, from, to);
    if (bytes !== undefined) return { place, bytes };
    // The collector has moved the segment and removed the old pack since it was looked up.
    this.places.forget();
    const moved = await this.places.at(position);
    const again = await this.read(moved, from, to);
    if (again === undefined) throw new StoredBytesDamagedError(`pack ${moved.packId}: is missing`);
    return { place: moved, bytes: again };
  }

  /** `undefined` when there is no such pack. */
  private async read(place: SegmentLocation, from: number, to: number): Promise<Buffer | undefined> {
    const { offset, frameLengths, frameChecksums, packId } = place;
    const pack = await this.take(packId);
    try {
      const source = await pack.source;
      if (source === undefined) {
        this.packs.delete(packId);
        return undefined;
      }
      const bytes = Buffer.allocUnsafe(storedBytesOf(frameLengths.slice(from, to)));
      await source.read(offset + storedBytesOf(frameLengths.slice(0, from)), bytes);
      let at = 0;
      for (let frame = from; frame < to; frame += 1) {
        const stored = bytes.subarray(at, at + (frameLengths[frame] ?? 0));
        if (frameChecksum(stored) !== frameChecksums[frame]) {
          throw new StoredBytesDamagedError(`${whereOf(place, frame)}: differs from its checksum`);
        }
        at += stored.length;
      }
      return bytes;
    } finally {
      pack.users -= 1;
    }
  }

  private async take(packId: string): Promise<OpenPack> {
    const pack = this.packs.get(packId) ?? { source: this.parts.az.openPack(packId), users: 0 };
    pack.users += 1;
    this.packs.delete(packId);
    this.packs.set(packId, pack);
    for (const [id, other] of this.packs) {
      if (this.packs.size <= OPEN_PACKS) break;
      if (other.users > 0) continue;
      this.packs.delete(id);
      await closePack(other);
    }
    return pack;
  }
}

interface OpenPack {
  source: Promise<PackSource | undefined>;
  /** Reads under way. */
  users: number;
}

async function closePack({ source }: OpenPack): Promise<void> {
  // A pack that could not be opened has nothing to close; its reader got the error.
  const opened = await source.catch(() => undefined);
  await opened?.close();
}

const whereOf = ({ packId, key }: SegmentLocation, frame: number): string =>
  `pack ${packId}: segment ${key.toString('hex')}: frame ${frame}`;
