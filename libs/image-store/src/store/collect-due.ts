import type { Database } from '@ims/db';
import { type Kysely, sql } from 'kysely';
import type { CollectRules } from './collect';

/**
 * Whether the collector would remove or rewrite anything: its own conditions, asked of the rows in one statement that ends at the first finding.
 * Dead segments come last because looking for them is what takes time in a clean store (an anti-join over the segment index).
 */
export async function isCollectionDue(db: Kysely<Database>, { graceMs, rewriteBelow }: CollectRules): Promise<boolean> {
  const graceEnd = sql`now() - ${graceMs} * interval '1 millisecond'`;
  const { rows } = await sql<{ due: boolean }>`
    select
      exists (
        select from segment_hold h where not exists (select from job j where j.id = h.job_id and j.outcome is null)
      ) or exists (
        select from manifest_hold h
        where h.job_id ~ '^[0-9a-f]{32}$' and not exists (select from job j where j.id = h.job_id and j.outcome is null)
      ) or exists (
        select from pack p
        where p.state = 'open'
          and (p.job_id is null or not exists (select from job j where j.id = p.job_id and j.outcome is null))
      ) or exists (
        select from manifest m
        where not m.published and (m.released_at is null or m.released_at <= ${graceEnd})
          and not exists (select from manifest_hold h where h.domain_id = m.domain_id and h.hash = m.hash)
      ) or exists (
        select from pack p where p.state = 'retired' and p.retired_at <= ${graceEnd}
      ) or exists (
        select from pack p
        where p.state = 'sealed' and p.live_bytes::double precision / p.size_bytes < ${rewriteBelow}
          and (p.live_bytes > 0 or not exists (select from segment s where s.pack_id = p.id))
      ) or exists (
        select from segment s
        where not exists (select from segment_hold h where h.domain_id = s.domain_id and h.key = s.key)
          and not exists (select from manifest_segment m where m.domain_id = s.domain_id and m.key = s.key)
      ) as due`.execute(db);
  return rows[0]?.due === true;
}
