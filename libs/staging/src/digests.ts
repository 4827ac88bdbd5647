import { createHash } from 'node:crypto';
import type { FileDigests } from '@ims/contract';

/** The digests of a file that its image is told by, taken of bytes as they pass, so that nobody has to read them again. */
export class Digests {
  readonly #md5 = createHash('md5');
  readonly #sha256 = createHash('sha256');
  readonly #sha512 = createHash('sha512');

  update(bytes: Uint8Array): void {
    for (const hash of [this.#md5, this.#sha256, this.#sha512]) hash.update(bytes);
  }

  /** In hex; nothing can be added afterwards. */
  end(): FileDigests {
    return { md5: this.#md5.digest('hex'), sha256: this.#sha256.digest('hex'), sha512: this.#sha512.digest('hex') };
  }
}
