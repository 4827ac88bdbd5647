import { Inject, Injectable } from '@nestjs/common';
import type { ListImagesQuery } from '@ims/contract';
import { type Clock, type ImageListRequest, type ImageRow, ImagesRepository } from '@ims/db';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { Answer, LazyStream } from '../http/answer';
import { CLOCK } from '../http/injection-tokens';
import { csvFile, csvFileName, type CsvList } from './image-csv';
import { fromListImagesQuery } from './image-list';

// A page is what is held at once; 1000 rows are a few megabytes.
const PAGE = 1000;

/** Lists of images as files (MGT-04). */
@Injectable()
export class ImageCsvService {
  constructor(
    private readonly images: ImagesRepository,
    private readonly config: GatewayConfig,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** All that the filters find, in the order asked for. The private list is the project's own images. */
  async list(caller: Call, query: ListImagesQuery): Promise<Answer> {
    const list: CsvList = query.__imagetype === 'gold' || query.visibility === 'public' ? 'public' : 'private';
    const { filter = {}, sort = [] } = fromListImagesQuery(query, this.config.region);
    const isOwn = query.__imagetype === undefined && query.visibility === undefined;
    const request = {
      projectId: caller.projectId,
      filter: isOwn ? { owner: caller.projectId, ...filter } : filter,
      sort,
      limit: PAGE,
    };
    // Read before the answer begins: what fails now is told as a failure.
    const first = await this.images.list(request);
    const fileName = csvFileName(list, this.config.region, this.clock.now());
    return new Answer(200, new LazyStream(() => csvFile(list, this.#pages(request, first))), {
      'Content-Type': 'text/csv; charset=utf-8; header=present',
      'Content-Disposition': `attachment; filename="${fileName}"`,
    });
  }

  async *#pages(request: ImageListRequest, first: readonly ImageRow[]): AsyncIterable<readonly ImageRow[]> {
    let page = first;
    for (;;) {
      yield page;
      const last = page.length < PAGE ? undefined : page.at(-1);
      if (last === undefined) return;
      page = await this.images.list({ ...request, marker: last.id });
    }
  }
}
