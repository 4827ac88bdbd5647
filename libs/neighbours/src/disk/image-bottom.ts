import type { ImageDisk, ImageDiskRef, ImageDiskSource } from '../disk-image.port';
import type { BottomDisk } from './layered-disk';

/** The disk of an image below a volume made from it. The image is opened when first looked at: most volumes are never read on the way of a call. */
export class ImageBottom implements BottomDisk {
  private opened: Promise<ImageDisk> | undefined;

  constructor(
    private readonly images: ImageDiskSource,
    private readonly ref: ImageDiskRef,
    readonly sizeBytes: number,
  ) {}

  async read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const image = await this.open();
    const length = Math.max(0, Math.min(target.length, image.virtualSizeBytes - offset));
    let filled = 0;
    if (length > 0) {
      for await (const chunk of image.read({ offset, length }, signal)) {
        if (filled + chunk.length > length)
          throw new Error(`read image ${this.ref.imageId}: more bytes than asked for`);
        target.set(chunk, filled);
        filled += chunk.length;
      }
      if (filled !== length)
        throw new Error(`read image ${this.ref.imageId}: ${filled} of ${length} bytes at ${offset}`);
    }
    target.fill(0, filled);
  }

  async dataRanges(offset: number, length: number): Promise<Iterable<{ offset: number; length: number }>> {
    return (await this.open()).dataRanges({ offset, length });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private async open(): Promise<ImageDisk> {
    const opening = (this.opened ??= this.images.open(this.ref));
    try {
      return await opening;
    } catch (error) {
      // The next read tries again: a store that is away comes back.
      if (this.opened === opening) this.opened = undefined;
      throw error;
    }
  }
}
