import { Injectable } from '@nestjs/common';
import {
  type AddImageTagRequest,
  type BatchDeleteTagsRequest,
  type BatchTagsRequest,
  type FindByTagsRequest,
  imageId,
  type ImagesByTags,
  type ImageTag,
  type ImageTagList,
  ImsError,
  type ListTagsQuery,
  projectId,
  type ProjectTagList,
  type PutTagRequest,
  type TagList,
} from '@ims/contract';
import { type ImageRow, ImagesRepository, ImageTagsRepository, type ImageTagSearch } from '@ims/db';
import {
  decideTagByWord,
  decideTagImage,
  decideUntagByWord,
  decideUntagImage,
  type DomainEvent,
  parseTag,
  splitTag,
  type TaggedImage,
} from '@ims/domain';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { ImageChanges } from '../images/image-changes';
import { fromListImagesQuery } from '../images/image-list';
import { ImageReadsService } from '../images/image-reads.service';

/** Tags of images, by which they are told apart and found (MGT-02, SVC-08). */
@Injectable()
export class TagsService {
  constructor(
    private readonly changes: ImageChanges,
    private readonly images: ImagesRepository,
    private readonly tags: ImageTagsRepository,
    private readonly reads: ImageReadsService,
    private readonly config: GatewayConfig,
  ) {}

  /** @throws ImsError as `decideTagImage`; IMG.0115 unless exactly one form of the tag is given */
  async put(caller: Call, { image_id: id, tag, image_tag: imageTag }: PutTagRequest): Promise<void> {
    const given = tag === undefined ? imageTag : parseTag(tag);
    if (given === undefined || (tag !== undefined && imageTag !== undefined))
      throw new ImsError('IMG.0115', 'give one of tag and image_tag');
    await this.#tag(caller, id, [given]);
  }

  async add(caller: Call, id: string, { tag }: AddImageTagRequest): Promise<void> {
    await this.#tag(caller, id, [tag]);
  }

  /** @throws ImsError as `decideTagImage` and `decideUntagImage`; IMG.0115 for a key that comes twice */
  async change(caller: Call, id: string, request: BatchTagsRequest): Promise<void> {
    if (request.action === 'create') return this.#tag(caller, id, request.tags);
    return this.removeAll(caller, id, request);
  }

  async removeAll(caller: Call, id: string, { tags }: BatchDeleteTagsRequest): Promise<void> {
    const keys = tags.map(({ key }) => key);
    if (new Set(keys).size < keys.length) throw new ImsError('IMG.0115', 'a key comes twice');
    await this.#change(caller, id, (image, change) => decideUntagImage(image, { ...change, keys }));
  }

  /** @throws ImsError IMG.0121 (404) for a key that the image does not have */
  async remove(caller: Call, id: string, key: string): Promise<void> {
    await this.#change(caller, id, (image, change) =>
      decideUntagImage(image, { ...change, keys: [key], mustBeThere: true }),
    );
  }

  async putWord(caller: Call, id: string, word: string): Promise<void> {
    const { maxTags } = this.config;
    await this.#change(caller, id, (image, change) => decideTagByWord(image, { ...change, word, maxTags }));
  }

  async removeWord(caller: Call, id: string, word: string): Promise<void> {
    await this.#change(caller, id, (image, change) => decideUntagByWord(image, { ...change, word }));
  }

  /** Tags of all images that the filters find, each once (ims-api 8.3). */
  async list(caller: Call, { page = 1, limit, ...query }: ListTagsQuery): Promise<TagList> {
    const { filter = {} } = fromListImagesQuery(query, this.config.region);
    const slice = limit === undefined ? {} : { limit, offset: (page - 1) * limit };
    return { tags: await this.images.tags(caller.projectId, filter, slice) };
  }

  async ofImage(caller: Call, id: string): Promise<ImageTagList> {
    const { tags } = await this.reads.find(caller, id);
    return { tags: tags.map(splitTag) };
  }

  /** Every key of the project's own images, with its values (ims-api 8.5). */
  async ofProject(caller: Call): Promise<ProjectTagList> {
    const values = new Map<string, string[]>();
    for (const tag of await this.images.tags(caller.projectId, { owner: caller.projectId })) {
      const { key, value } = splitTag(tag);
      const known = values.get(key);
      if (known === undefined) values.set(key, [value]);
      else known.push(value);
    }
    return { tags: [...values].map(([key, all]) => ({ key, values: all })) };
  }

  /** Images by their tags (ims-api 8.4). */
  async find(caller: Call, request: FindByTagsRequest): Promise<ImagesByTags> {
    const search = searchOf(request);
    const total = await this.tags.count(caller.projectId, search);
    if (request.action === 'count') return { total_count: total };
    const rows = await this.tags.find(caller.projectId, search, request);
    return {
      total_count: total,
      resources: rows.map(({ id, name, status, tags }) => ({
        resource_id: id,
        resource_name: name,
        resource_detail: { status },
        tags: tags.map(splitTag),
      })),
    };
  }

  async #tag(caller: Call, id: string, tags: readonly ImageTag[]): Promise<void> {
    const { maxTags } = this.config;
    await this.#change(caller, id, (image, change) => decideTagImage(image, { ...change, tags, maxTags }));
  }

  async #change(
    caller: Call,
    id: string,
    decide: (
      image: TaggedImage | undefined,
      change: { projectId: TaggedImage['projectId']; requestId: string },
    ) => DomainEvent[],
  ): Promise<void> {
    const change = { projectId: projectId(caller.projectId), requestId: caller.requestId };
    await this.changes.apply(caller, id, (row) => decide(row && tagged(row), change));
  }
}

const tagged = (row: ImageRow): TaggedImage => ({
  id: imageId(row.id),
  projectId: projectId(row.project_id),
  imageType: row.image_type,
  status: row.status,
  name: row.name,
  tags: row.tags,
});

function searchOf(request: FindByTagsRequest): ImageTagSearch {
  const { tags, tags_any, not_tags, not_tags_any, without_any_tag: untagged = false, matches = [] } = request;
  const match = (wanted: 'resource_name' | 'resource_id') => matches.find(({ key }) => key === wanted)?.value;
  const [name, id] = [match('resource_name'), match('resource_id')];
  return {
    all: tags ?? [],
    any: tags_any ?? [],
    notAll: not_tags ?? [],
    notAny: not_tags_any ?? [],
    untagged,
    ...(name === undefined ? {} : { name }),
    ...(id === undefined ? {} : { id }),
  };
}
