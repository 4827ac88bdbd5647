import { Inject, Injectable } from '@nestjs/common';
import { dedupDomainId, type DeleteImageRequest, imageId, isImageId, projectId } from '@ims/contract';
import {
  type Clock,
  type Database,
  type ImageRow,
  ImagesRepository,
  inTransaction,
  JobsRepository,
  UsageRepository,
} from '@ims/db';
import { decideDeleteImage } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import type { ReadableStore } from '../app-parts';
import { CLOCK, IMAGE_STORE } from '../http/injection-tokens';
import { noSuchImage } from './image-reads.service';

@Injectable()
export class ImageDeleteService {
  constructor(
    private readonly db: Kysely<Database>,
    @Inject(IMAGE_STORE) private readonly store: ReadableStore,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * The image is gone with the commit; its bytes follow when the collector comes by. Two deletions at once end as one: the second finds the
   * events recorded. `delete_backup` concerns images with a backup, of which there are none yet, and so changes nothing.
   */
  async remove(caller: Call, id: string, _options: DeleteImageRequest | undefined): Promise<void> {
    if (!isImageId(id)) throw noSuchImage();
    await inTransaction(this.db, async (trx) => {
      // Before the image is read: a step commits under this lock too, so a deletion comes before or after the last one, never across it.
      const isBeingMade = await new JobsRepository(trx).lockMakerOf(caller.projectId, id);
      const images = new ImagesRepository(trx);
      const row = await images.find(caller.projectId, id);
      const usages = await new UsageRepository(trx).findOpen(id);
      const image = row && { ...deletable(row), isBeingMade, openUsageIds: usages.map((usage) => usage.id) };
      const { events } = decideDeleteImage(image, { projectId: projectId(caller.projectId) });
      await appendEvents(trx, eventContext(caller), events, this.clock);
      if (row === undefined) return;
      for (const { domain_id: domainId, manifest_hash: manifestHash } of [row, ...(await images.parts(id))]) {
        if (domainId === null || manifestHash === null) continue;
        await this.store.release(trx, { imageId: imageId(id), domainId: dedupDomainId(domainId), manifestHash });
      }
    });
  }
}

const deletable = (row: ImageRow) => ({
  id: imageId(row.id),
  projectId: projectId(row.project_id),
  status: row.status,
  imageType: row.image_type,
  protected: row.protected,
});
