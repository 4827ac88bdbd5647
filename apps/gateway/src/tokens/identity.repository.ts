import { Injectable } from '@nestjs/common';
import type { Database } from '@ims/db';
import { Kysely, type Selectable } from 'kysely';

export type ProjectRow = Selectable<Database['project']>;
export type AccountRow = Selectable<Database['account']>;

export interface ProjectFilter {
  accountId: string;
  id?: string;
  name?: string;
  isEnabled?: boolean;
}

/** Accounts, users and projects, read. Every method is bound to one account: nobody sees another's. */
@Injectable()
export class IdentityRepository {
  constructor(private readonly db: Kysely<Database>) {}

  account(id: string): Promise<AccountRow | undefined> {
    return this.db.selectFrom('account').selectAll().where('id', '=', id).executeTakeFirst();
  }

  user(
    accountId: string,
    id: string,
  ): Promise<{ id: string; name: string; authz_epoch: number; permissions: string[] } | undefined> {
    return this.db
      .selectFrom('iam_user')
      .select(['id', 'name', 'authz_epoch', 'permissions'])
      .where('account_id', '=', accountId)
      .where('id', '=', id)
      .executeTakeFirst();
  }

  /** In the order of their names. `page` counts from 1. */
  projects(filter: ProjectFilter, { page, perPage }: { page: number; perPage: number }): Promise<ProjectRow[]> {
    return this.#matching(filter)
      .selectAll()
      .orderBy('name')
      .limit(perPage)
      .offset((page - 1) * perPage)
      .execute();
  }

  async project(filter: ProjectFilter): Promise<ProjectRow | undefined> {
    return this.#matching(filter).selectAll().executeTakeFirst();
  }

  #matching({ accountId, id, name, isEnabled }: ProjectFilter) {
    let query = this.db.selectFrom('project').where('account_id', '=', accountId);
    if (id !== undefined) query = query.where('id', '=', id);
    if (name !== undefined) query = query.where('name', '=', name);
    if (isEnabled !== undefined) query = query.where('enabled', '=', isEnabled);
    return query;
  }
}
