import { type Kysely, type Selectable, sql } from 'kysely';
import type { Database } from '../db-types';

export type ImageMemberRow = Selectable<Database['image_member']>;

/** Whom images are shared with: reads of the projection `image_member`, and of who there is to share with. */
export class ImageMembersRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** Everybody that its owner named, and with `via` the answers of projects that have it by another one; by id. Primary key. */
  async of(imageId: string): Promise<ImageMemberRow[]> {
    return this.db
      .selectFrom('image_member')
      .selectAll()
      .where('image_id', '=', imageId)
      .orderBy('member_id')
      .execute();
  }

  /** Ids by which an image can be shared with a project: its own, its account's, and those of what that is in of an organization. */
  async receivers(projectId: string): Promise<string[]> {
    const { rows } = await sql<{ ids: string[] }>`select image_receivers(${projectId}) as ids`.execute(this.db);
    return rows[0]?.ids ?? [projectId];
  }

  /** Which of the ids are projects, accounts or parts of organizations of this region that can be shared with. Primary keys. */
  async known(ids: readonly string[]): Promise<{ id: string; type: 'project' | 'domain' | 'organization' }[]> {
    if (ids.length === 0) return [];
    const { rows } = await sql<{ id: string; type: 'project' | 'domain' | 'organization' }>`
      select p.id, 'project' as type from project p join account a on a.id = p.account_id
        where p.id = any(${[...ids]}::text[]) and p.enabled and a.enabled
      union all select a.id, 'domain' from account a where a.id = any(${[...ids]}::text[]) and a.enabled
      union all select distinct o.id, 'organization' from organization_account o where o.id = any(${[...ids]}::text[])`.execute(
      this.db,
    );
    return rows;
  }
}
