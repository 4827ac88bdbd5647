import { randomBytes, randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { StoredBytesDamagedError } from '../errors';
import { DomainSeal, isCommittedTo, keyCommitment, NONCE_BYTES, SEAL_TAG_BYTES } from './seal';
import { FRAMES_PER_SEGMENT, HASH_BYTES, LEAVES_PER_SEGMENT } from './segment';

const domainId = randomUUID();
const dataKey = randomBytes(32);
const key = randomBytes(32);
const domain = new DomainSeal(domainId, dataKey);
const segment = domain.segment(key);

describe(DomainSeal.name, () => {
  it('opens what it sealed, whatever it was, and never seals alike twice (ENC-01)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat({ max: FRAMES_PER_SEGMENT - 1 }), (plain, frame) => {
        const { bytes, nonce } = segment.sealFrame(frame, plain);
        expect(bytes).toHaveLength(plain.length + SEAL_TAG_BYTES);
        expect(segment.openFrame(frame, nonce, bytes, 'frame').equals(plain)).toBe(true);
        expect(segment.sealFrame(frame, plain).bytes.equals(bytes)).toBe(false);
      }),
    );
  });

  it('finds every single flipped bit of a frame, of its nonce and of leaf hashes (ENC-01)', () => {
    const { bytes, nonce } = segment.sealFrame(3, randomBytes(40));
    const leaves = segment.sealLeaves(randomBytes(LEAVES_PER_SEGMENT * HASH_BYTES));
    const flipped = (of: Buffer, bit: number): Buffer => {
      const copy = Buffer.from(of);
      copy.writeUInt8(copy.readUInt8(bit >>> 3) ^ (1 << (bit & 7)), bit >>> 3);
      return copy;
    };
    for (let bit = 0; bit < bytes.length * 8; bit += 1)
      expect(() => segment.openFrame(3, nonce, flipped(bytes, bit), 'frame')).toThrow(StoredBytesDamagedError);
    for (let bit = 0; bit < NONCE_BYTES * 8; bit += 1)
      expect(() => segment.openFrame(3, flipped(nonce, bit), bytes, 'frame')).toThrow(StoredBytesDamagedError);
    for (let bit = 0; bit < leaves.length * 8; bit += 101)
      expect(() => segment.openLeaves(flipped(leaves, bit), 'leaves')).toThrow(StoredBytesDamagedError);
  });

  it('opens nothing under a wrong key, in another domain, of another segment or in another place', () => {
    const { bytes, nonce } = segment.sealFrame(3, randomBytes(40));
    for (const [other, frame] of [
      [new DomainSeal(domainId, randomBytes(32)).segment(key), 3],
      [new DomainSeal(randomUUID(), dataKey).segment(key), 3],
      [domain.segment(randomBytes(32)), 3],
      [segment, 4],
    ] as const)
      expect(() => other.openFrame(frame, nonce, bytes, 'frame')).toThrow(StoredBytesDamagedError);
    // What is sealed as one thing opens as no other.
    expect(() => segment.openFrame(3, undefined, bytes, 'frame')).toThrow(StoredBytesDamagedError);
    expect(() => segment.openLeaves(Buffer.concat([nonce, bytes]), 'leaves')).toThrow(StoredBytesDamagedError);
    expect(() => segment.openFrame(3, nonce, bytes.subarray(0, 10), 'frame')).toThrow(StoredBytesDamagedError);
  });

  it('seals the same manifest to the same object, so that an ingest can be run twice', () => {
    const manifest = randomBytes(500);
    const sealed = domain.sealManifest(manifest);
    expect(domain.sealManifest(manifest)).toEqual(sealed);
    expect(sealed.includes(manifest.subarray(0, 16))).toBe(false);
    expect(domain.openManifest(sealed)).toEqual(manifest);
    sealed.writeUInt8(sealed.readUInt8(100) ^ 1, 100);
    expect(() => domain.openManifest(sealed)).toThrow(StoredBytesDamagedError);
  });

  it('names roots alike within the domain, and otherwise than any other', () => {
    const root = randomBytes(32);
    expect(domain.nameOf(root)).toEqual(new DomainSeal(domainId, dataKey).nameOf(root));
    expect(domain.nameOf(root)).not.toEqual(root);
    expect(new DomainSeal(domainId, randomBytes(32)).nameOf(root)).not.toEqual(domain.nameOf(root));
  });

  it('does nothing any more once it is wiped', () => {
    const seal = new DomainSeal(domainId, dataKey);
    seal.wipe();
    expect(() => seal.segment(key)).toThrow('dropped');
    expect(() => seal.nameOf(key)).toThrow('dropped');
    expect(() => seal.exportKey()).toThrow('dropped');
    expect(dataKey.every((byte) => byte === 0)).toBe(false);
  });

  it('tells the data key that a domain was made with from every other', () => {
    const commitment = keyCommitment(domainId, dataKey);
    expect(isCommittedTo(domainId, dataKey, commitment)).toBe(true);
    expect(isCommittedTo(domainId, randomBytes(32), commitment)).toBe(false);
    expect(isCommittedTo(randomUUID(), dataKey, commitment)).toBe(false);
  });
});
