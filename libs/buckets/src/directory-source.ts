import { type FileHandle, stat } from 'node:fs/promises';
import type { PinnedFile } from '@ims/contract';
import { SourceChangedError } from './bucket.errors';
import type { ByteSource } from './bucket.port';
import { etagOf, isFileMissing, openObject, statObject } from './directory-object';
import { checkReadRange } from './read-range';
import { mapSparseFile } from './sparse-map';

/** A pinned file of the directory driver. */
export class DirectorySource implements ByteSource {
  private constructor(
    private readonly root: string,
    private readonly file: PinnedFile,
    private readonly handle: FileHandle,
    private readonly path: string,
    private readonly allocatedBytes: number,
  ) {}

  /** Fails with `SourceChangedError` when the object is gone or no longer the pinned one. */
  static async open(root: string, file: PinnedFile): Promise<DirectorySource> {
    const opened = await openObject(root, file);
    if (opened === undefined) throw new SourceChangedError(file.bucket, file.key);
    if (etagOf(opened.stats) !== file.etag) {
      await opened.handle.close();
      throw new SourceChangedError(file.bucket, file.key);
    }
    // st_blocks counts 512-byte units whatever the block size of the file system is.
    const allocatedBytes = Number(opened.stats.blocks) * 512;
    return new DirectorySource(root, file, opened.handle, opened.path, allocatedBytes);
  }

  get sizeBytes(): number {
    return this.file.sizeBytes;
  }

  async read(position: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    checkReadRange(this.file, position, target.length);
    let filled = 0;
    while (filled < target.length) {
      signal?.throwIfAborted();
      const { bytesRead } = await this.handle.read(target, filled, target.length - filled, position + filled);
      if (bytesRead === 0) throw new SourceChangedError(this.file.bucket, this.file.key);
      filled += bytesRead;
    }
    await this.checkStillThere();
  }

  /**
   * Fully allocated files are one range. Node has no SEEK_DATA, so the map of a sparse file comes from `qemu-img map` with the raw
   * driver (which looks at no content); where that tool is missing the whole file is one range, which is slower but as correct.
   */
  async *dataRanges(): AsyncIterable<{ offset: number; length: number }> {
    if (this.sizeBytes === 0) return;
    const whole = { offset: 0, length: this.sizeBytes };
    const ranges = this.allocatedBytes >= this.sizeBytes ? undefined : await mapSparseFile(this.path, this.sizeBytes);
    await this.checkUnchanged();
    yield* ranges ?? [whole];
  }

  async checkUnchanged(): Promise<void> {
    const stats = await statObject(this.root, this.file);
    if (stats === undefined || etagOf(stats) !== this.file.etag) {
      throw new SourceChangedError(this.file.bucket, this.file.key);
    }
  }

  /**
   * After each read, not before: a rewrite that ran beside it would else go unnoticed. Looks at the path that was resolved when the
   * source was opened, because resolving it again costs more than a small read does.
   */
  private async checkStillThere(): Promise<void> {
    try {
      const stats = await stat(this.path, { bigint: true });
      if (etagOf(stats) === this.file.etag) return;
    } catch (error) {
      if (!isFileMissing(error)) throw error;
    }
    throw new SourceChangedError(this.file.bucket, this.file.key);
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}
