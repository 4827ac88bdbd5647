import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import { StoredBytesDamagedError } from '../errors';
import { FRAMES_PER_SEGMENT, HASH_BYTES, LEAVES_PER_SEGMENT } from './segment';

/** AES-256-GCM nonce, random and kept in the frame table (design 4, "Encryption"). */
export const NONCE_BYTES = 12;
/** AES-256-GCM tag; a sealed frame is this much longer than the frame in it. */
export const SEAL_TAG_BYTES = 16;
/** Leaf hashes of a segment as a pack of a sealed domain holds them: nonce, ciphertext, tag. */
export const SEALED_LEAVES_BYTES = NONCE_BYTES + LEAVES_PER_SEGMENT * HASH_BYTES + SEAL_TAG_BYTES;

const KEY_BYTES = 32;
const VERSION = 1;
const CIPHER = 'aes-256-gcm';
// What is sealed, so that no sealed thing passes for one of another kind.
const KIND = { frame: 1, leaves: 2, manifest: 3 } as const;
const NO_SALT = Buffer.alloc(0);

export interface SealedFrame {
  /** Ciphertext and tag. */
  bytes: Buffer;
  nonce: Buffer;
}

/**
 * The seals of one encrypted dedup domain, all under its data key. Frames: AES-256-GCM, key = HKDF-SHA256(data key, salt = storage key of the segment),
 * random nonce, associated data = version, kind, domain, storage key, frame number and count. Nothing of a pack is in them: the collector moves
 * sealed frames without the key.
 *
 * @example
 * const seal = new DomainSeal(domainId, dataKey);
 * const { bytes, nonce } = seal.segment(key).sealFrame(0, frame);
 */
export class DomainSeal {
  private readonly dataKey: Buffer;
  private readonly rootKey: Buffer;
  private readonly domain: Buffer;
  private isWiped = false;

  /** `dataKey`: 32 bytes, copied. Throws `RangeError` for another length. */
  constructor(
    readonly domainId: string,
    dataKey: Uint8Array,
  ) {
    if (dataKey.length !== KEY_BYTES) throw new RangeError(`a data key has ${KEY_BYTES} bytes, got ${dataKey.length}`);
    // Memory of its own: pooled memory would be copied with its neighbours when the key crosses into a thread.
    this.dataKey = Buffer.allocUnsafeSlow(KEY_BYTES);
    this.dataKey.set(dataKey);
    this.rootKey = derive(this.dataKey, NO_SALT, 'ims/segment-root/1');
    this.domain = Buffer.from(domainId.replaceAll('-', ''), 'hex');
  }

  /** A copy of the data key for a thread, which wipes it. */
  exportKey(): Uint8Array {
    this.check();
    return Uint8Array.from(this.dataKey);
  }

  /**
   * The name that a segment root has outside of this domain's sealed bytes: HMAC-SHA256 under a key of its own. The same for the same content of the
   * domain, so manifests, holds and the content root stay what they are; meaningless to whoever lacks the data key.
   */
  nameOf(root: Uint8Array): Buffer {
    this.check();
    return createHmac('sha256', this.rootKey).update(root).digest();
  }

  /** The seals of one segment, by its storage key (32 bytes). */
  segment(key: Uint8Array): SegmentSeal {
    this.check();
    return new SegmentSeal(derive(this.dataKey, key, 'ims/segment/1'), this.domain, key);
  }

  /** The same bytes give the same sealed bytes, so a manifest written twice is one object: the nonce is a PRF of them. */
  sealManifest(bytes: Buffer): Buffer {
    this.check();
    const nonceKey = derive(this.dataKey, NO_SALT, 'ims/manifest-nonce/1');
    const nonce = createHmac('sha256', nonceKey).update(bytes).digest().subarray(0, NONCE_BYTES);
    return sealBox(this.manifestKey(), nonce, this.manifestData(), bytes);
  }

  /** Throws `StoredBytesDamagedError` unless `sealManifest` of this domain made it. */
  openManifest(sealed: Buffer): Buffer {
    this.check();
    return openBox(this.manifestKey(), this.manifestData(), sealed, 'manifest');
  }

  /** Overwrites the keys; every later call fails. */
  wipe(): void {
    this.isWiped = true;
    this.dataKey.fill(0);
    this.rootKey.fill(0);
  }

  private manifestKey(): Buffer {
    return derive(this.dataKey, NO_SALT, 'ims/manifest/1');
  }

  private manifestData(): Buffer {
    return Buffer.concat([Buffer.of(VERSION, KIND.manifest), this.domain]);
  }

  private check(): void {
    if (this.isWiped) throw new TypeError(`the data key of domain ${this.domainId} was dropped already`);
  }
}

/** Seals of one segment. Each call names what it failed at: a wrong key, another segment's bytes and a moved frame all look the same to it. */
export class SegmentSeal {
  constructor(
    private readonly key: Buffer,
    private readonly domain: Buffer,
    private readonly segmentKey: Uint8Array,
  ) {}

  sealFrame(frame: number, plain: Uint8Array): SealedFrame {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.key, nonce).setAAD(this.associatedData(KIND.frame, frame));
    return { nonce, bytes: Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]) };
  }

  /** Throws `StoredBytesDamagedError` unless exactly this frame of this segment was sealed so. */
  openFrame(frame: number, nonce: Uint8Array | undefined, sealed: Uint8Array, where: string): Buffer {
    if (nonce?.length !== NONCE_BYTES) throw new StoredBytesDamagedError(`${where}: has no nonce`);
    return open(this.key, nonce, this.associatedData(KIND.frame, frame), sealed, where);
  }

  /** Leaf hashes as the footer of a pack holds them: `SEALED_LEAVES_BYTES` bytes. */
  sealLeaves(leaves: Uint8Array): Buffer {
    return sealBox(this.key, randomBytes(NONCE_BYTES), this.associatedData(KIND.leaves, FRAMES_PER_SEGMENT), leaves);
  }

  /** Throws `StoredBytesDamagedError` unless they are the leaves of this segment. */
  openLeaves(sealed: Uint8Array, where: string): Buffer {
    return openBox(this.key, this.associatedData(KIND.leaves, FRAMES_PER_SEGMENT), sealed, where);
  }

  private associatedData(kind: number, frame: number): Buffer {
    return Buffer.concat([
      Buffer.of(VERSION, kind),
      this.domain,
      this.segmentKey,
      Buffer.of(frame, FRAMES_PER_SEGMENT),
    ]);
  }
}

/** What is kept beside a wrapped data key: GCM commits to no key, so this tells whether the one that comes back is the one (backends C4.2). */
export const keyCommitment = (domainId: string, dataKey: Uint8Array): Buffer =>
  derive(dataKey, NO_SALT, `ims/commitment/1/${domainId}`);

/** Whether `dataKey` is the one that `commitment` was made of. */
export const isCommittedTo = (domainId: string, dataKey: Uint8Array, commitment: Uint8Array): boolean =>
  commitment.length === KEY_BYTES && timingSafeEqual(keyCommitment(domainId, dataKey), commitment);

const derive = (key: Uint8Array, salt: Uint8Array, info: string): Buffer =>
  Buffer.from(hkdfSync('sha256', key, salt, info, KEY_BYTES));

function sealBox(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, plain: Uint8Array): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(associatedData);
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

const openBox = (key: Uint8Array, associatedData: Uint8Array, sealed: Uint8Array, where: string): Buffer =>
  open(key, sealed.subarray(0, NONCE_BYTES), associatedData, sealed.subarray(NONCE_BYTES), where);

function open(
  key: Uint8Array,
  nonce: Uint8Array,
  associatedData: Uint8Array,
  sealed: Uint8Array,
  where: string,
): Buffer {
  const damaged = (cause?: unknown): StoredBytesDamagedError =>
    new StoredBytesDamagedError(
      `${where}: its seal is broken, or it was sealed under another key or in another place`,
      {
        cause,
      },
    );
  if (sealed.length < SEAL_TAG_BYTES || nonce.length !== NONCE_BYTES) throw damaged();
  const at = sealed.length - SEAL_TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: SEAL_TAG_BYTES })
    .setAAD(associatedData)
    .setAuthTag(sealed.subarray(at));
  const plain = decipher.update(sealed.subarray(0, at));
  try {
    // GCM is a stream cipher: `final` adds no bytes, it checks.
    decipher.final();
  } catch (cause) {
    throw damaged(cause);
  }
  return plain;
}
