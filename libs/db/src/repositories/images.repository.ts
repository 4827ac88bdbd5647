import {
  type DedupDomainId,
  dedupDomainId,
  imageId as toImageId,
  type ImageId,
  PLATFORM_PROJECT,
  type ImageSortKey,
  type MemberStatus,
  type SortDirection,
  type TimeOperator,
} from '@ims/contract';
import { type Expression, type Kysely, type RawBuilder, type Selectable, type SqlBool, sql } from 'kysely';
import type { Database } from '../db-types';

export type ImageRow = Selectable<Database['image']>;
export type ImagePartRow = Selectable<Database['image_part']>;

/** How a project sees an image. */
export interface ImageSight {
  /** As its owner; as one of those it is shared with; as everybody sees a public image and one that is on the marketplace. */
  seen_as: 'owner' | 'member' | 'public';
  /** Somebody beside its owner is a member: such an image is shown as shared (ims-api 2.2). */
  is_shared: boolean;
  /** What a member has answered; `null` unless it is seen as by a member. */
  member_status: MemberStatus | null;
}
/** An image with how it is seen; to a member its `image_type` is `shared`. */
export type SeenImage = ImageRow & ImageSight;

/** `created_at` or `updated_at` compared with a whole second. */
export interface TimeCondition {
  operator: TimeOperator;
  at: Date;
}

/**
 * Filters of ims-api 4.1; they combine with AND, a list means "one of". What is left out does not filter. Sizes in bytes.
 */
export interface ImageFilter {
  id?: readonly string[];
  name?: readonly string[];
  /** Part of the name, any case (ims-api 4.3). */
  nameContains?: string;
  status?: readonly string[];
  /** Project id of the owner. */
  owner?: string;
  /** Of images that others share with the project: what it has answered. Accepted ones when left out; any where the filter names ids. */
  memberStatus?: MemberStatus | 'all';
  visibility?: string;
  /** Wire names: `gold`, `private`, `shared`, `market`. */
  imageType?: string;
  protected?: boolean;
  /** `os_hidden`: such images alone, or all others. */
  hidden?: boolean;
  containerFormat?: readonly string[];
  diskFormat?: readonly string[];
  minRamMib?: number;
  minDiskGib?: number;
  sizeMin?: number;
  sizeMax?: number;
  architecture?: 'x86' | 'arm';
  /** Systems for servers with so much memory, of this architecture and these names (ims-api 4.1, `flavor_id`). */
  usableWith?: {
    architecture: 'x86' | 'arm';
    ramMib: number;
    without32Bit: boolean;
    osVersions?: readonly string[];
  };
  /** Each one `key`, `key=value` or `key.value`; all of them must be there. */
  tags?: readonly string[];
  createdAt?: readonly TimeCondition[];
  updatedAt?: readonly TimeCondition[];
  /** Attributes by wire name (`__os_type`, `virtual_env_type`, …), values as on the wire. */
  attributes?: Readonly<Record<string, string>>;
  /** Attributes that no image of the list has with this value. */
  withoutAttributes?: Readonly<Record<string, string>>;
}

export interface ImageSort {
  key: ImageSortKey;
  direction: SortDirection;
}

export interface ImageListRequest {
  /** Who asks: what this project does not see is never found. */
  projectId: string;
  filter?: ImageFilter;
  /** Default: `created_at` descending. `id` is always the last key, so the order has no ties. */
  sort?: readonly ImageSort[];
  /** Id of the last image of the previous page. It may have been deleted since. */
  marker?: string;
  limit: number;
}

/** The marker is no image that this project sees or had (400 on the wire, ims-api 4.1). */
export class MarkerNotFoundError extends Error {
  constructor(readonly marker: string) {
    super(`list images: there is no image ${marker} to go on from`);
    this.name = MarkerNotFoundError.name;
  }
}

/**
 * What an image shows where an attribute is unset (ims-api 2.2, 4.2). A filter on such a value also finds images without the attribute, so that
 * a filter always finds what the list shows.
 */
export const IMAGE_ATTRIBUTE_DEFAULTS: Readonly<Record<string, string>> = {
  max_ram: '0',
  virtual_env_type: 'FusionCompute',
  enterprise_project_id: '0',
  hw_firmware_type: 'bios',
  __os_type: 'Other',
  __isregistered: 'true',
  __image_source_type: 'uds',
  __description: '',
  __originalimagename: '',
  __backup_id: '',
};

/** The columns behind the sort keys; what is no column is the same for every image and orders nothing. */
const SORT_COLUMNS: Record<ImageSortKey, { column: Expression<unknown>; value(row: ImageRow): unknown } | undefined> = {
  name: { column: sql.ref('name'), value: (row) => row.name },
  container_format: undefined,
  disk_format: { column: sql.ref('disk_format'), value: (row) => row.disk_format },
  status: { column: sql.ref('status'), value: (row) => row.status },
  id: { column: sql.ref('id'), value: (row) => row.id },
  size: { column: sql`coalesce(file_bytes, 0)`, value: (row) => row.file_bytes ?? 0 },
  created_at: { column: sql.ref('created_at'), value: (row) => row.created_at },
  updated_at: { column: sql.ref('updated_at'), value: (row) => row.updated_at },
};

/** Types of images that everybody sees: public ones, and those that are on the marketplace. Written out in the index `image_public`. */
const PUBLIC_TYPES = ['gold', 'market', 'public'] as const;
const TYPES_OF_IMAGE_TYPE: Readonly<Record<string, readonly string[] | undefined>> = {
  gold: ['gold', 'public'],
  market: ['market'],
};
const CONTAINER_FORMAT = 'bare';
// What waits for the market is looked at by people.
const MAX_LISTINGS = 1000;
// Times on the wire are whole seconds, so an image made at 10:00:00.5 shows 10:00:00 and must be found by it.
const SECOND_MS = 1000;

/**
 * Images as projects see them: reads of the projections `image` and `image_member`. Who sees an image is decided here alone (IMG-02, IMG-07, IMG-13):
 * its owner; everybody, a public one and one that is on the marketplace; and whom its owner shares it with, by its id at once and in lists once it was
 * accepted, as in OpenStack. Deleted and withdrawn images are seen by nobody.
 */
export class ImagesRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /**
   * An image that others descend from, whoever's it is and whether or not it still lives: what it passes on does not end with it. `undefined` for an
   * id that no image ever had here.
   */
  async ancestor(id: string): Promise<ImageRow | undefined> {
    return this.db.selectFrom('image').selectAll().where('id', '=', id).executeTakeFirst();
  }

  /**
   * The image, or `undefined` when the project sees no such live image: an image of somebody else that it does not see is as one that never was. What may
   * be changed is its owner's alone: see `findOwn`. Primary keys.
   */
  async find(projectId: string, imageId: string): Promise<SeenImage | undefined> {
    return seen(await this.#visible(projectId).where('id', '=', imageId).executeTakeFirst());
  }

  /** As `find`, of the project's own images alone. */
  async findOwn(projectId: string, imageId: string): Promise<SeenImage | undefined> {
    return seen(await this.#own(projectId).where('id', '=', imageId).executeTakeFirst());
  }

  /** Whether the project had this image and has it no more: deleted, or withdrawn with the job that was to make it. Primary key. */
  async isGone(projectId: string, imageId: string): Promise<boolean> {
    const row = await this.db
      .selectFrom('image')
      .select('id')
      .where('id', '=', imageId)
      .where('project_id', '=', projectId)
      .where('deleted_at', 'is not', null)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** As `findOwn`, and keeps others from changing the row until the transaction ends: call it on a repository made for that transaction. */
  async findForUpdate(projectId: string, imageId: string): Promise<SeenImage | undefined> {
    return seen(await this.#own(projectId).where('id', '=', imageId).forUpdate().executeTakeFirst());
  }

  /**
   * As `find`, and keeps others from changing the row until the transaction ends. The row is locked before it is looked at who sees it: of a member that
   * uses an image and an owner who takes the share back, one comes first.
   */
  async findSeenForUpdate(projectId: string, imageId: string): Promise<SeenImage | undefined> {
    await this.db.selectFrom('image').select('id').where('id', '=', imageId).forUpdate().executeTakeFirst();
    return this.find(projectId, imageId);
  }

  /** Which of these images the project sees. Primary key, once for each. */
  async seenAmong(projectId: string, imageIds: readonly string[]): Promise<ReadonlySet<string>> {
    if (imageIds.length === 0) return new Set();
    const rows = await this.#visible(projectId)
      .where(sql<SqlBool>`id = any(${[...imageIds]}::text[])`)
      .execute();
    return new Set(rows.map(({ id }) => id));
  }

  /**
   * An image of this very project whatever has become of it, in the recycle bin and gone too, kept from others until the transaction ends. Primary key.
   */
  async findOwnForUpdate(projectId: string, imageId: string): Promise<ImageRow | undefined> {
    return this.db
      .selectFrom('image')
      .selectAll()
      .where('id', '=', imageId)
      .where('project_id', '=', projectId)
      .forUpdate()
      .executeTakeFirst();
  }

  /** Every manifest that the image needs: of its content, when it has one, and of its parts. */
  async manifests(
    image: Pick<ImageRow, 'id' | 'domain_id' | 'manifest_hash'>,
  ): Promise<{ domainId: DedupDomainId; manifestHash: string }[]> {
    return [image, ...(await this.parts(image.id))].flatMap(({ domain_id: domainId, manifest_hash: manifestHash }) =>
      domainId === null || manifestHash === null ? [] : [{ domainId: dedupDomainId(domainId), manifestHash }],
    );
  }

  /** What the image has stored beside its content: the disk in its file, the data disks of a whole server. Primary key. */
  async parts(imageId: string): Promise<ImagePartRow[]> {
    return this.db.selectFrom('image_part').selectAll().where('image_id', '=', imageId).orderBy('part').execute();
  }

  /** Public images that are entries of the catalogue, those that are offered no more among them. Index `image_catalogue`. */
  async catalogued(): Promise<ImageRow[]> {
    return this.db
      .selectFrom('image')
      .selectAll()
      .where('catalogue_key', 'is not', null)
      .where('deleted_at', 'is', null)
      .orderBy('catalogue_key')
      .orderBy('created_at')
      .orderBy('id')
      .execute();
  }

  /** Whether there has ever been a catalogue here. Index `image_catalogue`. */
  async hasCatalogue(): Promise<boolean> {
    const query = this.db.selectFrom('image').select('id').where('catalogue_key', 'is not', null).limit(1);
    return (await query.executeTakeFirst()) !== undefined;
  }

  /** Those versions of the same public image that are still offered beside this one; none of an image that is in no catalogue. */
  async olderVersions(imageId: string): Promise<{ id: ImageId; revision: number }[]> {
    const newest = this.db.selectFrom('image').select('catalogue_key').where('id', '=', imageId);
    const rows = await this.db
      .selectFrom('image')
      .select(['id', sql<number>`(catalogue ->> 'revision')::integer`.as('revision')])
      .where('catalogue_key', '=', newest)
      .where('id', '!=', imageId)
      .where('deleted_at', 'is', null)
      .where('retired_at', 'is', null)
      // One that is still on its way is newer, or will be retired by the next load.
      .where('status', '=', 'active')
      .orderBy('id')
      .execute();
    return rows.map(({ id, revision }) => ({ id: toImageId(id), revision }));
  }

  /** Images that were or are to be listed on the marketplace: of one owner, or of all; the newest change first. Index `image_listing`. */
  async listings(of: { projectId?: string; status?: string }): Promise<ImageRow[]> {
    let query = this.db
      .selectFrom('image')
      .selectAll()
      .where('listing', 'is not', null)
      .where('deleted_at', 'is', null)
      .where('binned_at', 'is', null)
      .orderBy('updated_at', 'desc')
      .orderBy('id')
      .limit(MAX_LISTINGS);
    if (of.projectId !== undefined) query = query.where('project_id', '=', of.projectId);
    if (of.status !== undefined) query = query.where(sql<SqlBool>`listing ->> 'status' = ${of.status}`);
    return query.execute();
  }

  /**
   * The image on its way to the marketplace, locked: one that the project sees; for whoever runs the market also one that was ever asked to be listed.
   */
  async findForMarket(projectId: string, imageId: string): Promise<ImageRow | undefined> {
    const row = await this.findSeenForUpdate(projectId, imageId);
    if (row !== undefined || projectId !== PLATFORM_PROJECT) return row;
    return this.db
      .selectFrom('image')
      .selectAll()
      .where('id', '=', imageId)
      .where('listing', 'is not', null)
      .where('deleted_at', 'is', null)
      .where('binned_at', 'is', null)
      .executeTakeFirst();
  }

  /** As `providersOf`; of two transactions that ask for the same code the second waits for the first. */
  async lockProvidersOf(productCode: string): Promise<string[]> {
    await sql`select pg_advisory_xact_lock(hashtextextended(${`product:${productCode}`}, 0))`.execute(this.db);
    return this.providersOf(productCode);
  }

  /** The projects that have ever asked for a listing under this code. Index `image_product`. */
  async providersOf(productCode: string): Promise<string[]> {
    const rows = await this.db
      .selectFrom('image')
      .select('project_id')
      .distinct()
      .where('listing', 'is not', null)
      .where(sql<SqlBool>`listing ->> 'productCode' = ${productCode}`)
      .execute();
    return rows.map(({ project_id }) => project_id);
  }

  /** Live images of a project. Index `image_page`. */
  async count(projectId: string): Promise<number> {
    const { count } = await this.db
      .selectFrom('image')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .where('project_id', '=', projectId)
      .where('deleted_at', 'is', null)
      .where('binned_at', 'is', null)
      .executeTakeFirstOrThrow();
    return count;
  }

  /**
   * One page. The own images in the default order are served from the index `image_page`, order by name from `image_name`, tags from `image_tags`,
   * attributes from `image_attributes`, public ones from `image_public` and shared ones from `image_member_received`; a deep page costs what the first
   * one does, because it starts at the marker's key.
   *
   * @throws MarkerNotFoundError
   */
  async list({ projectId, filter = {}, sort = [], marker, limit }: ImageListRequest): Promise<SeenImage[]> {
    if (limit === 0) return [];
    const order = totalOrder(sort);
    const behind = marker === undefined ? undefined : after(order, await this.#marker(projectId, marker));
    // Each kind of sight is a range of an index of its own: they are read in order and merged, each no further than the page.
    const pages = this.#found(projectId, filter).map((found) => {
      let page = behind === undefined ? found : found.where(behind);
      for (const { column, direction } of order) page = page.orderBy(column, direction);
      return page.limit(limit);
    });
    const [first, ...others] = pages;
    if (first === undefined) return [];
    if (others.length === 0) return (await first.execute()).map(shownToMember);
    const merged = sql<FoundImage>`
      select * from (${sql.join(
        pages.map((page) => sql`(${page})`),
        sql` union all `,
      )}) as image
      order by ${sql.join(order.map(({ column, direction }) => sql`${column} ${sql.raw(direction)}`))} limit ${limit}`;
    return (await merged.execute(this.db)).rows.map(shownToMember);
  }

  /** The tags of all images that the filter finds, each once and in order; a page of them. Indexes as `list`. */
  async tags(
    projectId: string,
    filter: ImageFilter,
    page: { limit?: number; offset?: number } = {},
  ): Promise<string[]> {
    const found = this.#found(projectId, filter).map((images) => sql`(${images})`);
    if (found.length === 0) return [];
    const { limit = null, offset = 0 } = page;
    const { rows } = await sql<{ tag: string }>`
      select distinct tag collate "C" as tag from (${sql.join(found, sql` union all `)}) as found, unnest(found.tags) as tag
      order by tag limit ${limit} offset ${offset}`.execute(this.db);
    return rows.map(({ tag }) => tag);
  }

  /** What the filter finds, by how it is seen. */
  #found(projectId: string, filter: ImageFilter) {
    if (filter.containerFormat !== undefined && !filter.containerFormat.includes(CONTAINER_FORMAT)) return [];
    return [
      { images: this.#own(projectId), wanted: ofOwner(filter, projectId) },
      { images: this.#public(projectId), wanted: ofEverybody(filter, projectId) },
      { images: this.#received(projectId), wanted: ofMember(filter, projectId) },
    ].flatMap(({ images, wanted }) =>
      wanted === undefined ? [] : [wanted.reduce((found, condition) => found.where(condition), images)],
    );
  }

  /** The image that a page goes on behind: one that the project sees, or one of its own that has been deleted since. */
  async #marker(projectId: string, marker: string): Promise<ImageRow> {
    const row =
      (await this.find(projectId, marker)) ??
      (await this.db
        .selectFrom('image')
        .selectAll()
        .where('id', '=', marker)
        .where('project_id', '=', projectId)
        .executeTakeFirst());
    if (row === undefined) throw new MarkerNotFoundError(marker);
    return row;
  }

  #live(seenAs: RawBuilder<ImageSight['seen_as']>, answer: RawBuilder<MemberStatus | null>) {
    return this.db
      .selectFrom('image')
      .selectAll()
      .select([seenAs.as('seen_as'), HAS_MEMBERS.as('is_shared'), answer.as('member_status')])
      .where('deleted_at', 'is', null)
      .where('binned_at', 'is', null);
  }

  #own(projectId: string) {
    return this.#live(sql.lit('owner'), NO_ANSWER).where('project_id', '=', projectId);
  }

  /** Public images of others; those that are still being made are their owner's. */
  #public(projectId: string) {
    return this.#live(sql.lit('public'), NO_ANSWER)
      .where(isPublic)
      .where('status', '=', 'active')
      .where('project_id', '!=', projectId);
  }

  #received(projectId: string) {
    return this.#live(sql.lit('member'), answerOf(projectId))
      .where('project_id', '!=', projectId)
      .where(sql<SqlBool>`not ${isPublic}`);
  }

  #visible(projectId: string) {
    const seenAs = sql<ImageSight['seen_as']>`case when project_id = ${projectId} then 'owner'
      when ${isPublic} then 'public' else 'member' end`;
    return this.#live(seenAs, answerOf(projectId)).where(
      sql<SqlBool>`(project_id = ${projectId} or (${isPublic} and status = 'active')
        or exists (select from image_member m where m.image_id = image.id and ${isReceivedBy(projectId)}))`,
    );
  }
}

type FoundImage = ImageRow & ImageSight;

const shownToMember = (row: FoundImage): SeenImage => ({
  ...row,
  ...(row.seen_as === 'member' ? { image_type: 'shared' } : { member_status: null }),
});
const seen = (row: FoundImage | undefined): SeenImage | undefined => row && shownToMember(row);

const isPublic = sql<SqlBool>`image_type in (${sql.join(PUBLIC_TYPES.map((type) => sql.lit(type)))})`;
const NO_ANSWER = sql<MemberStatus | null>`null::text`;
// No `exists`: the planner would rather read every member of every image once than look for those of the few images on a page.
const HAS_MEMBERS = sql<boolean>`coalesce((select true from image_member m where m.image_id = image.id limit 1), false)`;

/** Of a row `m` of `image_member`; an answer to a share with an account or an organization stands only as long as that. */
const isReceivedBy = (projectId: string) =>
  sql<SqlBool>`m.member_id = any(image_receivers(${projectId})) and (m.via is null or m.via = any(image_receivers(${projectId})))`;

/** What a project has answered to the share of `image`: its own answer before that of none. */
const answerOf = (projectId: string) => sql<MemberStatus | null>`(select m.status from image_member m
  where m.image_id = image.id and ${isReceivedBy(projectId)} order by m.member_id = ${projectId} desc limit 1)`;

/** Images of others that are shared with the project, by its answer. Index `image_member_received`. */
function isAnswered(projectId: string, status: MemberStatus | 'all'): Expression<SqlBool> {
  const received = sql`select m.image_id from image_member m where ${isReceivedBy(projectId)}`;
  switch (status) {
    case 'all':
      return sql<SqlBool>`id in (${received})`;
    case 'accepted':
    case 'rejected':
      return sql<SqlBool>`id in (${received} and m.member_id = ${projectId} and m.status = ${status})`;
    case 'pending':
      return sql<SqlBool>`(id in (${received} and m.status = 'pending') and ${answerOf(projectId)} = 'pending')`;
    default:
      return status satisfies never;
  }
}

interface OrderTerm {
  column: Expression<unknown>;
  value(row: ImageRow): unknown;
  direction: SortDirection;
}

function totalOrder(sort: readonly ImageSort[]): OrderTerm[] {
  const wanted: readonly ImageSort[] = sort.length === 0 ? [{ key: 'created_at', direction: 'desc' }] : sort;
  const terms: OrderTerm[] = [];
  const seen = new Set<ImageSortKey>();
  // The tie breaker runs in the direction of the first key: then a page is one range of the index.
  for (const { key, direction } of [...wanted, { key: 'id', direction: wanted[0]?.direction ?? 'desc' } as const]) {
    const target = SORT_COLUMNS[key];
    if (target === undefined || seen.has(key)) continue;
    seen.add(key);
    terms.push({ ...target, direction });
    if (key === 'id') break;
  }
  return terms;
}

/** Rows behind `row` in this order. */
function after(order: readonly OrderTerm[], row: ImageRow): Expression<SqlBool> {
  const [first] = order;
  if (first !== undefined && order.every(({ direction }) => direction === first.direction)) {
    const columns = sql.join(order.map(({ column }) => column));
    const values = sql.join(order.map(({ value }) => sql`${value(row)}`));
    return first.direction === 'asc'
      ? sql<SqlBool>`(${columns}) > (${values})`
      : sql<SqlBool>`(${columns}) < (${values})`;
  }
  const alternatives = order.map((term, n) => {
    const equal = order.slice(0, n).map(({ column, value }) => sql`${column} = ${value(row)}`);
    const beyond =
      term.direction === 'asc' ? sql`${term.column} > ${term.value(row)}` : sql`${term.column} < ${term.value(row)}`;
    return sql`(${sql.join([...equal, beyond], sql` and `)})`;
  });
  return sql<SqlBool>`(${sql.join(alternatives, sql` or `)})`;
}

type Conditions = readonly Expression<SqlBool>[];

/** The filter as it is for images of the project itself; `undefined` where it finds none of them. */
function ofOwner(filter: ImageFilter, projectId: string): Conditions | undefined {
  const { visibility = 'all', imageType } = filter;
  if (filter.owner !== undefined && filter.owner !== projectId) return undefined;
  if (imageType === 'shared') return undefined;
  const found = [...conditions(filter)];
  if (imageType !== undefined) found.push(oneOf('image_type', TYPES_OF_IMAGE_TYPE[imageType] ?? [imageType]));
  switch (visibility) {
    case 'all':
      return found;
    case 'private':
      return [...found, oneOf('image_type', ['private']), sql<SqlBool>`not ${HAS_MEMBERS}`];
    case 'shared':
      return [...found, oneOf('image_type', ['private']), HAS_MEMBERS];
    case 'public':
      return [...found, oneOf('image_type', PUBLIC_TYPES)];
    default:
      return undefined;
  }
}

/** The same for public images of others, and for what is on the marketplace. */
function ofEverybody(filter: ImageFilter, projectId: string): Conditions | undefined {
  const { visibility = 'all', imageType, owner } = filter;
  if (owner === projectId || !['all', 'public'].includes(visibility)) return undefined;
  if (imageType !== undefined && TYPES_OF_IMAGE_TYPE[imageType] === undefined) return undefined;
  const found = ofOthers(filter);
  if (imageType === undefined) return found;
  return found && [...found, oneOf('image_type', TYPES_OF_IMAGE_TYPE[imageType] ?? [])];
}

/** The same for images that others share with the project. */
function ofMember(filter: ImageFilter, projectId: string): Conditions | undefined {
  const { visibility = 'all', imageType = 'shared', owner, id } = filter;
  if (owner === projectId || !['all', 'shared'].includes(visibility) || imageType !== 'shared') return undefined;
  const found = ofOthers(filter);
  // A client that reads an image by listing it finds what it finds by its id.
  return found && [...found, isAnswered(projectId, filter.memberStatus ?? (id === undefined ? 'accepted' : 'all'))];
}

/** Where an owner files an image is the owner's affair: to others it is in no enterprise project but the default one. */
function ofOthers(filter: ImageFilter): Conditions | undefined {
  const { enterprise_project_id: enterpriseProject, ...attributes } = filter.attributes ?? {};
  if (enterpriseProject !== undefined && enterpriseProject !== '0') return undefined;
  const { owner } = filter;
  return [...conditions({ ...filter, attributes }), ...(owner === undefined ? [] : [oneOf('project_id', [owner])])];
}

function* conditions(filter: ImageFilter): Iterable<Expression<SqlBool>> {
  if (filter.id !== undefined) yield oneOf('id', filter.id);
  if (filter.name !== undefined) yield oneOf('name', filter.name);
  if (filter.nameContains !== undefined) {
    yield sql<SqlBool>`strpos(lower(name), lower(${filter.nameContains})) > 0`;
  }
  if (filter.status !== undefined) yield oneOf('status', filter.status);
  if (filter.protected !== undefined) yield sql<SqlBool>`protected = ${filter.protected}`;
  if (filter.hidden !== undefined) yield sql<SqlBool>`hidden = ${filter.hidden}`;
  if (filter.diskFormat !== undefined) yield oneOf('disk_format', filter.diskFormat);
  if (filter.minRamMib !== undefined) yield sql<SqlBool>`min_ram_mib = ${filter.minRamMib}`;
  if (filter.minDiskGib !== undefined) yield sql<SqlBool>`min_disk_gib = ${filter.minDiskGib}`;
  if (filter.sizeMin !== undefined) yield sql<SqlBool>`coalesce(file_bytes, 0) >= ${filter.sizeMin}`;
  if (filter.sizeMax !== undefined) yield sql<SqlBool>`coalesce(file_bytes, 0) <= ${filter.sizeMax}`;
  // An image is for arm exactly when it says so (ims-api 4.1).
  if (filter.architecture !== undefined) yield isFor(filter.architecture);
  if (filter.usableWith !== undefined) yield* conditionsOfUse(filter.usableWith);
  if (filter.tags !== undefined && filter.tags.length > 0) {
    yield sql<SqlBool>`tag_terms @> ${[...filter.tags]}::text[]`;
  }
  for (const condition of filter.createdAt ?? []) yield atTime('created_at', condition);
  for (const condition of filter.updatedAt ?? []) yield atTime('updated_at', condition);
  for (const [name, value] of Object.entries(filter.attributes ?? {})) yield hasAttribute(name, value);
  for (const [name, value] of Object.entries(filter.withoutAttributes ?? {}))
    yield sql<SqlBool>`not ${hasAttribute(name, value)}`;
}

const isFor = (architecture: 'x86' | 'arm'): Expression<SqlBool> =>
  architecture === 'arm'
    ? hasAttribute('__support_arm', 'true')
    : sql<SqlBool>`not ${hasAttribute('__support_arm', 'true')}`;

function* conditionsOfUse({
  architecture,
  ramMib,
  without32Bit,
  osVersions,
}: NonNullable<ImageFilter['usableWith']>): Iterable<Expression<SqlBool>> {
  yield hasAttribute('virtual_env_type', 'FusionCompute');
  yield isFor(architecture);
  if (without32Bit) yield sql<SqlBool>`not ${hasAttribute('__os_bit', '32')}`;
  yield sql<SqlBool>`min_ram_mib <= ${ramMib}`;
  // 0 is no limit, and so is what is no number.
  yield sql<SqlBool>`case when attributes->>'max_ram' ~ '^[1-9][0-9]{0,9}$' then (attributes->>'max_ram')::bigint >= ${ramMib} else true end`;
  if (osVersions !== undefined) yield sql<SqlBool>`attributes->>'__os_version' = any(${[...osVersions]}::text[])`;
}

function oneOf(column: keyof ImageRow, values: readonly string[]): Expression<SqlBool> {
  return sql<SqlBool>`${sql.ref(column)} = any(${[...values]}::text[])`;
}

function atTime(column: 'created_at' | 'updated_at', { operator, at }: TimeCondition): Expression<SqlBool> {
  const second = sql.ref(column);
  const next = sql`${at}::timestamptz + ${SECOND_MS} * interval '1 millisecond'`;
  switch (operator) {
    case 'gt':
      return sql<SqlBool>`${second} >= ${next}`;
    case 'gte':
      return sql<SqlBool>`${second} >= ${at}`;
    case 'lt':
      return sql<SqlBool>`${second} < ${at}`;
    case 'lte':
      return sql<SqlBool>`${second} < ${next}`;
    case 'eq':
      return sql<SqlBool>`(${second} >= ${at} and ${second} < ${next})`;
    case 'neq':
      return sql<SqlBool>`(${second} < ${at} or ${second} >= ${next})`;
    default:
      return operator satisfies never;
  }
}

/** Attributes are stored with their own types and asked for as text, so a value that reads like a boolean or a number may be one. */
function hasAttribute(name: string, value: string): Expression<SqlBool> {
  const forms: unknown[] = [value];
  if (/^(true|false)$/i.test(value)) forms.push(value.toLowerCase() === 'true', value.toLowerCase());
  // Only numbers that print the same again: "007" is a text.
  if (/^-?\d+(\.\d+)?$/.test(value) && String(Number(value)) === value) forms.push(Number(value));
  const alternatives = forms.map((form) => sql`attributes @> ${JSON.stringify({ [name]: form })}::jsonb`);
  if (Object.hasOwn(IMAGE_ATTRIBUTE_DEFAULTS, name) && IMAGE_ATTRIBUTE_DEFAULTS[name] === value) {
    alternatives.push(sql`not attributes ? ${name}`);
  }
  return sql<SqlBool>`(${sql.join(alternatives, sql` or `)})`;
}
