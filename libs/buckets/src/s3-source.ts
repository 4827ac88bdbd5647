import { GetObjectCommand, HeadObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import type { PinnedFile } from '@ims/contract';
import { SourceChangedError } from './bucket.errors';
import type { ByteSource, SourceDescriptor } from './bucket.port';
import { checkReadRange } from './read-range';
import { createS3Client, statusOf } from './s3-client';

// 404: removed. 412: replaced. 416: cut shorter than the range.
const CHANGED = new Set([404, 412, 416]);

/** A pinned object of an S3 server; every ranged GET is made on condition that the ETag is still the pinned one. */
export class S3Source implements ByteSource {
  private constructor(
    private readonly client: S3Client,
    private readonly file: PinnedFile,
  ) {}

  static async open(descriptor: Extract<SourceDescriptor, { driver: 's3' }>): Promise<S3Source> {
    const source = new S3Source(createS3Client(descriptor), descriptor.file);
    try {
      await source.checkUnchanged();
    } catch (error) {
      await source.close();
      throw error;
    }
    return source;
  }

  get sizeBytes(): number {
    return this.file.sizeBytes;
  }

  async read(position: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    checkReadRange(this.file, position, target.length);
    if (target.length === 0) return;
    signal?.throwIfAborted();
    await this.unlessChanged(async () => {
      const answer = await this.client.send(
        new GetObjectCommand({
          Bucket: this.file.bucket,
          Key: this.file.key,
          IfMatch: this.file.etag,
          Range: `bytes=${position}-${position + target.length - 1}`,
        }),
        signal === undefined ? {} : { abortSignal: signal },
      );
      // A server that knows no If-Match would else hand out the new object's bytes.
      if (answer.ETag !== this.file.etag || answer.Body === undefined) throw this.changed();
      let filled = 0;
      for await (const chunk of chunksOf(answer.Body)) {
        if (filled + chunk.length > target.length)
          throw this.incomplete(position, target.length, filled + chunk.length);
        target.set(chunk, filled);
        filled += chunk.length;
      }
      if (filled !== target.length) throw this.incomplete(position, target.length, filled);
    });
  }

  /** An S3 server cannot tell where data lies. */
  async *dataRanges(): AsyncIterable<{ offset: number; length: number }> {
    if (this.sizeBytes > 0) yield { offset: 0, length: this.sizeBytes };
  }

  async checkUnchanged(): Promise<void> {
    await this.unlessChanged(async () => {
      const answer = await this.client.send(new HeadObjectCommand({ Bucket: this.file.bucket, Key: this.file.key }));
      if (answer.ETag !== this.file.etag || answer.ContentLength !== this.file.sizeBytes) throw this.changed();
    });
  }

  async close(): Promise<void> {
    this.client.destroy();
  }

  private async unlessChanged(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      const status = statusOf(error);
      if (status !== undefined && CHANGED.has(status)) throw this.changed(error);
      throw error;
    }
  }

  private changed(cause?: unknown): SourceChangedError {
    return new SourceChangedError(this.file.bucket, this.file.key, { cause });
  }

  private incomplete(position: number, wanted: number, got: number): Error {
    const { bucket, key } = this.file;
    return new Error(`read ${wanted} bytes at ${position} of ${bucket}:${key}: the server sent ${got}; retrying`);
  }
}

async function* chunksOf(body: unknown): AsyncIterable<Uint8Array> {
  // The SDK's type covers browsers too; under Node the body is a Readable of Buffers.
  yield* body as AsyncIterable<Uint8Array>;
}
