import { randomUUID } from 'node:crypto';
import {
  type CatalogueDocument,
  catalogueFacts,
  type CatalogueLoaded,
  imageAttributes,
  imageId,
  PLATFORM_PROJECT,
} from '@ims/contract';
import {
  type Clock,
  type Database,
  type ImageRow,
  ImagesRepository,
  inTransaction,
  OutboxRepository,
  QuotaRepository,
} from '@ims/db';
import { type CataloguedImage, decideCatalogue } from '@ims/domain';
import { appendEvents, type EventContext } from '@ims/event-log';
import { type Kysely, sql } from 'kysely';
import { freshJobId } from './fresh-job-id';
import { imageCreateWorkflow, jobOutbox } from './outbox';

// Any fixed number; it keeps gateways that start at once from making the same image twice.
const CATALOGUE_LOCK = 4_731_916;

export interface LoadedCatalogue extends CatalogueLoaded {
  /** Workflows that are to be started now; otherwise the relay does it. */
  outboxIds: number[];
}

/**
 * Makes the public images of the region what a catalogue says, in one transaction (IMG-04, ADV-04). From any number of processes at once, any number of
 * times: the same catalogue again changes nothing.
 *
 * @param contextOf who does it, and by which job, where one brings the bytes of an image
 * @throws ImsError as `decideCatalogue`
 */
export async function loadCatalogue(
  { db, region, clock }: { db: Kysely<Database>; region: string; clock: Clock },
  document: CatalogueDocument,
  contextOf: (jobId: string | undefined) => EventContext,
): Promise<LoadedCatalogue> {
  return inTransaction(db, async (trx) => {
    await sql`select pg_advisory_xact_lock(${CATALOGUE_LOCK})`.execute(trx);
    // Before the images, as everybody who changes what the quotas count.
    await QuotaRepository.lock(trx, PLATFORM_PROJECT, ['image', 'create_task']);
    const known = (await new ImagesRepository(trx).catalogued()).map(cataloguedOf);
    const changes = decideCatalogue(document, known, { imageId: () => imageId(randomUUID()), jobId: freshJobId });
    const outbox = new OutboxRepository(trx);
    const outboxIds: number[] = [];
    for (const { events, input } of changes) {
      await appendEvents(trx, contextOf(input?.jobId), events, clock);
      if (input !== undefined) outboxIds.push(await outbox.add(jobOutbox(imageCreateWorkflow(input), region)));
    }
    return { entries: changes.map(({ report }) => report), outboxIds };
  });
}

function cataloguedOf(row: ImageRow): CataloguedImage {
  const { status } = row;
  // The repository has left those out.
  if (status === 'deleted' || status === 'killed')
    throw new TypeError(`image ${row.id} is gone and still in the catalogue`);
  return {
    id: imageId(row.id),
    status,
    name: row.name,
    minDiskGib: row.min_disk_gib,
    minRamMib: row.min_ram_mib,
    attributes: imageAttributes.parse(row.attributes),
    catalogue: catalogueFacts.parse(row.catalogue),
    isRetired: row.retired_at !== null,
  };
}
