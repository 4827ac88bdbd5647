import { type Kysely, sql } from 'kysely';
import type { Database } from '../db-types';

/** An image of a line, with what it was made from. */
export interface LineMember {
  id: string;
  projectId: string;
  /** The image of this region that it was made from. */
  parentId: string | null;
  /** Steps from the image that was asked for. */
  depth: number;
  name: string;
  status: string;
  imageType: string;
  isBinned: boolean;
  createdAt: Date;
  revokedAt: Date | null;
  revokeReason: string | null;
  /** `__data_origin` (ims-api 2.2): what its bytes came from. */
  origin: string | null;
}

export interface Replica {
  sourceId: string;
  region: string;
  imageId: string;
}

/** What a line is looked at for at most; nothing that people make is as deep or as wide. */
export const LINE_BOUNDS = { depth: 64, members: 1000 } as const;

const COLUMNS = sql`
  i.id, i.project_id as "projectId", i.parent_id as "parentId", i.name, i.status, i.image_type as "imageType",
  i.binned_at is not null as "isBinned", i.created_at as "createdAt", i.revoked_at as "revokedAt",
  i.revoke_reason as "revokeReason", i.attributes ->> '__data_origin' as origin`;

/** Which images come from which, whoever's they are and whether or not they still live: what they pass on does not end with them. */
export class ImageLineageRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** The image itself (depth 0) and those it was made from, nearest first. Primary key, once for each generation. */
  async ancestors(imageId: string): Promise<LineMember[]> {
    const { rows } = await sql<LineMember>`
      with recursive line as (
        select ${COLUMNS}, 0 as depth from image i where i.id = ${imageId}
        union all
        select parent.* from line
        cross join lateral (
          select ${COLUMNS}, line.depth + 1 as depth from image i where i.id = line."parentId" offset 0
        ) parent
        where line.depth < ${LINE_BOUNDS.depth}
      )
      select * from line order by depth`.execute(this.db);
    return rows;
  }

  /** Those that were made from it, at any depth, nearest first; one more than the bound when there are more. Index `image_parent`. */
  async descendants(imageId: string): Promise<LineMember[]> {
    const { rows } = await sql<LineMember>`
      with recursive line as (
        select ${imageId}::text as id, 0 as depth
        union all
        select child.id, child.depth from line
        cross join lateral (
          select i.id, line.depth + 1 as depth from image i where i.parent_id = line.id offset 0
        ) child
        where line.depth < ${LINE_BOUNDS.depth}
      ),
      found as (select id, depth from line where depth > 0 limit ${LINE_BOUNDS.members + 1})
      select ${COLUMNS}, found.depth from found
      join image i on i.id = found.id
      order by found.depth, i.created_at, i.id`.execute(this.db);
    return rows;
  }

  /**
   * The nearest revoked image among the image and those it comes from, however far back: unlike what is shown, what is refused has no bound. Primary
   * key, once for each generation.
   */
  async revoked(imageId: string): Promise<LineMember | undefined> {
    const { rows } = await sql<LineMember>`
      with recursive line as (
        select ${COLUMNS}, 0 as depth from image i where i.id = ${imageId}
        union all
        select parent.* from line
        cross join lateral (
          select ${COLUMNS}, line.depth + 1 as depth from image i where i.id = line."parentId" offset 0
        ) parent
        where line."revokedAt" is null
      )
      select * from line where "revokedAt" is not null`.execute(this.db);
    return rows[0];
  }

  /** Copies of these images that other regions have taken. Index `job_replicated`. */
  async replicas(projectId: string, imageIds: readonly string[]): Promise<Replica[]> {
    const { rows } = await sql<Replica>`
      select request ->> 'source_image_id' as "sourceId", request ->> 'region' as region, image_id as "imageId"
      from job
      where saga = 'image-replicate' and request ->> 'source_image_id' = any(${[...imageIds]}::text[])
        and project_id = ${projectId} and outcome = 'succeeded' and image_id is not null
      order by end_at, id
      limit ${LINE_BOUNDS.members}`.execute(this.db);
    return rows;
  }
}
