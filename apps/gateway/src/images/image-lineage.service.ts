import { Inject, Injectable } from '@nestjs/common';
import { type ImageLineageAnswer, isImageId, type LineageNode } from '@ims/contract';
import { type Database, ImageLineageRepository, ImagesRepository, LINE_BOUNDS, type LineMember } from '@ims/db';
import { Kysely } from 'kysely';
import type { Call } from '../access/permits';
import type { SourceCloud } from '../app-parts';
import { CLOUD } from '../http/injection-tokens';
import { noSuchImage } from './image-reads.service';

/** Where an image comes from and what was made of it, as far as the caller may know. */
@Injectable()
export class ImageLineageService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly images: ImagesRepository,
    @Inject(CLOUD) private readonly cloud: SourceCloud,
  ) {}

  /**
   * Up and down from an image that the caller owns, gone or not, or may use. Of the images of others only those are told of that the caller could
   * show; the others are links of the chain without a name.
   *
   * @throws ImsError IMG.0144 (404)
   */
  async show(caller: Call, id: string): Promise<ImageLineageAnswer> {
    if (!isImageId(id)) throw noSuchImage();
    const lines = new ImageLineageRepository(this.db);
    const [asked, ...up] = await lines.ancestors(id);
    if (asked === undefined) throw noSuchImage();
    const down = await lines.descendants(id);
    const members = [asked, ...up, ...down.slice(0, LINE_BOUNDS.members)];
    const visible = await this.#visible(caller, members);
    if (!visible.has(id)) throw noSuchImage();
    const refs = new Map<string, string>();
    for (const member of members) refs.set(member.id, visible.has(member.id) ? member.id : `hidden-${refs.size}`);
    const node = (member: LineMember): LineageNode => nodeOf(member, refs, visible);
    const line = [asked, ...down.slice(0, LINE_BOUNDS.members)].map((member) => member.id);
    const replicas = await lines.replicas(caller.projectId, line);
    const servers = (await this.cloud.servers.list(caller.projectId)).flatMap(({ id: serverId, name, imageId }) => {
      const ref = imageId !== null && line.includes(imageId) ? refs.get(imageId) : undefined;
      return ref === undefined ? [] : [{ image_ref: ref, id: serverId, name }];
    });
    return {
      image: node(asked),
      ancestors: up.map(node),
      descendants: down.slice(0, LINE_BOUNDS.members).map(node),
      replicas: replicas.map(({ sourceId, region, imageId }) => ({
        source_ref: refs.get(sourceId) ?? sourceId,
        region,
        image_id: imageId,
      })),
      servers: servers.slice(0, LINE_BOUNDS.members),
      truncated:
        down.length > LINE_BOUNDS.members ||
        servers.length > LINE_BOUNDS.members ||
        replicas.length >= LINE_BOUNDS.members ||
        [up.at(-1), down.at(-1)].some((last) => (last?.depth ?? 0) >= LINE_BOUNDS.depth),
    };
  }

  /** Which of them the caller may know: its own, also those that are gone, and what it may use of others. */
  async #visible({ projectId }: Call, members: readonly LineMember[]): Promise<ReadonlySet<string>> {
    const others = members.filter((member) => member.projectId !== projectId).map(({ id }) => id);
    const own = members.filter((member) => member.projectId === projectId).map(({ id }) => id);
    return new Set([...own, ...(await this.images.seenAmong(projectId, others))]);
  }
}

function nodeOf(member: LineMember, refs: ReadonlyMap<string, string>, visible: ReadonlySet<string>): LineageNode {
  const { id, parentId, depth, revokeReason } = member;
  const shared = {
    ref: refs.get(id) ?? id,
    // A parent beside the line, or beyond its bound, is not among the links.
    parent_ref: parentId === null ? null : (refs.get(parentId) ?? null),
    depth,
    revoked: revokeReason === null ? null : { reason: revokeReason },
  };
  if (!visible.has(id))
    return { ...shared, id: null, name: null, status: null, image_type: null, created_at: null, origin: null };
  return {
    ...shared,
    id,
    name: member.name,
    status: member.isBinned && member.status !== 'deleted' ? 'binned' : member.status,
    image_type: member.imageType,
    created_at: member.createdAt.toISOString(),
    origin: originOf(member.origin),
  };
}

/** `__data_origin` is a kind and what it is about: `server_backup,<id>`, `image,<region>,<id>`. */
function originOf(text: string | null): LineageNode['origin'] {
  if (text === null) return null;
  const at = text.indexOf(',');
  return at < 0 ? { kind: text, reference: '' } : { kind: text.slice(0, at), reference: text.slice(at + 1) };
}
