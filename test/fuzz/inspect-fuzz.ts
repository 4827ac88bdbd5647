import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import type { ByteSource } from '@ims/buckets';
import { ImsError } from '@ims/contract';
import { inspect, openReader } from '@ims/image-format';
import fc from 'fast-check';

const MIB = 2 ** 20;
const run = promisify(execFile);

/** Conversions whose outputs are mutated; together they have every structure that inspection walks. */
const SEED_IMAGES = {
  raw: ['-O', 'raw'],
  qcow2: ['-O', 'qcow2'],
  'qcow2-compressed': ['-O', 'qcow2', '-c'],
  'qcow2-small-clusters': ['-O', 'qcow2', '-o', 'cluster_size=512'],
  'qcow2-zstd': ['-O', 'qcow2', '-c', '-o', 'compression_type=zstd,cluster_size=4k'],
  qcow: ['-O', 'qcow'],
  qed: ['-O', 'qed'],
  vmdk: ['-O', 'vmdk'],
  'vmdk-stream': ['-O', 'vmdk', '-o', 'subformat=streamOptimized'],
  vhd: ['-O', 'vpc', '-o', 'force_size=on'],
  'vhd-fixed': ['-O', 'vpc', '-o', 'subformat=fixed,force_size=on'],
  vhdx: ['-O', 'vhdx', '-o', 'block_size=1M'],
  vdi: ['-O', 'vdi'],
} as const;
// Formats that qemu-img cannot write; samples by the vendor's own driver.
const SAMPLES = ['a.zvhd', 'a.zvhd2'] as const;
const SAMPLE_DIRECTORY = join(__dirname, '../../libs/image-format/samples');

export const SEED_NAMES: readonly string[] = [...Object.keys(SEED_IMAGES), ...SAMPLES];

/** A checksummed structure. Mutations inside would only ever meet the checksum, so half of the cases seal it again. */
interface Seal {
  start: number;
  length: number;
  at: number;
  kind: 'sum-be' | 'sum-le' | 'crc32c';
}

const KIB = 1024;

function sealsOf(name: string, image: Buffer): Seal[] {
  const footer = (start: number): Seal => ({ start, length: 512, at: 64, kind: 'sum-be' });
  const crc = (start: number, length: number): Seal => ({
    start: start * KIB,
    length: length * KIB,
    at: 4,
    kind: 'crc32c',
  });
  const page = (start: number): Seal => ({ start, length: 512, at: 64, kind: 'sum-le' });
  const last = image.length;
  if (name === 'vhd-fixed') return [footer(last - 512)];
  if (name === 'vhd') return [footer(0), footer(last - 512), { start: 512, length: 1024, at: 36, kind: 'sum-be' }];
  if (name === 'vhdx') return [crc(64, 4), crc(128, 4), crc(192, 64), crc(256, 64)];
  if (name.startsWith('a.zvhd')) return [page(0), page(last - 4096)];
  return [];
}

function checksum(bytes: Buffer, { at, kind }: Seal): Buffer {
  bytes.fill(0, at, at + 4);
  const sealed = Buffer.alloc(4);
  if (kind === 'crc32c') sealed.writeUInt32LE(crc32c(bytes));
  else {
    const sum = ~bytes.reduce((total, byte) => total + byte, 0) >>> 0;
    if (kind === 'sum-be') sealed.writeUInt32BE(sum);
    else sealed.writeUInt32LE(sum);
  }
  return sealed;
}

/** Bit by bit, to be independent of the table in the product. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** Makes one small image per entry of the table with qemu-img, and unpacks the samples. */
export async function makeSeedImages(): Promise<Map<string, Buffer>> {
  const directory = await mkdtemp(join(tmpdir(), 'inspect-fuzz-'));
  try {
    const disk = Buffer.alloc(3 * MIB);
    disk.fill('every block has its text. ', 0, 200_000);
    disk.fill(Buffer.from([1, 2, 3, 5, 8, 13, 21, 34, 55, 89]), 2 * MIB + 700, 2 * MIB + 90_000);
    await writeFile(join(directory, 'source'), disk);
    const images = new Map<string, Buffer>();
    for (const name of SAMPLES) images.set(name, gunzipSync(await readFile(join(SAMPLE_DIRECTORY, `${name}.gz`))));
    for (const [name, args] of Object.entries(SEED_IMAGES)) {
      await run('qemu-img', ['convert', '-f', 'raw', ...args, 'source', name], { cwd: directory });
      images.set(name, await readFile(join(directory, name)));
    }
    return images;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export interface Mutation {
  /** Where it falls: headers are hit far more often than a uniform choice would. */
  offset: number;
  bytes: Uint8Array;
}

interface Case {
  mutations: Mutation[];
  /** Part of the file that is kept. */
  keep: number;
  /** Compute the checksums again, as an attacker would. */
  reseal: boolean;
}

/** The image with a few bytes changed and its end cut off, without a copy of it; refuses what a reader must never ask for. */
class MutatedSource implements ByteSource {
  readonly sizeBytes: number;
  bytesRead = 0;

  private readonly mutations: Mutation[];

  constructor(
    private readonly image: Buffer,
    fuzzed: Case,
    seals: readonly Seal[],
  ) {
    this.sizeBytes = Math.floor(image.length * fuzzed.keep);
    this.mutations = [...fuzzed.mutations];
    if (!fuzzed.reseal) return;
    for (const seal of seals) {
      const touched = this.mutations.some(
        ({ offset, bytes }) => offset < seal.start + seal.length && offset + bytes.length > seal.start,
      );
      if (!touched) continue;
      const bytes = Buffer.alloc(seal.length);
      this.copy(seal.start, bytes);
      this.mutations.push({ offset: seal.start + seal.at, bytes: checksum(bytes, seal) });
    }
  }

  async read(position: number, target: Uint8Array): Promise<void> {
    if (!Number.isSafeInteger(position) || position < 0 || position + target.length > this.sizeBytes)
      throw new OverRead(`read of ${target.length} bytes at ${position} in a file of ${this.sizeBytes}`);
    this.bytesRead += target.length;
    this.copy(position, target);
  }

  private copy(position: number, target: Uint8Array): void {
    target.set(this.image.subarray(position, position + target.length));
    for (const { offset, bytes } of this.mutations) {
      const from = Math.max(offset, position);
      const to = Math.min(offset + bytes.length, position + target.length);
      if (from < to) target.set(bytes.subarray(from - offset, to - offset), from - position);
    }
  }

  async *dataRanges(): AsyncIterable<{ offset: number; length: number }> {
    yield { offset: 0, length: this.sizeBytes };
  }
  async checkUnchanged(): Promise<void> {}
  async close(): Promise<void> {}
}

class OverRead extends Error {
  override readonly name = 'OverRead';
}

export interface FuzzOutcome {
  accepted: number;
  /** Refusals by code. */
  refused: Record<string, number>;
}

// Tables are walked once, and inspection of ZVHD2 may look at a page twice; four times the file is far above both and far below a loop.
const readBudget = (fileBytes: number): number => 4 * fileBytes + MIB;
// The largest allowed structures are 32 MiB (an L1 table, a block map); a wild allocation would be gigabytes.
const MEMORY_BUDGET = 256 * MIB;
// Extents of an accepted image looked at, and bytes read of each: enough to reach the tables below the headers.
const EXTENTS_READ = 6;
const BYTES_READ = 128 * 1024;
// An image of 3 MiB is inspected in milliseconds; a hang does not end at all.
const HANG_MS = 10_000;

/** Runs one case; throws when inspection or a reader crashes, over-reads, allocates wildly or does not end. */
async function runCase(image: Buffer, fuzzed: Case, seals: readonly Seal[], outcome: FuzzOutcome): Promise<void> {
  const source = new MutatedSource(image, fuzzed, seals);
  const memory = process.memoryUsage().arrayBuffers;
  const signal = AbortSignal.timeout(HANG_MS);
  try {
    const { format, virtualSizeBytes } = await inspect(source, { signal });
    if (source.bytesRead > readBudget(source.sizeBytes)) throw new Error(`inspection read ${source.bytesRead} bytes`);
    outcome.accepted++;
    if (format === 'qcow' || format === 'qed' || format === 'iso') return;
    const reader = await openReader(format, source, virtualSizeBytes);
    if (reader.virtualSizeBytes !== virtualSizeBytes) throw new Error('reader and inspection see different sizes');
    let seen = 0;
    const target = Buffer.alloc(BYTES_READ);
    for await (const extent of reader.extents(signal)) {
      if (extent.offset < 0 || extent.length <= 0 || extent.offset + extent.length > virtualSizeBytes)
        throw new Error('an extent lies outside the disk');
      await reader.read(extent.offset, target, signal);
      if (++seen >= EXTENTS_READ) break;
    }
  } catch (error) {
    if (!(error instanceof ImsError)) throw error;
    outcome.refused[error.code] = (outcome.refused[error.code] ?? 0) + 1;
  } finally {
    const grown = process.memoryUsage().arrayBuffers - memory;
    if (grown > MEMORY_BUDGET) throw new Error(`the case allocated ${grown} bytes`);
  }
}

/** Values that break size and offset arithmetic, in both byte orders and three widths. */
const NUMBERS = [
  0n,
  1n,
  2n,
  511n,
  512n,
  0x7fffn,
  0xffffn,
  1n << 20n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  1n << 32n,
  1n << 40n,
  (1n << 53n) + 1n,
  1n << 62n,
  1n << 63n,
  (1n << 64n) - 1n,
];

const interesting = fc
  .tuple(fc.constantFrom(...NUMBERS), fc.constantFrom(2, 4, 8), fc.boolean())
  .map(([value, width, isLittle]) => {
    const wide = Buffer.alloc(8);
    if (isLittle) wide.writeBigUInt64LE(value);
    else wide.writeBigUInt64BE(value);
    return isLittle ? wide.subarray(0, width) : wide.subarray(8 - width);
  });

function cases(image: Buffer): fc.Arbitrary<Case> {
  const within = (start: number, length: number): fc.Arbitrary<number> => {
    const from = Math.min(start, image.length - 1);
    return fc.integer({ min: from, max: Math.min(from + length, image.length) - 1 });
  };
  const offset = fc.oneof(
    { weight: 6, arbitrary: within(0, 128) },
    { weight: 4, arbitrary: within(0, 2 * KIB) },
    { weight: 2, arbitrary: within(0, image.length) },
    { weight: 3, arbitrary: within(Math.max(0, image.length - 1536), 1536) },
    // Headers, regions and tables of VHDX; L1 and L2 tables of qcow2.
    {
      weight: 3,
      arbitrary: fc.constantFrom(64, 128, 192, 256, 320, 1024, 2048, 3072).chain((at) => within(at * KIB, 256)),
    },
  );
  const bytes = fc.oneof(
    { weight: 3, arbitrary: interesting },
    { weight: 2, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 16 }) },
  );
  // Fields are aligned, so half of the mutations hit whole ones.
  const aligned = fc.tuple(offset, fc.constantFrom(1, 4, 8)).map(([at, unit]) => at - (at % unit));
  return fc.record({
    mutations: fc.array(fc.record({ offset: aligned, bytes }), { minLength: 1, maxLength: 6 }),
    reseal: fc.boolean(),
    keep: fc.oneof(
      { weight: 5, arbitrary: fc.constant(1) },
      { weight: 1, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) },
    ),
  });
}

export interface FuzzRequest {
  /** One of `SEED_NAMES`; decides which checksums are computed again. */
  name: string;
  image: Buffer;
  cases: number;
  seed: number;
}

/**
 * Mutates a real image many times and inspects and reads each result (fault-matrix A3). Fails with fast-check's report, which names seed and path of
 * the smallest failing case.
 */
export async function fuzzInspect(request: FuzzRequest): Promise<FuzzOutcome> {
  const outcome: FuzzOutcome = { accepted: 0, refused: {} };
  const seals = sealsOf(request.name, request.image);
  await fc.assert(
    fc.asyncProperty(cases(request.image), (fuzzed) => runCase(request.image, fuzzed, seals, outcome)),
    { numRuns: request.cases, seed: request.seed },
  );
  return outcome;
}

// fault-matrix A3: 100,000 cases for each format.
const LONG_RUN = 100_000;

async function main(cases: number, seed: number): Promise<void> {
  const images = await makeSeedImages();
  for (const [name, image] of images) {
    const started = process.hrtime.bigint();
    const { accepted, refused } = await fuzzInspect({ name, image, cases, seed });
    const seconds = Number((process.hrtime.bigint() - started) / 1_000_000n) / 1000;
    process.stdout.write(`${JSON.stringify({ name, cases, seed, seconds, accepted, refused })}\n`);
  }
}

// Run as a script: node infra/run-ts.cjs test/fuzz/inspect-fuzz.ts [cases per format] [seed]
if (process.argv[1]?.endsWith('inspect-fuzz.ts') === true) {
  void main(Number(process.argv[2] ?? LONG_RUN), Number(process.argv[3] ?? 1));
}
