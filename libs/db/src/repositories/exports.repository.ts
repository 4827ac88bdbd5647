import { type Kysely, type Selectable, sql } from 'kysely';
import type { Database } from '../db-types';

export type ExportUploadRow = Selectable<Database['export_upload']>;

/** A part of an object that the store has, and what is needed to make what follows it. */
export interface ExportedPart {
  part: number;
  sizeBytes: number;
  /** MD5 of the part as it was sent, hex. */
  md5: string;
  /** The store's own words for it. */
  etag: string;
  /** As its writer had it; plain data. */
  mark: unknown;
}

/** Uploads of exports under way. Rows live as long as their job. */
export class ExportsRepository {
  constructor(private readonly db: Kysely<Database>) {}

  async find(jobId: string): Promise<ExportUploadRow | undefined> {
    return this.db.selectFrom('export_upload').selectAll().where('job_id', '=', jobId).executeTakeFirst();
  }

  /**
   * Takes the name of the object for this job; `undefined` when another job that has not ended has it, or when this one has: a worker that was stopped
   * for long must not begin what is undone already. An ended job may have left its name: what it could not undo must not keep it for ever.
   */
  async claim(row: {
    jobId: string;
    bucket: string;
    key: string;
    partBytes: number;
    foreignUploads: readonly string[];
  }): Promise<ExportUploadRow | undefined> {
    await this.db
      .deleteFrom('export_upload')
      .where('bucket', '=', row.bucket)
      .where('object_key', '=', row.key)
      .where(({ exists, selectFrom }) =>
        exists(
          selectFrom('job')
            .select('id')
            .whereRef('job.id', '=', 'export_upload.job_id')
            .where('outcome', 'is not', null),
        ),
      )
      .execute();
    await this.db
      .insertInto('export_upload')
      .columns(['job_id', 'bucket', 'object_key', 'part_bytes', 'foreign_uploads'])
      .expression((eb) =>
        eb
          .selectFrom('job')
          .select(({ val }) => [
            'id',
            val(row.bucket).as('bucket'),
            val(row.key).as('object_key'),
            sql<number>`${row.partBytes}::bigint`.as('part_bytes'),
            sql<string>`${JSON.stringify(row.foreignUploads)}::jsonb`.as('foreign_uploads'),
          ])
          .where('id', '=', row.jobId)
          .where('outcome', 'is', null)
          .where('cancel_reason', 'is', null),
      )
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    return this.find(row.jobId);
  }

  /** `false` when the job has no row any more. */
  async setUpload(jobId: string, uploadId: string): Promise<boolean> {
    const { numUpdatedRows } = await this.db
      .updateTable('export_upload')
      .set({ upload_id: uploadId })
      .where('job_id', '=', jobId)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  /** Forgets an upload that is gone; `false` when it is not the job's any more. */
  async clearUpload(jobId: string, uploadId: string): Promise<boolean> {
    const { numUpdatedRows } = await this.db
      .updateTable('export_upload')
      .set({ upload_id: null })
      .where('job_id', '=', jobId)
      .where('upload_id', '=', uploadId)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async setSha256(jobId: string, sha256: string): Promise<void> {
    await this.db.updateTable('export_upload').set({ sha256 }).where('job_id', '=', jobId).execute();
  }

  /** By number. Primary key. */
  async parts(jobId: string): Promise<ExportedPart[]> {
    const rows = await this.db
      .selectFrom('export_part')
      .selectAll()
      .where('job_id', '=', jobId)
      .orderBy('part')
      .execute();
    return rows.map(({ part, size_bytes: sizeBytes, md5, etag, mark }) => ({ part, sizeBytes, md5, etag, mark }));
  }

  /** A part that was sent again is as the last one. */
  async putPart(jobId: string, { part, sizeBytes, md5, etag, mark }: ExportedPart): Promise<void> {
    const values = { size_bytes: sizeBytes, md5, etag, mark: JSON.stringify(mark) };
    await this.db
      .insertInto('export_part')
      .values({ job_id: jobId, part, ...values })
      .onConflict((conflict) => conflict.columns(['job_id', 'part']).doUpdateSet(values))
      .execute();
  }

  /** Drops the parts from this one on: they have to be made again. */
  async dropParts(jobId: string, from: number): Promise<void> {
    await this.db.deleteFrom('export_part').where('job_id', '=', jobId).where('part', '>=', from).execute();
  }

  /** Forgets an upload that is over. */
  async forget(jobId: string): Promise<void> {
    await this.db.deleteFrom('export_upload').where('job_id', '=', jobId).execute();
  }
}
