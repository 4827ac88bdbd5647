import { type Database, sqlState } from '@ims/db';
import type { Transaction } from 'kysely';
import type { BaseReferences, ImageDiskRef } from '../disk-image.port';
import { NeighbourError } from '../neighbour.errors';

const FOREIGN_KEY_VIOLATION = '23503';

/**
 * Base references as manifest holds: the rows by which the image store's collector already spares the manifests of running jobs, under a holder that
 * no job id can equal. The foreign key decides the race with a collection: whoever comes second fails.
 */
export class ManifestHolds implements BaseReferences {
  async hold(trx: Transaction<Database>, holder: string, ref: ImageDiskRef): Promise<void> {
    try {
      await trx
        .insertInto('manifest_hold')
        .values({ job_id: holder, domain_id: ref.domainId, hash: ref.manifestHash })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    } catch (error) {
      if (sqlState(error) !== FOREIGN_KEY_VIOLATION) throw error;
      throw new NeighbourError('NOT_FOUND', `disk of image ${ref.imageId}`, { cause: error });
    }
  }

  async release(trx: Transaction<Database>, holder: string): Promise<void> {
    await trx.deleteFrom('manifest_hold').where('job_id', '=', holder).execute();
  }
}
