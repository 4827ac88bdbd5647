import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { ByteSource } from '@ims/buckets';
import type { DiskReader, Extent } from '../disk-reader';

/** A file in memory; refuses reads outside of it as the port asks, and counts what was read. */
export class MemorySource implements ByteSource {
  readonly sizeBytes: number;
  bytesRead = 0;
  largestRead = 0;

  constructor(private readonly bytes: Buffer) {
    this.sizeBytes = bytes.length;
  }

  async read(position: number, target: Uint8Array): Promise<void> {
    if (position < 0 || position + target.length > this.bytes.length) {
      throw new RangeError(`read of ${target.length} bytes at ${position}, file has ${this.bytes.length}`);
    }
    this.bytesRead += target.length;
    this.largestRead = Math.max(this.largestRead, target.length);
    target.set(this.bytes.subarray(position, position + target.length));
  }

  async *dataRanges(): AsyncGenerator<Extent> {
    yield { offset: 0, length: this.bytes.length };
  }

  async checkUnchanged(): Promise<void> {}

  async close(): Promise<void> {}
}

/** A raw disk in memory as one extent. */
export class MemoryDisk implements DiskReader {
  readonly virtualSizeBytes: number;

  constructor(readonly bytes: Buffer) {
    this.virtualSizeBytes = bytes.length;
  }

  async *extents(): AsyncGenerator<Extent> {
    yield { offset: 0, length: this.bytes.length };
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    const part = this.bytes.subarray(offset, offset + target.length);
    target.set(part);
    target.fill(0, part.length);
  }

  async close(): Promise<void> {}
}

/** A file that the vendor's own code wrote (image-formats 4, "Samples"). */
export const sample = (name: string): Buffer =>
  gunzipSync(readFileSync(join(__dirname, '../../samples', `${name}.gz`)));

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
}

/** The whole disk, read in steps of `stepBytes`. */
export async function readDisk(disk: DiskReader, stepBytes = 2 * 1024 * 1024): Promise<Buffer> {
  const bytes = Buffer.alloc(disk.virtualSizeBytes, 0xee);
  for (let offset = 0; offset < bytes.length; offset += stepBytes) {
    await disk.read(offset, bytes.subarray(offset, offset + stepBytes));
  }
  return bytes;
}

export async function listExtents(disk: DiskReader): Promise<Extent[]> {
  const extents: Extent[] = [];
  for await (const extent of disk.extents()) extents.push({ ...extent });
  return extents;
}
