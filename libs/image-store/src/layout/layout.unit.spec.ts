import { createHash, createHmac, randomBytes } from 'node:crypto';
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { StoredBytesDamagedError } from '../errors';
import { segmentBytes } from '../spec-support/store-fixture';
import { ContentTree } from './content-root';
import { combineCrc32 } from './crc32-combine';
import { compressFrame, compressSegment, decompressFrame, frameChecksum } from './frame';
import { Manifest } from './manifest';
import {
  CHECKSUM_BLOCK_BYTES,
  decodePackFooter,
  decodePackHeader,
  decodePackTrailer,
  encodePackFooter,
  encodePackHeader,
  PACK_HEADER_BYTES,
  PACK_TRAILER_BYTES,
  type PackedSegment,
} from './pack-format';
import {
  FRAME_BYTES,
  HASH_BYTES,
  hashLeaves,
  isZero,
  LEAF_BYTES,
  LEAVES_PER_SEGMENT,
  SEGMENT_BYTES,
  segmentCountOf,
  segmentRoot,
  storageKey,
  ZERO_SEGMENT_ROOT,
  zeroLeafHash,
} from './segment';
import { SEALED_LEAVES_BYTES } from './seal';
import { ZstdEngine } from './zstd-engine';

const sha256 = (...parts: Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();

/** RFC 6962 2.1, word by word; slow on purpose. */
function rfc6962(leaves: readonly Uint8Array[]): Buffer {
  if (leaves.length === 0) return sha256();
  const [only] = leaves;
  if (leaves.length === 1 && only !== undefined) return sha256(Buffer.from([0]), only);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(Buffer.from([1]), rfc6962(leaves.slice(0, split)), rfc6962(leaves.slice(split)));
}

function contentRootByDefinition(virtualSizeBytes: number, roots: readonly Uint8Array[]): string {
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(BigInt(virtualSizeBytes));
  return sha256(Buffer.from([2]), size, rfc6962(roots)).toString('hex');
}

const anyRoot = fc.uint8Array({ minLength: HASH_BYTES, maxLength: HASH_BYTES }).map((bytes) => Buffer.from(bytes));
// Mostly holes, so that runs of every length and alignment come up.
const anyDisk = fc.array(fc.option(anyRoot, { freq: 1, nil: null }), { minLength: 1, maxLength: 150 });

describe('segments', () => {
  it('the root is the Merkle root over exactly 128 leaves of 16 KiB', () => {
    const segment = segmentBytes(5);
    const leaves = Buffer.alloc(LEAVES_PER_SEGMENT * HASH_BYTES);
    hashLeaves(segment, leaves);
    let level = Array.from({ length: LEAVES_PER_SEGMENT }, (_, leaf) =>
      sha256(segment.subarray(leaf * LEAF_BYTES, (leaf + 1) * LEAF_BYTES)),
    );
    expect(Buffer.concat(level).equals(leaves)).toBe(true);
    while (level.length > 1) {
      level = Array.from({ length: level.length / 2 }, (_, node) =>
        sha256(level[2 * node] ?? Buffer.alloc(0), level[2 * node + 1] ?? Buffer.alloc(0)),
      );
    }
    expect(segmentRoot(leaves).toString('hex')).toBe(level[0]?.toString('hex'));
    expect(() => segmentRoot(leaves.subarray(HASH_BYTES))).toThrow(RangeError);
  });

  it('any changed byte changes the root, and zeros have the known root', () => {
    const leaves = Buffer.alloc(LEAVES_PER_SEGMENT * HASH_BYTES);
    const segment = Buffer.alloc(SEGMENT_BYTES);
    hashLeaves(segment, leaves);
    expect(isZero(segment)).toBe(true);
    expect(segmentRoot(leaves).equals(ZERO_SEGMENT_ROOT)).toBe(true);
    for (const at of [0, LEAF_BYTES - 1, LEAF_BYTES, SEGMENT_BYTES - 1]) {
      segment.writeUInt8(1, at);
      expect(isZero(segment)).toBe(false);
      hashLeaves(segment, leaves);
      expect(segmentRoot(leaves).equals(ZERO_SEGMENT_ROOT)).toBe(false);
      segment.writeUInt8(0, at);
    }
  });

  it('the storage key depends on the secret of the domain', () => {
    const [a, b] = [randomBytes(32), randomBytes(32)];
    expect(storageKey(a, ZERO_SEGMENT_ROOT).equals(storageKey(b, ZERO_SEGMENT_ROOT))).toBe(false);
    expect(storageKey(a, ZERO_SEGMENT_ROOT).equals(createHmac('sha256', a).update(ZERO_SEGMENT_ROOT).digest())).toBe(
      true,
    );
  });
});

describe('frames', () => {
  it('compress at level 1 exactly: neither the default level nor the trap value -1', () => {
    const plain = segmentBytes(3).subarray(0, FRAME_BYTES);
    // Text with long repeats tells levels apart, random bytes would not.
    const text = Buffer.from(Array.from({ length: 40_000 }, (_, n) => `${n * n} `).join('')).subarray(0, FRAME_BYTES);
    for (const bytes of [plain, text]) {
      const sizeAt = (level: number): number =>
        zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: level } }).length;
      expect(compressFrame(bytes).length).toBe(sizeAt(1));
    }
    const size = zstdCompressSync(text, { params: { [constants.ZSTD_c_compressionLevel]: 3 } }).length;
    expect(compressFrame(text).length).not.toBe(size);
  });

  it('carry the content size and no checksum, and their concatenation decodes as one stream (image-formats 4)', () => {
    const segment = Buffer.concat([
      segmentBytes(1).subarray(0, SEGMENT_BYTES / 2),
      randomBytes(SEGMENT_BYTES / 4),
      Buffer.alloc(SEGMENT_BYTES / 4),
    ]);
    const frames = compressSegment(segment);
    expect(frames).toHaveLength(8);
    for (const frame of frames) {
      expect(frame.readUInt32LE(0)).toBe(0xfd2fb528);
      // Frame header descriptor: 4-byte content size (2 << 6), single segment (1 << 5), no checksum, no dictionary.
      expect(frame.readUInt8(4)).toBe(0xa0);
      expect(frame.readUInt32LE(5)).toBe(FRAME_BYTES);
    }
    expect(zstdDecompressSync(Buffer.concat(frames)).equals(segment)).toBe(true);
    // What does not compress grows by block headers only.
    expect(frames[4]?.length).toBeLessThan(FRAME_BYTES + 32);
  });

  it('come out of a context used over and over exactly as out of a fresh one, and read back in it', () => {
    const engine = ZstdEngine.compressor({ params: { [constants.ZSTD_c_compressionLevel]: 1 } });
    expect(engine).toBeDefined();
    for (let round = 0; round < 40; round += 1) {
      const bytes = round % 3 === 0 ? randomBytes(FRAME_BYTES) : segmentBytes(round).subarray(0, FRAME_BYTES);
      const frame = Buffer.from(compressFrame(bytes));
      expect(frame.equals(zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }))).toBe(true);
      expect(decompressFrame(frame, 'frame').equals(bytes)).toBe(true);
      // A damaged frame in between must not spoil the next one.
      expect(() => decompressFrame(frame.subarray(0, frame.length - 1), 'frame')).toThrow(StoredBytesDamagedError);
    }
  });

  it('are the same for the same bytes, always', () => {
    const segment = segmentBytes(9);
    expect(Buffer.concat(compressSegment(segment)).equals(Buffer.concat(compressSegment(Buffer.from(segment))))).toBe(
      true,
    );
  });

  it('that decode to another size, or not at all, are refused', () => {
    const short = zstdCompressSync(Buffer.alloc(FRAME_BYTES - 1));
    const long = zstdCompressSync(Buffer.alloc(FRAME_BYTES + 1));
    for (const frame of [
      short,
      long,
      Buffer.from('no frame'),
      compressFrame(randomBytes(FRAME_BYTES)).subarray(0, 99),
    ]) {
      expect(() => decompressFrame(frame, 'frame 0')).toThrow(StoredBytesDamagedError);
    }
    expect(frameChecksum(Buffer.from('123456789'))).toBe(0xcbf43926);
  });

  it('checksums of parts combine to the checksum of the whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), fc.uint8Array({ maxLength: 700 }), (a, b) => {
        expect(combineCrc32(crc32(a), crc32(b), b.length)).toBe(crc32(Buffer.concat([a, b])));
      }),
    );
    const large = randomBytes(3 * CHECKSUM_BLOCK_BYTES + 17);
    const at = CHECKSUM_BLOCK_BYTES + 5;
    expect(combineCrc32(crc32(large.subarray(0, at)), crc32(large.subarray(at)), large.length - at)).toBe(crc32(large));
  });
});

describe('content root', () => {
  it('is the RFC 6962 root over all segment roots, holes included, bound to the size', () => {
    fc.assert(
      fc.property(anyDisk, fc.integer({ min: 1, max: SEGMENT_BYTES }), (disk, tail) => {
        const size = (disk.length - 1) * SEGMENT_BYTES + tail;
        const tree = new ContentTree();
        let zeros = 0;
        for (const root of disk) {
          if (root === null) zeros += 1;
          else {
            tree.appendZeros(zeros);
            tree.append(root);
            zeros = 0;
          }
        }
        tree.appendZeros(zeros);
        const expected = contentRootByDefinition(
          size,
          disk.map((root) => root ?? ZERO_SEGMENT_ROOT),
        );
        expect(tree.finish(size).toString('hex')).toBe(expected);
      }),
    );
  });

  it('an empty disk of 1 TiB costs a handful of hashes and another size gives another root', () => {
    const rootOf = (size: number): string => {
      const tree = new ContentTree();
      tree.appendZeros(segmentCountOf(size));
      return tree.finish(size).toString('hex');
    };
    expect(rootOf(1024 ** 4)).not.toBe(rootOf(1024 ** 4 - 512));
    const tree = new ContentTree();
    tree.appendZeros(3);
    expect(() => tree.finish(SEGMENT_BYTES)).toThrow(RangeError);
  });
});

describe('manifest', () => {
  it('reads back what it was made from, and is the same for the same disk', () => {
    fc.assert(
      fc.property(anyDisk, (disk) => {
        const size = disk.length * SEGMENT_BYTES - 512;
        const segments = disk.flatMap((root, index) => (root === null ? [] : [{ index, root }]));
        const made = Manifest.of(size, segments);
        const read = Manifest.decode(Buffer.from(made.bytes));
        expect(read.virtualSizeBytes).toBe(size);
        expect([...read.dataSegments]).toEqual(segments.map(({ index }) => index));
        segments.forEach(({ index, root }, position) => {
          expect(read.rootAt(position).equals(root)).toBe(true);
          expect(read.positionFrom(index)).toBe(position);
        });
        expect(read.hash).toBe(Manifest.of(size, segments).hash);
        expect(read.contentRoot.toString('hex')).toBe(
          contentRootByDefinition(
            size,
            disk.map((root) => root ?? ZERO_SEGMENT_ROOT),
          ),
        );
      }),
    );
  });

  it('any changed, missing or added byte is refused', () => {
    const bytes = Manifest.of(
      9 * SEGMENT_BYTES,
      [1, 2, 5].map((index) => ({ index, root: randomBytes(32) })),
    ).bytes;
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = Buffer.from(bytes);
        damaged.writeUInt8(damaged.readUInt8(at) ^ change, at);
        expect(() => Manifest.decode(damaged)).toThrow(StoredBytesDamagedError);
      }),
      { numRuns: 500 },
    );
    expect(() => Manifest.decode(bytes.subarray(0, bytes.length - 1))).toThrow(StoredBytesDamagedError);
    expect(() => Manifest.decode(Buffer.concat([bytes, Buffer.alloc(1)]))).toThrow(StoredBytesDamagedError);
    expect(() => Manifest.decode(Buffer.alloc(0))).toThrow(StoredBytesDamagedError);
  });

  it('segments outside the disk or out of order are refused', () => {
    const root = randomBytes(32);
    expect(() => Manifest.of(SEGMENT_BYTES, [{ index: 1, root }])).toThrow(RangeError);
    expect(() =>
      Manifest.of(3 * SEGMENT_BYTES, [
        { index: 1, root },
        { index: 1, root },
      ]),
    ).toThrow(RangeError);
    expect(() =>
      Manifest.of(3 * SEGMENT_BYTES, [
        { index: 2, root },
        { index: 0, root },
      ]),
    ).toThrow(RangeError);
  });
});

describe('pack format', () => {
  const header = {
    packId: '01234567-89ab-cdef-0123-456789abcdef',
    domainId: 'fedcba98-7654-3210-fedc-ba9876543210',
    k: 2,
    m: 1,
    shard: 2,
    sealedFrames: false,
  };
  const footerOffset = PACK_HEADER_BYTES + 3 * CHECKSUM_BLOCK_BYTES;
  const segmentAt = (offset: number, sealed: boolean): PackedSegment => {
    const leaves = randomBytes(LEAVES_PER_SEGMENT * HASH_BYTES);
    zeroLeafHash().copy(leaves, 5 * HASH_BYTES);
    return {
      key: randomBytes(32),
      offset,
      frameLengths: [10, 20, 30, 40, 50, 60, 70, 80],
      frameChecksums: [1, 2, 3, 4, 5, 6, 7, 0xffffffff],
      leaves: sealed ? randomBytes(SEALED_LEAVES_BYTES) : leaves,
      ...(sealed ? { frameNonces: Array.from({ length: 8 }, () => randomBytes(12)) } : {}),
    };
  };
  const blockChecksums = [7, 8, 9, 10];

  it.each([false, true])('header and footer read back, sealed frames %s', (sealedFrames) => {
    const described = { ...header, sealedFrames };
    expect(decodePackHeader(encodePackHeader(described))).toEqual(described);
    const segments = [segmentAt(64, sealedFrames), segmentAt(424, sealedFrames)];
    const bytes = encodePackFooter(described, { segments, blockChecksums }, footerOffset);
    const trailer = decodePackTrailer(bytes.subarray(-PACK_TRAILER_BYTES), footerOffset + bytes.length);
    expect(trailer.offset).toBe(footerOffset);
    const body = bytes.subarray(0, trailer.length);
    expect(decodePackFooter(encodePackHeader(described), body, trailer.digest, footerOffset)).toEqual({
      segments,
      blockChecksums,
    });
  });

  it('any changed byte of header, footer or trailer is refused', () => {
    const headerBytes = encodePackHeader(header);
    const bytes = encodePackFooter(header, { segments: [segmentAt(64, false)], blockChecksums }, footerOffset);
    const read = (head: Buffer, tail: Buffer): void => {
      const trailer = decodePackTrailer(tail.subarray(-PACK_TRAILER_BYTES), footerOffset + tail.length);
      decodePackHeader(head);
      decodePackFooter(head, tail.subarray(0, trailer.length), trailer.digest, trailer.offset);
    };
    read(headerBytes, bytes);
    // The last eight bytes of the trailer are unused.
    fc.assert(
      fc.property(
        fc.nat({ max: PACK_HEADER_BYTES + bytes.length - 9 }),
        fc.integer({ min: 1, max: 255 }),
        (at, change) => {
          const both = Buffer.concat([headerBytes, bytes]);
          both.writeUInt8(both.readUInt8(at) ^ change, at);
          expect(() => read(both.subarray(0, PACK_HEADER_BYTES), both.subarray(PACK_HEADER_BYTES))).toThrow(
            StoredBytesDamagedError,
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it('a footer whose segment lies outside the pack is refused although its hash is right', () => {
    const bytes = encodePackFooter(
      header,
      { segments: [segmentAt(footerOffset - 100, false)], blockChecksums },
      footerOffset,
    );
    const trailer = decodePackTrailer(bytes.subarray(-PACK_TRAILER_BYTES), footerOffset + bytes.length);
    expect(() =>
      decodePackFooter(encodePackHeader(header), bytes.subarray(0, trailer.length), trailer.digest, footerOffset),
    ).toThrow(/outside the pack/);
  });
});
