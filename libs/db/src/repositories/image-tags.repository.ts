import { type Expression, type Kysely, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { Database } from '../db-types';
import type { ImageRow } from './images.repository';

/** A key, and values of which an image has one; none of them for any value. A value of no characters means a tag that is a key alone. */
export interface TagCondition {
  key: string;
  values: readonly string[];
}

/** What is asked of the tags of images (ims-api 8.4); the conditions combine with AND. */
export interface ImageTagSearch {
  all?: readonly TagCondition[];
  any?: readonly TagCondition[];
  /** Not `all`. */
  notAll?: readonly TagCondition[];
  /** Not `any`. */
  notAny?: readonly TagCondition[];
  /** Only images without tags. */
  untagged?: boolean;
  /** Part of the name in any case; of no characters, a name of none. */
  name?: string;
  id?: string;
}

/** Images of a project by their tags. */
export class ImageTagsRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** How many live images of the project are found. Index `image_tags` for what they must have, else `image_page`. */
  async count(projectId: string, search: ImageTagSearch): Promise<number> {
    const { count } = await this.#found(projectId, search)
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  /** A page of them, newest first. Indexes as `count`. */
  async find(
    projectId: string,
    search: ImageTagSearch,
    { limit, offset }: { limit: number; offset: number },
  ): Promise<Pick<ImageRow, 'id' | 'name' | 'status' | 'tags'>[]> {
    return this.#found(projectId, search)
      .select(['id', 'name', 'status', 'tags'])
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(limit)
      .offset(offset)
      .execute();
  }

  #found(projectId: string, search: ImageTagSearch) {
    let query = this.db
      .selectFrom('image')
      .where('project_id', '=', projectId)
      .where('deleted_at', 'is', null)
      .where('binned_at', 'is', null);
    for (const condition of conditions(search)) query = query.where(condition);
    return query;
  }
}

function* conditions(search: ImageTagSearch): Iterable<Expression<SqlBool>> {
  const { all = [], any = [], notAll = [], notAny = [], untagged = false, name, id } = search;
  if (id !== undefined) yield sql<SqlBool>`id = ${id}`;
  if (name === '') yield sql<SqlBool>`name = ''`;
  else if (name !== undefined) yield sql<SqlBool>`strpos(lower(name), lower(${name})) > 0`;
  if (untagged) {
    yield sql<SqlBool>`tags = '{}'`;
    return;
  }
  for (const condition of all) yield has(condition);
  if (any.length > 0) yield joined(any.map(has), sql` or `);
  if (notAll.length > 0) yield sql<SqlBool>`not ${joined(notAll.map(has), sql` and `)}`;
  if (notAny.length > 0) yield sql<SqlBool>`not ${joined(notAny.map(has), sql` or `)}`;
}

const joined = (parts: readonly Expression<SqlBool>[], by: RawBuilder<unknown>): RawBuilder<SqlBool> =>
  sql<SqlBool>`(${sql.join([...parts], by)})`;

/**
 * The index knows a tag, its key, and its older spelling by the same terms, so what it finds is looked at again: `a.b` may be the older spelling of
 * `a=b`, and a key is the term of the tag that is no more than it.
 */
function has({ key, values }: TagCondition): RawBuilder<SqlBool> {
  if (values.length === 0) {
    const isKey = sql`exists (select from unnest(tags) as tag where split_part(tag, '=', 1) = ${key})`;
    return sql<SqlBool>`(tag_terms @> ${[key]}::text[] and ${isKey})`;
  }
  const tags = values.map((value) => (value === '' ? key : `${key}=${value}`));
  return sql<SqlBool>`(tag_terms && ${tags}::text[] and tags && ${tags}::text[])`;
}
