import { CONTENT, imageAttributes, type ImageLineage } from '@ims/contract';
import { type Database, type ImageRow, ImagesRepository } from '@ims/db';
import { lineageFrom } from '@ims/domain';
import { type Kysely, sql } from 'kysely';

// Versions of an image that are further away have hardly anything in common any more.
const MOST_ANCESTORS = 16;

/** The image itself and those it was made from, nearest first, also the ones that have gone: what is left of their replicas is worth knowing. */
export async function ancestorsOf(db: Kysely<Database>, row: ImageRow): Promise<string[]> {
  const images = new ImagesRepository(db);
  const found = [row.id];
  for (let at: ImageRow | undefined = row; at !== undefined && found.length < MOST_ANCESTORS;) {
    // A replica names the image of the other region that it is, so a copy that goes back finds it.
    for (const id of [at.parent_id, textOf(at, '__originalimagename')])
      if (id !== null && !found.includes(id)) found.push(id);
    at = at.parent_id === null ? undefined : await images.ancestor(at.parent_id);
  }
  return found.slice(0, MOST_ANCESTORS);
}

/** What a copy of the image inherits, beside its parent. */
export function lineageOf(row: ImageRow): Omit<ImageLineage, 'parentImageId'> {
  const { parentImageId: _, ...inherited } = lineageFrom({
    id: row.id,
    imageType: row.image_type,
    platform: textOf(row, '__platform') ?? undefined,
    productCode: textOf(row, '__productcode') ?? undefined,
    inherited: { publicPlatform: row.public_platform, productCode: row.product_code },
  });
  return inherited;
}

/**
 * A disk of this project that is much like the one that comes: the same part of the nearest image among the ancestors, or of a replica of one of them,
 * the latest of several. Found by the index `image_attributes`.
 */
export async function findBase(
  db: Kysely<Database>,
  { projectId, ancestors, part }: { projectId: string; ancestors: readonly string[]; part: string },
): Promise<{ domainId: string; manifestHash: string } | undefined> {
  for (const ancestor of ancestors) {
    const rows = await db
      .selectFrom('image')
      .select(['id', 'domain_id', 'manifest_hash'])
      .where('project_id', '=', projectId)
      .where('status', '=', 'active')
      .where('deleted_at', 'is', null)
      // An encrypted one is no base (ENC-04), and must not stand before one that is.
      .where(sql<boolean>`not attributes ? '__system__cmkid'`)
      .where(({ or, eb }) =>
        or([
          eb('id', '=', ancestor),
          sql<boolean>`attributes @> ${JSON.stringify({ __originalimagename: ancestor })}::jsonb`,
        ]),
      )
      .orderBy('active_at', 'desc')
      .limit(1)
      .execute();
    const [image] = rows;
    if (image === undefined) continue;
    if (part === CONTENT) {
      if (image.domain_id !== null && image.manifest_hash !== null)
        return { domainId: image.domain_id, manifestHash: image.manifest_hash };
      continue;
    }
    const found = (await new ImagesRepository(db).parts(image.id)).find((each) => each.part === part);
    if (found !== undefined) return { domainId: found.domain_id, manifestHash: found.manifest_hash };
  }
  return undefined;
}

function textOf(row: ImageRow, name: string): string | null {
  const value = imageAttributes.parse(row.attributes)[name];
  return typeof value === 'string' && value !== '' ? value : null;
}
