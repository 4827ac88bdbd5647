import type { QuotaResource } from '@ims/contract';
import { type Kysely, type Transaction, sql } from 'kysely';
import type { Database } from '../db-types';

export interface QuotaState {
  /** `null`: nobody has set one, the service's default holds. */
  limit: number | null;
  used: number;
  reserved: number;
}

const UNTOUCHED: QuotaState = { limit: null, used: 0, reserved: 0 };

/** Quotas of a project: reads of the projection `quota`. */
export class QuotaRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** One resource; one that no event has touched is empty and without a limit of its own. */
  async read(projectId: string, resource: QuotaResource): Promise<QuotaState> {
    return (await this.readAll(projectId, [resource]))[resource];
  }

  /** Several at once, as of one moment. */
  async readAll<R extends QuotaResource>(projectId: string, resources: readonly R[]): Promise<Record<R, QuotaState>> {
    const rows =
      resources.length === 0
        ? []
        : await this.db
            .selectFrom('quota')
            .select(['resource', 'quota_limit', 'used', 'reserved'])
            .where('project_id', '=', projectId)
            .where('resource', 'in', resources)
            .execute();
    const found = new Map(rows.map((row) => [row.resource, row]));
    const states: Partial<Record<R, QuotaState>> = {};
    for (const resource of resources) {
      const row = found.get(resource);
      states[resource] =
        row === undefined ? UNTOUCHED : { limit: row.quota_limit, used: row.used, reserved: row.reserved };
    }
    // Every key of the record was just set.
    return states as Record<R, QuotaState>;
  }

  /**
   * Several resources, held until the transaction ends: nobody else who calls this decides about them meanwhile (CRE-23).
   * The lock is on the project, not on rows, because the first reservation of a project has no row to lock yet.
   */
  static async lock<R extends QuotaResource>(
    trx: Transaction<Database>,
    projectId: string,
    resources: readonly R[],
  ): Promise<Record<R, QuotaState>> {
    await sql`select pg_advisory_xact_lock(hashtextextended(${`quota:${projectId}`}, 0))`.execute(trx);
    return new QuotaRepository(trx).readAll(projectId, resources);
  }
}
