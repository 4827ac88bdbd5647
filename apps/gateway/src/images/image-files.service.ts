import { Inject, Injectable } from '@nestjs/common';
import { dedupDomainId, ImsError, LONGEST_DOWNLOAD_MS } from '@ims/contract';
import type { ReadableStore } from '../app-parts';
import type { Call } from '../access/permits';
import { Answer, LazyStream } from '../http/answer';
import { type ByteRange, parseByteRange } from '../http/byte-range';
import { IMAGE_STORE } from '../http/injection-tokens';
import { downloadStream } from './download-stream';
import { ImageReadsService } from './image-reads.service';

const FORMS = ['zvhd2', 'raw'] as const;
type Form = (typeof FORMS)[number];

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
    @Inject(IMAGE_STORE) private readonly store: ReadableStore,
  ) {}

  async download(caller: Call, { id, format, range: rangeHeader, ifRange }: FileRequest): Promise<Answer> {
    const form = formOf(format);
    const image = await this.images.find(caller, id);
    if (image.status !== 'active' || image.domain_id === null || image.manifest_hash === null) return new Answer(204);
    const file = await this.store.open(
      { domainId: dedupDomainId(image.domain_id), manifestHash: image.manifest_hash },
      form,
    );
    // A manifest never changes and both forms follow from it alone, so its hash is a strong validator.
    const etag = `"${image.manifest_hash}.${form}"`;
    const range = ifRange === undefined || ifRange === etag ? rangeOrRefusal(rangeHeader, file.sizeBytes) : undefined;
    if (range instanceof Answer) return range;
    const headers = {
      'Content-Type': 'application/octet-stream',
      'Content-Length': range?.length ?? file.sizeBytes,
      'Accept-Ranges': 'bytes',
      ETag: etag,
      'Content-Disposition': `attachment; filename="${image.id}.${form}"`,
      ...(range === undefined
        ? {}
        : { 'Content-Range': `bytes ${range.offset}-${range.offset + range.length - 1}/${file.sizeBytes}` }),
      // Clients verify the whole file against it: only what is known, only for the file it was taken of.
      ...(range === undefined && form === 'zvhd2' && image.md5 !== null ? { 'Content-MD5': image.md5 } : {}),
    };
    return new Answer(
      range === undefined ? 200 : 206,
      new LazyStream(() => downloadStream((signal) => file.read(range, signal), LONGEST_DOWNLOAD_MS)),
      headers,
    );
  }
}

function formOf(format: string | undefined): Form {
  if (format === undefined || format === '') return 'zvhd2';
  const form = FORMS.find((known) => known === format);
  if (form === undefined) throw new ImsError('IMG.0072', `a download is ${FORMS.join(' or ')}`);
  return form;
}

function rangeOrRefusal(header: string | undefined, sizeBytes: number): ByteRange | undefined | Answer {
  const range = parseByteRange(header, sizeBytes);
  if (range !== 'unsatisfiable') return range;
  return new Answer(416, undefined, { 'Content-Range': `bytes */${sizeBytes}` });
}
