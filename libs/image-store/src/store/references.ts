import { CONTENT, type DedupDomainId, type ImageId, type JobId } from '@ims/contract';
import type { Database } from '@ims/db';
import { sql, type Transaction } from 'kysely';
import { NotHeldError } from '../errors';
import type { ImageReferences } from '../image-store.port';

/** References of published images, taken and dropped in the transaction of the step's event (design 4, "Holds and collection"). */
export const references: ImageReferences<Transaction<Database>> = {
  async publish(
    trx,
    {
      jobId,
      part = CONTENT,
      domainId,
      manifestHash,
    }: { jobId: JobId; imageId: ImageId; part?: string; domainId: DedupDomainId; manifestHash: string },
  ): Promise<void> {
    // The row lock settles who comes first: publish, release and the collector all take it.
    const manifest = await trx
      .updateTable('manifest')
      .set({ published: true, released_at: null })
      .where('domain_id', '=', domainId)
      .where('hash', '=', manifestHash)
      .returning('segment_count as segmentCount')
      .executeTakeFirst();
    if (manifest === undefined) throw new NotHeldError(jobId, manifestHash, 'there is no such manifest');
    const dropped = await trx
      .deleteFrom('manifest_hold')
      .where('job_id', '=', jobId)
      .where('part', '=', part)
      .where('domain_id', '=', domainId)
      .where('hash', '=', manifestHash)
      .returning('hash')
      .executeTakeFirst();
    if (dropped === undefined) throw new NotHeldError(jobId, manifestHash, 'the job does not hold it');
    // One statement, so that the collector sees each segment held or referenced at every moment.
    const { rows } = await sql<{ held: number }>`
      with held as (
        delete from segment_hold where job_id = ${jobId} and part = ${part} and domain_id = ${domainId} returning key
      ), referenced as (
        insert into manifest_segment (domain_id, manifest_hash, key)
        select distinct ${domainId}::uuid, ${manifestHash}::text, key from held
        on conflict do nothing
      )
      select count(*)::integer as held from held`.execute(trx);
    const held = rows[0]?.held ?? 0;
    if (held !== manifest.segmentCount) {
      throw new NotHeldError(jobId, manifestHash, `the job holds ${held} of ${manifest.segmentCount} segments`);
    }
  },

  async release(
    trx,
    { imageId, domainId, manifestHash }: { imageId: ImageId; domainId: DedupDomainId; manifestHash: string },
  ): Promise<void> {
    const locked = await trx
      .selectFrom('manifest')
      .select('hash')
      .where('domain_id', '=', domainId)
      .where('hash', '=', manifestHash)
      .where('published', '=', true)
      .forUpdate()
      .executeTakeFirst();
    if (locked === undefined) return;
    // Asked after the lock: two images of one manifest that go at the same time see each other one after the other.
    const other = await trx
      .selectFrom('image')
      .select('id')
      .where('domain_id', '=', domainId)
      .where('manifest_hash', '=', manifestHash)
      .where('deleted_at', 'is', null)
      .where('id', '<>', imageId)
      .limit(1)
      .executeTakeFirst();
    const part = await trx
      .selectFrom('image_part')
      .innerJoin('image', 'image.id', 'image_part.image_id')
      .select('image.id')
      .where('image_part.domain_id', '=', domainId)
      .where('image_part.manifest_hash', '=', manifestHash)
      .where('image.deleted_at', 'is', null)
      .where('image.id', '<>', imageId)
      .limit(1)
      .executeTakeFirst();
    if (other !== undefined || part !== undefined) return;
    // References stay for the grace of open readers; the collector drops them with the manifest.
    await trx
      .updateTable('manifest')
      .set({ published: false, released_at: sql`date_trunc('milliseconds', now())` })
      .where('domain_id', '=', domainId)
      .where('hash', '=', manifestHash)
      .execute();
  },
};
