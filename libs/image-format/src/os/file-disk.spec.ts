import { open, type FileHandle } from 'node:fs/promises';
import type { DiskReader, Extent } from '../disk-reader';

/** A raw image file as a disk; counts what is read from it. */
export class FileDisk implements DiskReader {
  bytesRead = 0;

  private constructor(
    private readonly file: FileHandle,
    readonly virtualSizeBytes: number,
  ) {}

  static async open(path: string): Promise<FileDisk> {
    const file = await open(path, 'r');
    return new FileDisk(file, (await file.stat()).size);
  }

  async *extents(): AsyncGenerator<Extent> {
    yield { offset: 0, length: this.virtualSizeBytes };
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    this.bytesRead += target.length;
    target.fill(0);
    await this.file.read(target, 0, target.length, offset);
  }

  close(): Promise<void> {
    return this.file.close();
  }
}
