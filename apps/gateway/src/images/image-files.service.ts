import { Inject, Injectable } from '@nestjs/common';
import { type DedupDomainId, dedupDomainId, ImsError, LONGEST_DOWNLOAD_MS } from '@ims/contract';
import { type ImageRow, ImagesRepository } from '@ims/db';
import { diskOf } from '@ims/domain';
import type { ReadableStore } from '../app-parts';
import type { Call } from '../access/permits';
import { Answer, LazyStream } from '../http/answer';
import { type ByteRange, parseByteRange } from '../http/byte-range';
import { IMAGE_STORE } from '../http/injection-tokens';
import { downloadStream } from './download-stream';
import { ImageReadsService } from './image-reads.service';

const FORBIDDEN = 403;

const FORMS = ['zvhd2', 'raw'] as const;
type Form = (typeof FORMS)[number];

interface StoredForm {
  domainId: DedupDomainId;
  manifestHash: string;
  form: Form;
  /** What the bytes are, as the end of a file's name. */
  extension: string;
  /** These are the bytes that the digests of the image are of. */
  isImageFile: boolean;
}

export interface FileRequest {
  id: string;
  /** `?format=`; the image's own form when left out. */
  format: string | undefined;
  range: string | undefined;
  ifRange: string | undefined;
}

/** The bytes of images (ims-api 12.8). */
@Injectable()
export class ImageFilesService {
  constructor(
    private readonly images: ImageReadsService,
    private readonly parts: ImagesRepository,
    @Inject(IMAGE_STORE) private readonly store: ReadableStore,
  ) {}

  async download(caller: Call, { id, format, range: rangeHeader, ifRange }: FileRequest): Promise<Answer> {
    const image = await this.images.find(caller, id);
    // What is for sale is used where it is, as it is not exported either (EXP-10).
    if (image.image_type === 'market' && image.seen_as !== 'owner')
      throw new ImsError('IMG.0078', undefined, FORBIDDEN);
    if (image.status === 'deactivated')
      throw new ImsError('IMG.0046', 'it is deactivated and gives no bytes', FORBIDDEN);
    const stored = image.status === 'active' ? await this.#storedAs(image, format) : undefined;
    if (stored === undefined) return new Answer(204);
    const { form, extension, isImageFile } = stored;
    const file = await this.store.open(stored, form);
    // A manifest never changes and each form follows from it alone, so its hash is a strong validator.
    const etag = `"${stored.manifestHash}.${extension}"`;
    const range = ifRange === undefined || ifRange === etag ? rangeOrRefusal(rangeHeader, file.sizeBytes) : undefined;
    if (range instanceof Answer) return range;
    const headers = {
      'Content-Type': 'application/octet-stream',
      'Content-Length': range?.length ?? file.sizeBytes,
      'Accept-Ranges': 'bytes',
      ETag: etag,
      'Content-Disposition': `attachment; filename="${image.id}.${extension}"`,
      ...(range === undefined
        ? {}
        : { 'Content-Range': `bytes ${range.offset}-${range.offset + range.length - 1}/${file.sizeBytes}` }),
      // Clients verify the whole file against it: only what is known, only for the file it was taken of.
      ...(range === undefined && isImageFile && image.md5 !== null ? { 'Content-MD5': image.md5 } : {}),
    };
    return new Answer(
      range === undefined ? 200 : 206,
      new LazyStream(() => downloadStream((signal) => file.read(range, signal), LONGEST_DOWNLOAD_MS)),
      headers,
    );
  }

  /**
   * Where the bytes lie and how they are read: an image that is a file is served as it came, and its disk once that has been derived; nothing
   * is opened here that nobody has looked into. `undefined` when the image has no bytes.
   */
  async #storedAs(image: ImageRow, format: string | undefined): Promise<StoredForm | undefined> {
    const form = formOf(image, format);
    if (image.domain_id === null || image.manifest_hash === null) return undefined;
    if (image.form === 'file' && form === undefined) {
      const content = { domainId: dedupDomainId(image.domain_id), manifestHash: image.manifest_hash };
      return { ...content, form: 'raw', extension: image.disk_format, isImageFile: true };
    }
    const disk = diskOf(image, await this.parts.parts(image.id));
    if (disk === undefined)
      throw new ImsError(
        'IMG.0046',
        `the disk in the ${image.disk_format} file is not known before a server uses it`,
        409,
      );
    return {
      domainId: dedupDomainId(disk.domainId),
      manifestHash: disk.manifestHash,
      form: form ?? 'zvhd2',
      extension: form ?? 'zvhd2',
      isImageFile: image.form === 'disk' && (form ?? 'zvhd2') === 'zvhd2',
    };
  }
}

/** What is asked for; `undefined` when the request leaves it to the image. */
function formOf(image: ImageRow, format: string | undefined): Form | undefined {
  if (format === undefined || format === '') return undefined;
  if (image.form === 'file' && format === image.disk_format) return undefined;
  const form = FORMS.find((known) => known === format);
  if (form !== undefined) return form;
  const own = image.form === 'file' ? [image.disk_format] : [];
  throw new ImsError('IMG.0072', `a download is ${[...own, ...FORMS].join(' or ')}`);
}

function rangeOrRefusal(header: string | undefined, sizeBytes: number): ByteRange | undefined | Answer {
  const range = parseByteRange(header, sizeBytes);
  if (range !== 'unsatisfiable') return range;
  return new Answer(416, undefined, { 'Content-Range': `bytes */${sizeBytes}` });
}
