import { setImmediate as nextTurn } from 'node:timers/promises';
import { Gate, KeyedTurns } from './gate';
import { GRANULE_BYTES, type LayerFile } from './layer-file';

/** What lies below the lowest layer: the disk of an image, say. Reads stay inside its size. */
export interface BottomDisk {
  readonly sizeBytes: number;
  read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Ranges that may hold data, ascending, disjoint and inside the asked range; the rest of it reads as zeros. Looks at no content. */
  dataRanges(offset: number, length: number): Promise<Iterable<ByteRange>>;
  close(): Promise<void>;
}

export interface ByteRange {
  offset: number;
  length: number;
}

export interface StatusRun {
  length: number;
  /** `false`: reads as zeros, and no layer holds anything there. */
  isData: boolean;
}

type Owner = LayerFile | 'bottom' | undefined;

/** A run of one owner. */
interface OwnedRun {
  at: number;
  end: number;
  owner: Owner;
}

// A piece of a copy; keeps memory flat. A segment of the image store: its places are looked up once and its frames are decoded once.
const COPY_BYTES = 2 * 1024 * 1024;
// Where data lies is asked for so much at a time: 16384 granules, so a list of that many runs at worst.
const WALK_BYTES = 2 ** 30;

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
      for (let at = offset, end = offset + length; at < end; at += WALK_BYTES) {
        for (const run of await this.runs(at, Math.min(end, at + WALK_BYTES))) {
          // A hole stays a hole.
          if (run.owner === undefined) continue;
          for (const part of granules(run.at, run.end - run.at, granuleBytes)) {
            await this.writeGranule(part.at, zeros.subarray(0, part.length));
          }
        }
      }
    });
  }

  flush(): Promise<void> {
    return this.gate.pass(() => this.top.flush());
  }

  /**
   * Where data may lie, as runs that cover exactly `[offset, offset + length)`. Nothing is read, but an image at the bottom may be opened. A granule
   * of which any byte may hold data is data.
   */
  async status(offset: number, length: number): Promise<StatusRun[]> {
    this.checkRange(offset, length);
    const runs: StatusRun[] = [];
    for (const run of await this.runs(offset, offset + length)) {
      const isData = run.owner !== undefined;
      const last = runs.at(-1);
      if (last !== undefined && last.isData === isData) last.length += run.end - run.at;
      else runs.push({ length: run.end - run.at, isData });
    }
    return runs;
  }

  /** What of the range layers newer than `layerId` hold, ascending and joined; `undefined` when that layer is not in the stack. */
  changedSince(layerId: string, offset: number, length: number): ByteRange[] | undefined {
    this.checkRange(offset, length);
    const index = this.layers.findIndex((layer) => layer.geometry.id === layerId);
    if (index < 0) return undefined;
    const newer = this.layers.slice(0, index);
    const ranges: ByteRange[] = [];
    for (const { at, end, owner } of ownedRuns(newer, undefined, offset, offset + length)) {
      if (owner === undefined) continue;
      const last = ranges.at(-1);
      if (last !== undefined && last.offset + last.length === at) last.length = end - last.offset;
      else ranges.push({ offset: at, length: end - at });
    }
    return ranges;
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
    let epoch: number | undefined;
    let left: ByteRange[] = [];
    for (let at = 0; at < this.sizeBytes;) {
      if (epoch !== this.epoch) {
        epoch = this.epoch;
        left = await this.top.writtenRanges();
      }
      const end = Math.min(this.sizeBytes, at + WALK_BYTES);
      for (const part of pieces(await this.runs(at, end), this.top)) {
        options.signal?.throwIfAborted();
        if (part.owner === undefined) await this.clearHole(left, part.at, part.end);
        else if (part.owner !== this.top) copied += await this.gate.pass(() => this.copyRangeUp(part.at, part.end));
        if (epoch !== this.epoch) break;
        options.onProgress?.(part.end, this.sizeBytes);
        await nextTurn();
      }
      at = epoch === this.epoch ? end : 0;
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
    const layers = this.layers.slice(first);
    // The lowest layer of a stack without bottom is a plain file: what it does not hold is a hole of the file.
    const rest = this.bottom === undefined ? layers.at(-1) : undefined;
    let start = offset;
    let reading: Owner = undefined;
    for (const run of ownedRuns(layers, this.bottom, offset, offset + inside)) {
      const owner = run.owner ?? rest;
      if (owner !== reading && run.at > start) {
        await this.readOwned(reading, start, target.subarray(start - offset, run.at - offset), signal);
        start = run.at;
      }
      reading = owner;
    }
    await this.readOwned(reading, start, target.subarray(start - offset, inside), signal);
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

  /** The range by owners, with the holes of the bottom taken out of what it owns. */
  private async runs(offset: number, end: number): Promise<Iterable<OwnedRun>> {
    const { bottom } = this;
    const inBottom = bottom === undefined ? 0 : Math.min(end, bottom.sizeBytes) - offset;
    const data = bottom === undefined || inBottom <= 0 ? [] : await bottom.dataRanges(offset, inBottom);
    // Taken after the wait: the layers of now, of which the walk tells the maps as they are when it gets there.
    return withoutHoles(ownedRuns(this.layers, this.bottom, offset, end), wholeGranules(data));
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

  /** Copies what the newest layer does not hold of the range's granules; what lies below cannot change meanwhile. */
  private async copyRangeUp(from: number, to: number): Promise<number> {
    const { granuleBytes } = this.top.geometry;
    const start = from - (from % granuleBytes);
    const end = Math.min(this.sizeBytes, Math.ceil(to / granuleBytes) * granuleBytes);
    const bytes = new Uint8Array(end - start);
    await this.readFrom(1, start, bytes);
    let copied = 0;
    for (const { at, length } of granules(start, bytes.length, granuleBytes)) {
      copied += await this.copyGranuleUp(at, bytes.subarray(at - start, at - start + length));
    }
    return copied;
  }

  private copyGranuleUp(at: number, bytes: Uint8Array): Promise<number> {
    const { top } = this;
    return this.granuleTurns.take(at, async () => {
      if (top.holds(at)) return 0;
      if (isZero(bytes)) {
        // It becomes a hole.
        await clearUnmarked(top, at, bytes.length);
        return 0;
      }
      await top.write(at, bytes);
      top.mark(at);
      return bytes.length;
    });
  }

  /** Makes the file of the newest layer read as zeros in a hole of the disk, of which `left` is what the file may hold. */
  private async clearHole(left: readonly ByteRange[], from: number, to: number): Promise<void> {
    const { granuleBytes } = this.top.geometry;
    for (let index = firstEndingAfter(left, from); index < left.length; index += 1) {
      const { offset = to, length = 0 } = left[index] ?? {};
      if (offset >= to) return;
      const start = Math.max(from, offset);
      for (const part of granules(start, Math.min(to, offset + length) - start, granuleBytes)) {
        await this.gate.pass(() =>
          this.granuleTurns.take(part.at - (part.at % granuleBytes), async () => {
            if (!this.top.holds(part.at)) await clearUnmarked(this.top, part.at, part.length);
          }),
        );
      }
    }
  }

  private checkRange(offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > this.sizeBytes) {
      throw new RangeError(`range ${offset}+${length} lies outside the disk of ${this.sizeBytes} bytes`);
    }
  }
}

// An attempt that died before its marks got on disk may have left bytes there, which would show once nothing lies below any more.
async function clearUnmarked(layer: LayerFile, at: number, length: number): Promise<void> {
  const left = new Uint8Array(length);
  await layer.read(at, left);
  if (!isZero(left)) await layer.write(at, new Uint8Array(length));
}

/** Position of the first range that reaches beyond `address`. */
function firstEndingAfter(ranges: readonly ByteRange[], address: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { offset = 0, length = 0 } = ranges[middle] ?? {};
    if (offset + length <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Who is read where: the newest of `layers` that holds a granule, else the bottom as far as it reaches, else nobody. Each map is walked once, by
 * runs. A granule that is marked during the walk may still be told as it was.
 */
function* ownedRuns(
  layers: readonly LayerFile[],
  bottom: BottomDisk | undefined,
  offset: number,
  end: number,
): Generator<OwnedRun> {
  const known = layers.map((layer) => ({ layer, isHeld: false, end: offset }));
  for (let at = offset; at < end;) {
    let to = end;
    let owner: Owner;
    for (const run of known) {
      if (run.end <= at) Object.assign(run, run.layer.runAt(at, end));
      to = Math.min(to, run.end);
      if (run.isHeld) {
        owner = run.layer;
        break;
      }
    }
    if (owner === undefined && bottom !== undefined && at < bottom.sizeBytes) {
      owner = 'bottom';
      // Its last granule counts as a whole.
      to = Math.min(to, Math.ceil(bottom.sizeBytes / GRANULE_BYTES) * GRANULE_BYTES);
    }
    yield { at, end: to, owner };
    at = to;
  }
}

/** Runs of the bottom cut into what `data` covers and what nobody owns. Both ascend. */
function* withoutHoles(runs: Iterable<OwnedRun>, data: Iterator<ByteRange>): Generator<OwnedRun> {
  let range = data.next();
  for (const run of runs) {
    if (run.owner !== 'bottom') {
      yield run;
      continue;
    }
    for (let at = run.at; at < run.end;) {
      while (range.done !== true && range.value.offset + range.value.length <= at) range = data.next();
      const from = range.done === true ? run.end : range.value.offset;
      const isData = from <= at;
      const next = isData && range.done !== true ? range.value.offset + range.value.length : from;
      const end = Math.min(run.end, next);
      yield { at, end, owner: isData ? 'bottom' : undefined };
      at = end;
    }
  }
}

/** The same runs, those cut into pieces that would be copied into `top`. */
function* pieces(runs: Iterable<OwnedRun>, top: LayerFile): Generator<OwnedRun> {
  for (const run of runs) {
    const step = run.owner === undefined || run.owner === top ? run.end - run.at : COPY_BYTES;
    for (let { at } = run; at < run.end; at += step) yield { ...run, at, end: Math.min(run.end, at + step) };
  }
}

/** Ranges widened to whole granules and joined. */
function* wholeGranules(ranges: Iterable<ByteRange>): Generator<ByteRange, undefined> {
  let from = 0;
  let to = 0;
  for (const { offset, length } of ranges) {
    if (length <= 0) continue;
    const start = offset - (offset % GRANULE_BYTES);
    if (start > to) {
      if (to > from) yield { offset: from, length: to - from };
      from = start;
    }
    to = Math.ceil((offset + length) / GRANULE_BYTES) * GRANULE_BYTES;
  }
  if (to > from) yield { offset: from, length: to - from };
  return undefined;
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
