import { execFile } from 'node:child_process';
import { mkdir, open, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { SourceDescriptor } from '@ims/buckets';
import { createBuckets, openSource } from '@ims/buckets';
import type { DiskReader, Extent, Inspection } from '../disk-reader';
import { inspect, type InspectOptions } from '../inspect/inspect';

const run = promisify(execFile);
const MIB = 2 ** 20;

/** A bucket of a fresh directory with files made by qemu-img; the tests of this package read them as any importer would. */
export class DiskFiles {
  private constructor(
    private readonly root: string,
    readonly directory: string,
  ) {}

  static async in(root: string): Promise<DiskFiles> {
    const directory = join(root, 'disks');
    await mkdir(directory, { recursive: true });
    return new DiskFiles(root, directory);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async describe(name: string): Promise<SourceDescriptor> {
    const buckets = createBuckets({ driver: 'directory', root: this.root, region: 'region-1' });
    const pinned = await buckets.pin({ bucket: 'disks', key: name });
    if (pinned === undefined) throw new Error(`no file ${name}`);
    return buckets.describe(pinned);
  }

  async inspect(name: string, options?: InspectOptions): Promise<Inspection> {
    const source = await openSource(await this.describe(name));
    try {
      return await inspect(source, options);
    } finally {
      await source.close();
    }
  }

  async qemuImg(...args: string[]): Promise<void> {
    await run('qemu-img', args, { cwd: this.directory });
  }

  async qemuIo(name: string, format: string, ...commands: string[]): Promise<void> {
    await run('qemu-io', ['-f', format, '-d', 'unmap', ...commands.flatMap((command) => ['-c', command]), name], {
      cwd: this.directory,
    });
  }

  /** Overwrites bytes inside a file. */
  async patch(name: string, patches: readonly (readonly [offset: number, bytes: Uint8Array])[]): Promise<void> {
    const file = await open(this.path(name), 'r+');
    try {
      for (const [offset, bytes] of patches) await file.write(bytes, 0, bytes.length, offset);
    } finally {
      await file.close();
    }
  }

  async script(name: string, body: string): Promise<void> {
    await writeFile(this.path(name), `#!/bin/sh\n${body}`, { mode: 0o755 });
  }

  async sizeOf(name: string): Promise<number> {
    return (await stat(this.path(name))).size;
  }

  read(name: string): Promise<Buffer> {
    return readFile(this.path(name));
  }

  /** A sparse raw disk of 20 MiB and a half cluster: random bytes, text, lone sectors, runs that cross cluster borders, and holes. */
  async sparseRaw(name: string): Promise<{ sizeBytes: number }> {
    const sizeBytes = 20 * MIB + 5 * 512;
    const file = await open(this.path(name), 'w');
    try {
      await file.truncate(sizeBytes);
      const write = (offset: number, bytes: Uint8Array): Promise<unknown> => file.write(bytes, 0, bytes.length, offset);
      await write(0, noise(1, 700_000));
      await write(3 * MIB + 512, noise(2, 512));
      await write(4 * MIB - 1536, noise(3, 3072));
      await write(6 * MIB, Buffer.alloc(2 * MIB, 'the quick brown fox jumps over the lazy dog. '));
      await write(9 * MIB + 4096, noise(4, 130_000));
      await write(12 * MIB, Buffer.alloc(MIB));
      await write(15 * MIB, Buffer.alloc(3 * MIB, noise(5, 100_003)));
      await write(sizeBytes - 1024, noise(6, 1024));
    } finally {
      await file.close();
    }
    return { sizeBytes };
  }
}

/** Bytes that do not compress, the same for the same seed (xorshift32). */
export function noise(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed * 0x9e3779b1) >>> 0 || 1;
  for (let at = 0; at < length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state & 0xff;
  }
  return bytes;
}

/** The whole disk, read only where the reader reports extents; everything else stays zero. Checks the order of the extents. */
export async function readThroughExtents(reader: DiskReader): Promise<{ bytes: Buffer; extents: Extent[] }> {
  const bytes = Buffer.alloc(reader.virtualSizeBytes);
  const extents: Extent[] = [];
  let end = 0;
  for await (const extent of reader.extents()) {
    expect(extent.offset).toBeGreaterThanOrEqual(end);
    expect(extent.length).toBeGreaterThan(0);
    end = extent.offset + extent.length;
    expect(end).toBeLessThanOrEqual(reader.virtualSizeBytes);
    extents.push({ ...extent });
    await reader.read(extent.offset, bytes.subarray(extent.offset, end));
  }
  return { bytes, extents };
}
