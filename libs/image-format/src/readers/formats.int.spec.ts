import type { ByteSource } from '@ims/buckets';
import { openSource } from '@ims/buckets';
import type { DiskFormat } from '@ims/contract';
import { temporaryDirectory } from '@ims/testing';
import type { Extent } from '../disk-reader';
import { openDisk, openReader } from '../open-disk';
import { prepareDisk } from '../prepare-disk';
import { DiskFiles, noise, readThroughExtents } from '../spec/disk-files.spec';

const MIB = 2 ** 20;

/** Everything that qemu-img writes and we accept: file name, our format, arguments of the conversion. */
const FORMATS: readonly (readonly [name: string, format: DiskFormat, args: readonly string[]])[] = [
  ['raw', 'raw', ['-O', 'raw']],
  ['qcow2-v3', 'qcow2', ['-O', 'qcow2']],
  ['qcow2-v2', 'qcow2', ['-O', 'qcow2', '-o', 'compat=0.10']],
  ['qcow2-zlib', 'qcow2', ['-O', 'qcow2', '-c']],
  ['qcow2-zstd', 'qcow2', ['-O', 'qcow2', '-c', '-o', 'compression_type=zstd']],
  ['qcow2-512', 'qcow2', ['-O', 'qcow2', '-o', 'cluster_size=512']],
  ['qcow2-4k-zlib', 'qcow2', ['-O', 'qcow2', '-c', '-o', 'cluster_size=4096']],
  ['qcow2-2m-zstd', 'qcow2', ['-O', 'qcow2', '-c', '-o', 'cluster_size=2M,compression_type=zstd']],
  ['qcow2-metadata', 'qcow2', ['-O', 'qcow2', '-o', 'preallocation=metadata']],
  ['qcow2-lazy', 'qcow2', ['-O', 'qcow2', '-o', 'lazy_refcounts=on']],
  ['qcow2-zero-clusters', 'qcow2', ['-O', 'qcow2', '-S', '0']],
  ['qcow', 'qcow', ['-O', 'qcow']],
  ['qed', 'qed', ['-O', 'qed']],
  ['vmdk-sparse', 'vmdk', ['-O', 'vmdk']],
  ['vmdk-stream', 'vmdk', ['-O', 'vmdk', '-o', 'subformat=streamOptimized']],
  ['vhd-dynamic', 'vhd', ['-O', 'vpc', '-o', 'subformat=dynamic,force_size=on']],
  ['vhd-fixed', 'vhd', ['-O', 'vpc', '-o', 'subformat=fixed,force_size=on']],
  ['vhd-cylinders', 'vhd', ['-O', 'vpc']],
  ['vhdx-dynamic', 'vhdx', ['-O', 'vhdx', '-o', 'block_size=1M']],
  ['vhdx-8m', 'vhdx', ['-O', 'vhdx', '-o', 'block_size=8M']],
  ['vhdx-fixed', 'vhdx', ['-O', 'vhdx', '-o', 'subformat=fixed']],
  ['vdi-dynamic', 'vdi', ['-O', 'vdi']],
  ['vdi-static', 'vdi', ['-O', 'vdi', '-o', 'static=on']],
];

describe('readers of foreign formats (FMT-01)', () => {
  let files: DiskFiles;

  beforeAll(async () => {
    files = await DiskFiles.in(await temporaryDirectory());
    await files.sparseRaw('source.raw');
  });

  it.each(FORMATS)('reads %s as qemu-img does, and only where data lies', async (name, format, args) => {
    await files.qemuImg('convert', '-f', 'raw', ...args, 'source.raw', name);
    const qemuName = format === 'vhd' ? 'vpc' : format;
    await files.qemuImg('convert', '-f', qemuName, '-O', 'raw', name, `${name}.back`);
    const expected = await files.read(`${name}.back`);

    const inspection = await files.inspect(name);
    expect(inspection).toEqual({ format, virtualSizeBytes: expected.length });
    const { disk, release } = await prepareDisk(inspection, await files.describe(name));
    const reader = await openDisk(disk);
    try {
      const { bytes, extents } = await readThroughExtents(reader);
      expect(bytes.equals(expected)).toBe(true);
      // Block-based formats may round holes up to their block; none may report the 8 MiB of holes as data, unless the file itself stores them.
      const reported = extents.reduce((sum, extent) => sum + extent.length, 0);
      if (!STORES_ZEROS.has(name)) expect(reported).toBeLessThan(17 * MIB);

      for (const [offset, length] of WINDOWS) {
        const window = Buffer.alloc(length, 0xaa);
        await reader.read(offset, window);
        const wanted = Buffer.alloc(length);
        expected.copy(wanted, 0, offset, offset + length);
        expect(window.equals(wanted)).toBe(true);
      }
    } finally {
      await reader.close();
      await release();
    }
  });

  it('reads the clusters of a written-over qcow2 with internal snapshots and discarded ranges (FMT-07)', async () => {
    await files.qemuImg('convert', '-f', 'raw', '-O', 'qcow2', 'source.raw', 'live.qcow2');
    await files.qemuImg('snapshot', '-c', 'before', 'live.qcow2');
    await files.qemuIo('live.qcow2', 'qcow2', 'write -P 0x5a 100k 300k', 'write -z 6M 1M', 'discard 15M 1M');
    await files.qemuImg('convert', '-f', 'qcow2', '-O', 'raw', 'live.qcow2', 'live.back');
    const inspection = await files.inspect('live.qcow2');
    const { disk } = await prepareDisk(inspection, await files.describe('live.qcow2'));
    const reader = await openDisk(disk);
    const { bytes, extents } = await readThroughExtents(reader);
    await reader.close();
    expect(bytes.equals(await files.read('live.back'))).toBe(true);
    expect(extents.some(({ offset, length }) => offset < 7 * MIB && offset + length > 6 * MIB)).toBe(false);
    expect(noise(1, 4).equals(bytes.subarray(0, 4))).toBe(true);
  });

  it('reads compressed clusters of a qcow of version 1 (FMT-12)', async () => {
    // qemu-img 7.2 cannot convert into it, but qemu-io writes single compressed clusters.
    await files.qemuImg('create', '-f', 'qcow', 'old.qcow', '2M');
    await files.qemuIo('old.qcow', 'qcow', 'write -c -P 7 0 4096', 'write -c -P 8 1M 4096', 'write -P 9 64k 8k');
    await files.qemuImg('convert', '-f', 'qcow', '-O', 'raw', 'old.qcow', 'old.back');
    const { disk, release } = await prepareDisk(await files.inspect('old.qcow'), await files.describe('old.qcow'));
    const reader = await openDisk(disk);
    const { bytes } = await readThroughExtents(reader);
    await reader.close();
    await release();
    expect(bytes.equals(await files.read('old.back'))).toBe(true);
    expect(bytes[0]).toBe(7);
  });

  it.each([
    ['qcow2', '1T'],
    ['vhdx', '1T'],
    ['vdi', '1T'],
    ['vmdk', '1T'],
    ['vpc', '1T'],
    ['qed', '1T'],
  ])('finds the data at the far end of a sparse %s of %s', async (format, size) => {
    const name = `far.${format}`;
    await files.qemuImg('create', '-q', '-f', format, ...(format === 'vpc' ? ['-o', 'force_size=on'] : []), name, size);
    await files.qemuIo(name, format, 'write -P 0x77 1047552M 64k');
    const inspection = await files.inspect(name);
    expect(inspection.virtualSizeBytes).toBe(2 ** 40);
    const { disk, release } = await prepareDisk(inspection, await files.describe(name));
    const reader = await openDisk(disk);
    try {
      const extents: Extent[] = [];
      for await (const extent of reader.extents()) extents.push({ ...extent });
      expect(extents).toHaveLength(1);
      const window = Buffer.alloc(128 * 1024, 0xaa);
      await reader.read(1_047_552 * MIB, window);
      const wanted = Buffer.alloc(window.length);
      wanted.fill(0x77, 0, 64 * 1024);
      expect(window.equals(wanted)).toBe(true);
    } finally {
      await reader.close();
      await release();
    }
  });

  it('follows qcow2 clusters that lie above 4 GiB in the file', async () => {
    await files.qemuImg('create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', 'high.qcow2', '6G');
    await files.qemuIo('high.qcow2', 'qcow2', 'write -P 0x31 6000M 1M');
    await files.qemuIo('high.qcow2', 'qcow2', 'discard 100M 1M', 'write -c -P 0x32 100M 64k');
    const { disk } = await prepareDisk(await files.inspect('high.qcow2'), await files.describe('high.qcow2'));
    const reader = await openDisk(disk);
    const window = Buffer.alloc(64 * 1024);
    await reader.read(6000 * MIB + 512 * 1024, window);
    expect(window.every((byte) => byte === 0x31)).toBe(true);
    await reader.read(100 * MIB, window);
    expect(window.every((byte) => byte === 0x32)).toBe(true);
    await reader.close();
  });

  it.each([
    ['qcow2', ['-O', 'qcow2'], 1],
    ['qcow2', ['-O', 'qcow2', '-c'], 1],
    ['vmdk', ['-O', 'vmdk'], 1],
    ['vmdk', ['-O', 'vmdk', '-o', 'subformat=streamOptimized'], 1],
    ['vhdx', ['-O', 'vhdx', '-o', 'block_size=1M'], 1],
  ] as const)('reads 2 MiB of neighbouring %s clusters at once (%j)', async (format, args, reads) => {
    await files.qemuImg('convert', '-f', 'raw', ...args, 'source.raw', 'counted');
    const source = new CountedSource(await openSource(await files.describe('counted')));
    const { virtualSizeBytes } = await files.inspect('counted');
    const reader = await openReader(format, source, virtualSizeBytes);
    const window = Buffer.alloc(2 * MIB);
    // Once for the tables.
    await reader.read(6 * MIB, window);
    source.reads = 0;
    await reader.read(6 * MIB, window);
    await reader.close();
    expect(source.reads).toBe(reads);
    expect(window.toString('latin1', 0, 9)).toBe('the quick');
  });

  it('serves several connections of one converter at once', async () => {
    await files.qemuImg('convert', '-f', 'raw', '-O', 'qed', 'source.raw', 'shared.qed');
    const expected = await files.read('source.raw');
    const { disk, release } = await prepareDisk(await files.inspect('shared.qed'), await files.describe('shared.qed'));
    const readers = await Promise.all(Array.from({ length: 12 }, () => openDisk(disk)));
    try {
      const copies = await Promise.all(readers.map(async (reader) => (await readThroughExtents(reader)).bytes));
      for (const copy of copies) expect(copy.subarray(0, expected.length).equals(expected)).toBe(true);
    } finally {
      await Promise.all(readers.map((reader) => reader.close()));
      await release();
    }
  });
});

class CountedSource implements ByteSource {
  reads = 0;
  constructor(private readonly inner: ByteSource) {}
  get sizeBytes(): number {
    return this.inner.sizeBytes;
  }
  read(position: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.reads++;
    return this.inner.read(position, target, signal);
  }
  dataRanges(): AsyncIterable<Extent> {
    return this.inner.dataRanges();
  }
  checkUnchanged(): Promise<void> {
    return this.inner.checkUnchanged();
  }
  close(): Promise<void> {
    return this.inner.close();
  }
}

/** These files store zeros as data, so their readers have to report them. */
const STORES_ZEROS: ReadonlySet<string> = new Set([
  'qcow2-metadata',
  'qcow2-zero-clusters',
  'vhdx-8m',
  'vhdx-fixed',
  'vdi-static',
  'vhd-fixed',
]);

/** Ranges across every kind of border, and past the end of the disk. */
const WINDOWS: readonly (readonly [offset: number, length: number])[] = [
  [0, 512],
  [512, 1],
  [699_999, 3],
  [3 * MIB, 2048],
  [4 * MIB - 2048, 4096],
  [5 * MIB, 2 * MIB],
  [8 * MIB - 1, 2],
  [9 * MIB, 2 * MIB],
  [14 * MIB + 777, 3 * MIB],
  [20 * MIB, 2 * MIB],
];
