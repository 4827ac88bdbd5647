import { Injectable } from '@nestjs/common';
import {
  type CloudImageList,
  type GlanceImage,
  type GlanceImageList,
  type ImageListV1,
  ImsError,
  isImageId,
  type ListGlanceImagesQuery,
  type ListImagesQuery,
  type ListImagesV1Query,
} from '@ims/contract';
import { type ImageListRequest, ImagesRepository, MarkerNotFoundError, type SeenImage } from '@ims/db';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { toImageV1 } from './image.v1';
import {
  fromFuzzyQuery,
  fromListGlanceImagesQuery,
  fromListImagesQuery,
  fromListImagesV1Query,
  pageLink,
} from './image-list';
import { toGlanceImage } from './image.glance';
import { toCloudImage } from './image.wire';

/** Images as a project sees them, in both dialects; always what Postgres has committed. */
@Injectable()
export class ImageReadsService {
  constructor(
    private readonly images: ImagesRepository,
    private readonly config: GatewayConfig,
  ) {}

  async list(caller: Call, query: ListImagesQuery): Promise<CloudImageList> {
    const rows = await this.#list({ projectId: caller.projectId, ...fromListImagesQuery(query, this.config.region) });
    return { images: rows.map(toCloudImage) };
  }

  async listFuzzy(caller: Call, query: ListImagesQuery): Promise<CloudImageList> {
    const rows = await this.#list({ projectId: caller.projectId, ...fromFuzzyQuery(query, this.config.region) });
    return { images: rows.map(toCloudImage) };
  }

  async listV1(caller: Call, query: ListImagesV1Query): Promise<ImageListV1> {
    const rows = await this.#list({ projectId: caller.projectId, ...fromListImagesV1Query(query) });
    return { images: rows.map(toImageV1) };
  }

  async listGlance(caller: Call, query: ListGlanceImagesQuery, rawQuery: string): Promise<GlanceImageList> {
    const request = fromListGlanceImagesQuery(query, this.config.region);
    const first = pageLink(rawQuery, undefined);
    if (request.limit === 0) return { images: [], first, schema: '/v2/schemas/images' };
    // One more than is shown: whether there is a next page must be known, clients follow `next` blindly.
    const rows = await this.#list({ projectId: caller.projectId, ...request, limit: request.limit + 1 });
    const shown = rows.slice(0, request.limit);
    const last = rows.length > shown.length ? shown.at(-1) : undefined;
    return {
      images: shown.map(toGlanceImage),
      first,
      ...(last === undefined ? {} : { next: pageLink(rawQuery, last.id) }),
      schema: '/v2/schemas/images',
    };
  }

  async showGlance(caller: Call, id: string): Promise<GlanceImage> {
    return toGlanceImage(await this.find(caller, id));
  }

  /** @throws ImsError IMG.0144 (404) for unknown and deleted images and those that the caller does not see alike, and for a name in the place of an id (ims-api 12.4) */
  async find(caller: Call, id: string): Promise<SeenImage> {
    const row = isImageId(id) ? await this.images.find(caller.projectId, id) : undefined;
    if (row === undefined) throw noSuchImage();
    return row;
  }

  /** As `find`, of what the caller's project owns alone. */
  async findOwn(caller: Call, id: string): Promise<SeenImage> {
    const row = isImageId(id) ? await this.images.findOwn(caller.projectId, id) : undefined;
    if (row === undefined) throw noSuchImage();
    return row;
  }

  async #list(request: ImageListRequest): Promise<SeenImage[]> {
    try {
      return await this.images.list(request);
    } catch (error) {
      if (error instanceof MarkerNotFoundError)
        throw new ImsError('IMG.0001', 'marker is no image that this project sees');
      throw error;
    }
  }
}

export const noSuchImage = (): ImsError => new ImsError('IMG.0144', undefined, 404);
