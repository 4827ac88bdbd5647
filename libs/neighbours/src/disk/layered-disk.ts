import { setImmediate as nextTurn } from 'node:timers/promises';
import { Gate, KeyedTurns } from './gate';
import { GRANULE_BYTES, type LayerFile } from './layer-file';

/** What lies below the lowest layer: the disk of an image, say. Reads stay inside its size. */
export interface BottomDisk {
  readonly sizeBytes: number;
  read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface StatusRun {
  length: number;
  /** `false`: reads as zeros and nothing was ever written there. */
  isData: boolean;
}

type Owner = LayerFile | 'bottom' | undefined;

// A piece of a read or copy; keeps memory flat whatever the caller asks for.
const COPY_BYTES = 2 * 1024 * 1024;

/**
 * A disk as a stack of layers, newest first: each granule is read from the newest layer that holds it, else from the bottom, else it is zeros.
 * Writes go to the newest layer; a granule that is written in part is first completed with what lies below.
 */
export class LayeredDisk {
  private readonly gate = new Gate();
  private readonly granuleTurns = new KeyedTurns<number>();
  private epoch = 0;
  private failure: Error | undefined;

  constructor(
    readonly sizeBytes: number,
    private layers: readonly [LayerFile, ...LayerFile[]],
    private bottom: BottomDisk | undefined,
  ) {}

  get top(): LayerFile {
    return this.layers[0];
  }

  get depth(): number {
    return this.layers.length;
  }

  /** Ids of the layers, newest first. */
  get layerIds(): string[] {
    return this.layers.map((layer) => layer.geometry.id);
  }

  get dependsOnOrigin(): boolean {
    return this.layers.length > 1 || this.bottom !== undefined;
  }

  /** After this every use fails with `error`: what is in memory may no longer be what is on disk. */
  poison(error: Error): void {
    this.failure ??= error;
  }

  /** Fills `target` from `offset`; past the disk's end it becomes zeros. */
  read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.gate.pass(() => this.readFrom(0, offset, target, signal));
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    this.checkRange(offset, bytes.length);
    return this.gate.pass(async () => {
      for (const { at, length } of granules(offset, bytes.length, this.top.geometry.granuleBytes)) {
        await this.writeGranule(at, bytes.subarray(at - offset, at - offset + length));
      }
    });
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    this.checkRange(offset, length);
    return this.gate.pass(async () => {
      const { granuleBytes } = this.top.geometry;
      const zeros = new Uint8Array(granuleBytes);
      for (const part of granules(offset, length, granuleBytes)) {
        // A hole stays a hole.
        if (!this.holdsData(part.at, part.length)) continue;
        await this.writeGranule(part.at, zeros.subarray(0, part.length));
      }
    });
  }

  flush(): Promise<void> {
    return this.gate.pass(() => this.top.flush());
  }

  /** Where data may lie, as runs that cover exactly `[offset, offset + length)`. */
  status(offset: number, length: number): StatusRun[] {
    this.checkRange(offset, length);
    const runs: StatusRun[] = [];
    for (const { at, length: part } of granules(offset, length, GRANULE_BYTES)) {
      const isData = this.holdsData(at, part);
      const last = runs.at(-1);
      if (last !== undefined && last.isData === isData) last.length += part;
      else runs.push({ length: part, isData });
    }
    return runs;
  }

  /** Whether a layer newer than `layerId` holds something of the range; `undefined` when that layer is not in the stack. */
  changedSince(layerId: string, offset: number, length: number): boolean | undefined {
    const index = this.layers.findIndex((layer) => layer.geometry.id === layerId);
    if (index < 0) return undefined;
    for (const { at } of granules(offset, length, GRANULE_BYTES)) {
      for (let newer = 0; newer < index; newer += 1) if (this.layers[newer]?.holds(at)) return true;
    }
    return false;
  }

  /** Waits for running reads and writes and holds new ones back until the returned function is called. */
  hold(): Promise<() => void> {
    return this.gate.close();
  }

  /** Only while held: everything so far becomes immutable below `layer`, which takes the writes from now on. */
  push(layer: LayerFile): void {
    this.layers = [layer, ...this.layers];
    this.epoch += 1;
  }

  /** Only while held: flushes the newest layer. */
  flushHeld(): Promise<void> {
    return this.top.flush();
  }

  /**
   * Copies what is still read from below into the newest layer, beside reads and writes. Afterwards, while it is held, `detach` may follow.
   * Returns the bytes copied. Starts over when a snapshot was taken meanwhile.
   */
  async copyUp(
    options: {
      signal?: AbortSignal | undefined;
      onProgress?: ((done: number, total: number) => void) | undefined;
    } = {},
  ): Promise<number> {
    let copied = 0;
    for (let at = 0, epoch = this.epoch; at < this.sizeBytes;) {
      options.signal?.throwIfAborted();
      const [run] = this.status(at, Math.min(COPY_BYTES, this.sizeBytes - at));
      if (run === undefined) break;
      if (run.isData) {
        for (const part of granules(at, run.length, this.top.geometry.granuleBytes)) {
          copied += await this.gate.pass(() => this.copyGranuleUp(part.at, part.length));
        }
      }
      at += run.length;
      if (epoch !== this.epoch) {
        epoch = this.epoch;
        at = 0;
      }
      options.onProgress?.(at, this.sizeBytes);
      await nextTurn();
    }
    await this.flush();
    return copied;
  }

  /** Tells snapshots apart: changes with every `push`. */
  get generation(): number {
    return this.epoch;
  }

  /** Only while held, after `copyUp` of the same generation: forgets everything below the newest layer. */
  async detach(): Promise<void> {
    const below = this.layers.slice(1);
    const { bottom } = this;
    this.layers = [this.top];
    this.bottom = undefined;
    for (const layer of below) await layer.close();
    await bottom?.close();
  }

  async close(): Promise<void> {
    const open = await this.gate.close();
    this.poison(new Error('the disk is closed'));
    try {
      for (const layer of this.layers) await layer.close();
      await this.bottom?.close();
    } finally {
      open();
    }
  }

  private async readFrom(first: number, offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    const inside = Math.max(0, Math.min(target.length, this.sizeBytes - offset));
    target.fill(0, inside);
    let start = offset;
    let owner = this.ownerOf(first, offset);
    for (const { at, length } of granules(offset, inside, GRANULE_BYTES)) {
      const end = at + length;
      const next = end < offset + inside ? this.ownerOf(first, end) : undefined;
      if (end < offset + inside && next === owner) continue;
      await this.readOwned(owner, start, target.subarray(start - offset, end - offset), signal);
      start = end;
      owner = next;
    }
  }

  private async readOwned(owner: Owner, at: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (owner === undefined) target.fill(0);
    else if (owner !== 'bottom') await owner.read(at, target);
    else if (this.bottom !== undefined) {
      const inside = Math.max(0, Math.min(target.length, this.bottom.sizeBytes - at));
      target.fill(0, inside);
      if (inside > 0) await this.bottom.read(at, target.subarray(0, inside), signal);
    }
  }

  private ownerOf(first: number, address: number): Owner {
    for (let index = first; index < this.layers.length; index += 1) {
      const layer = this.layers[index];
      // The lowest layer of a stack without bottom is a plain file: what it does not hold is a hole of the file.
      if (layer?.holds(address) || (index === this.layers.length - 1 && this.bottom === undefined)) return layer;
    }
    return this.bottom === undefined ? undefined : 'bottom';
  }

  private holdsData(at: number, length: number): boolean {
    for (const part of granules(at, length, GRANULE_BYTES)) {
      if (this.layers.some((layer) => layer.holds(part.at))) return true;
      if (this.bottom !== undefined && part.at < this.bottom.sizeBytes) return true;
    }
    return false;
  }

  private writeGranule(at: number, bytes: Uint8Array): Promise<void> {
    const { top } = this;
    const { granuleBytes } = top.geometry;
    const start = at - (at % granuleBytes);
    return this.granuleTurns.take(start, async () => {
      if (this.failure !== undefined) throw this.failure;
      if (!this.dependsOnOrigin) {
        await top.markAhead(at);
        await top.write(at, bytes);
        return;
      }
      const whole = Math.min(granuleBytes, this.sizeBytes - start);
      if (top.holds(at)) await top.write(at, bytes);
      else if (bytes.length === whole) {
        await top.write(at, bytes);
        top.mark(at);
      } else {
        const granule = new Uint8Array(whole);
        await this.readFrom(1, start, granule);
        granule.set(bytes, at - start);
        await top.write(start, granule);
        top.mark(at);
      }
    });
  }

  private copyGranuleUp(at: number, length: number): Promise<number> {
    const { top } = this;
    return this.granuleTurns.take(at - (at % top.geometry.granuleBytes), async () => {
      if (top.holds(at)) return 0;
      const bytes = new Uint8Array(length);
      await this.readFrom(1, at, bytes);
      if (isZero(bytes)) {
        // It becomes a hole, unless an attempt that died before its mark got on disk left bytes there.
        const left = new Uint8Array(length);
        await top.read(at, left);
        if (!isZero(left)) await top.write(at, bytes);
        return 0;
      }
      await top.write(at, bytes);
      top.mark(at);
      return length;
    });
  }

  private checkRange(offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > this.sizeBytes) {
      throw new RangeError(`range ${offset}+${length} lies outside the disk of ${this.sizeBytes} bytes`);
    }
  }
}

/** Cuts a range at granule borders. */
export function* granules(
  offset: number,
  length: number,
  granuleBytes: number,
): Generator<{ at: number; length: number }> {
  const end = offset + length;
  for (let at = offset; at < end;) {
    const next = Math.min(end, at - (at % granuleBytes) + granuleBytes);
    yield { at, length: next - at };
    at = next;
  }
}

export function isZero(bytes: Uint8Array): boolean {
  if (bytes.length === 0) return true;
  // Comparing the bytes with themselves, one further on, is memcmp: as fast as memory.
  return bytes[0] === 0 && Buffer.compare(bytes.subarray(1), bytes.subarray(0, bytes.length - 1)) === 0;
}
