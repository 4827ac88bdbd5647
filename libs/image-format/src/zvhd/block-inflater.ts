import { createInflate } from 'node:zlib';
import { PulledStream } from './pulled-stream';
import { BLOCK_BYTES, refuse } from './stream-page';

/** Output computed at a time: what a bomb may produce beyond 2 MiB before it is noticed. */
const PIECE_BYTES = 64 * 1024;

/** The one inflate state of a ZVHD file: payloads go in by order, each must give exactly 2 MiB (image-formats 3). */
export class BlockInflater {
  private readonly inflate = createInflate({ chunkSize: PIECE_BYTES });
  private readonly pulled = new PulledStream(this.inflate);

  /** Unpacks one payload; stops at the first piece above 2 MiB. Throws IMG.0057 for any other length and for damaged data. */
  async unpack(payload: Buffer, where: string): Promise<Buffer> {
    const block = Buffer.allocUnsafe(BLOCK_BYTES);
    let length = 0;
    const pieces = this.pulled.output((done) => this.inflate.write(payload, done));
    for (;;) {
      const step = await pieces.next().catch(() => {
        throw refuse(`${where} cannot be unpacked (damaged)`);
      });
      if (step.done === true) break;
      if (length + step.value.length > BLOCK_BYTES) throw refuse(`${where} unpacks to more than 2 MiB`);
      step.value.copy(block, length);
      length += step.value.length;
    }
    if (length !== BLOCK_BYTES) throw refuse(`${where} unpacks to ${length} bytes instead of 2 MiB`);
    return block;
  }

  /** Compressed bytes that the state has taken in so far. */
  get bytesTaken(): number {
    return this.inflate.bytesWritten;
  }

  close(): void {
    this.pulled.close();
  }
}
