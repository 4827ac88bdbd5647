import { types } from 'node:util';
import { constants, createZstdCompress, createZstdDecompress, zstdCompressSync, type ZstdOptions } from 'node:zlib';

/** The part of a zlib stream's native handle that is used here; Node's own synchronous calls go through it too. */
interface ZstdHandle {
  writeSync(
    flush: number,
    input: Uint8Array,
    inputAt: number,
    inputBytes: number,
    output: Uint8Array,
    outputAt: number,
    outputBytes: number,
  ): void;
  onerror: (message: string, code: number, name: string) => void;
}

/**
 * A zstd context that serves frame after frame. Node's one-shot calls make a new one of 1 to 2 MiB each time, outside the heap but counted to
 * it: of an import a quarter of the CPU went into collecting them, and compressing itself is a tenth slower (measured, Node 24.21).
 * Node has no public call for this, so the handle is looked at before it is used, and `undefined` means: use the one-shot call.
 */
export class ZstdEngine {
  private failed = false;

  private constructor(
    // Holding the stream keeps its handle open.
    private readonly stream: object,
    private readonly handle: ZstdHandle,
    /** Room left in the output, bytes left of the input. */
    private readonly state: Uint32Array,
  ) {
    handle.onerror = () => {
      this.failed = true;
    };
  }

  /** `undefined` where this Node's streams look or compress otherwise than the one-shot call. */
  static compressor(options: ZstdOptions): ZstdEngine | undefined {
    const engine = ZstdEngine.over(createZstdCompress(options));
    const probe = Buffer.from(Array.from({ length: 20_000 }, (_, n) => `${n * n} `).join(''));
    const expected = zstdCompressSync(probe, options);
    const output = Buffer.alloc(probe.length);
    // Twice: the second frame shows whether the settings outlive the first.
    for (let frame = 0; frame < 2; frame += 1) {
      const length = engine?.run(probe, output);
      if (length === undefined || !output.subarray(0, length).equals(expected)) return undefined;
    }
    return engine;
  }

  static decompressor(options: ZstdOptions): ZstdEngine | undefined {
    return ZstdEngine.over(createZstdDecompress(options));
  }

  private static over(stream: object): ZstdEngine | undefined {
    const handle: unknown = Reflect.get(stream, '_handle');
    const state: unknown = Reflect.get(stream, '_writeState');
    if (typeof handle !== 'object' || handle === null || !types.isUint32Array(state)) return undefined;
    if (typeof Reflect.get(handle, 'writeSync') !== 'function') return undefined;
    // The boundary to Node's native object, checked on the lines above.
    return new ZstdEngine(stream, handle as ZstdHandle, state);
  }

  /**
   * One whole frame from `input` into `output`. Resolves to its length, or to `undefined` when it did not come out whole: then the engine may
   * be in the middle of a frame and must not be used again.
   */
  run(input: Uint8Array, output: Uint8Array): number | undefined {
    if (this.failed) return undefined;
    this.handle.writeSync(constants.ZSTD_e_end, input, 0, input.length, output, 0, output.length);
    const [room, left] = this.state;
    if (this.failed || left !== 0 || room === undefined) {
      this.failed = true;
      return undefined;
    }
    return output.length - room;
  }
}
