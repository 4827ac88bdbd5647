import { Inject, Injectable } from '@nestjs/common';
import { type DeleteImageRequest, imageId, ImsError, isImageId, projectId, SYSTEM } from '@ims/contract';
import {
  chargeOf,
  type Clock,
  type Database,
  type ImageRow,
  ImagesRepository,
  inTransaction,
  JobsRepository,
  OutboxRepository,
  QuotaRepository,
  UsageRepository,
} from '@ims/db';
import { decideDeleteImage } from '@ims/domain';
import { appendEvents, type EventContext } from '@ims/event-log';
import { jobOutbox } from '@ims/job-engine';
import { refuseBackupDeletion } from '@ims/neighbours';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import type { ReadableStore, SourceCloud } from '../app-parts';
import { GatewayConfig } from '../config';
import { CLOCK, CLOUD, IMAGE_STORE } from '../http/injection-tokens';
import { EngineCalls } from '../jobs/engine-calls';
import { noSuchImage } from './image-reads.service';

@Injectable()
export class ImageDeleteService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly engine: EngineCalls,
    private readonly config: GatewayConfig,
    @Inject(IMAGE_STORE) private readonly store: ReadableStore,
    @Inject(CLOUD) private readonly cloud: SourceCloud,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * The image is gone with the commit: from every list, from the quota, from the bill. What lies outside of the transaction follows by a job of
   * its own (its backup is free again or deleted too), its bytes when the collector comes by. Of two deletions at once the second finds no image.
   */
  async remove(caller: Call, id: string, options: DeleteImageRequest | undefined): Promise<void> {
    if (!isImageId(id)) throw noSuchImage();
    const isBackupDeleted = options?.delete_backup === true;
    if (isBackupDeleted) await this.#refuseLastingBackup(caller.projectId, id);
    await this.#remove(caller.projectId, id, {
      isBackupDeleted,
      contextOf: (jobId) => eventContext(caller, { jobId }),
    });
  }

  /** The same for an image that should never have come about, whatever has been done with it since; one that has gone is as well. */
  async removeUnwanted(project: string, id: string): Promise<void> {
    try {
      await this.#remove(project, id, {
        // The backup that came with it should not have come about either.
        isBackupDeleted: true,
        isForced: true,
        contextOf: (jobId) => ({ projectId: project, actor: SYSTEM, jobId }),
      });
    } catch (error) {
      if (!(error instanceof ImsError) || error.code !== 'IMG.0144') throw error;
    }
  }

  async #remove(
    project: string,
    id: string,
    options: { isBackupDeleted: boolean; isForced?: boolean; contextOf(jobId: string): EventContext },
  ): Promise<void> {
    const { isBackupDeleted, isForced = false, contextOf } = options;
    const outboxId = await inTransaction(this.db, async (trx) => {
      // Before the image is read: a step commits under this lock too, so a deletion comes before or after the last one, never across it.
      const jobs = new JobsRepository(trx);
      const hasMaker = await jobs.lockMakerOf(project, id);
      // Deletions of a project come one after the other, each reading what the one before it left.
      await QuotaRepository.lock(trx, project, []);
      const images = new ImagesRepository(trx);
      // Whoever is about to accept bytes for a waiting image holds it so, and sees it gone or keeps it.
      // One that others see too is told apart from one that is not there (ims-api 12.6).
      const row = (await images.findForUpdate(project, id)) ?? (await images.find(project, id));
      // A job may have been accepted for a waiting image while this call waited for its turn.
      const isBeingMade = hasMaker || (await jobs.isBeingMade(project, id));
      const usages = await new UsageRepository(trx).findOpen(id);
      const image = row && {
        ...deletable(row),
        ...(isForced ? { protected: false } : {}),
        isBeingMade,
        charges: usages.map(chargeOf),
      };
      const { events, input } = decideDeleteImage(image, {
        projectId: projectId(project),
        isBackupDeleted,
      });
      await appendEvents(trx, contextOf(input.jobId), events, this.clock);
      for (const manifest of row === undefined ? [] : await images.manifests(row))
        await this.store.release(trx, { imageId: imageId(id), ...manifest });
      return new OutboxRepository(trx).add(
        jobOutbox({ type: 'imageDelete', input, summary: `Delete image ${input.imageName}` }, this.config.region),
      );
    });
    await this.engine.start(outboxId);
  }

  /** What is known to fail is said before the image is gone. What fails later fails the job of the deletion, with the same code. */
  async #refuseLastingBackup(project: string, id: string): Promise<void> {
    const row = await new ImagesRepository(this.db).findOwn(project, id);
    const backupId = row && backupOf(row);
    if (backupId == null) return;
    const refusal = refuseBackupDeletion(await this.cloud.backups.get(project, backupId));
    if (refusal !== undefined) throw new ImsError(refusal.code, refusal.detail);
  }
}

const deletable = (row: ImageRow) => ({
  id: imageId(row.id),
  projectId: projectId(row.project_id),
  name: row.name,
  backupId: backupOf(row),
  status: row.status,
  imageType: row.image_type,
  protected: row.protected,
});

function backupOf(row: ImageRow): string | null {
  const { attributes } = row;
  if (typeof attributes !== 'object' || attributes === null || !('__backup_id' in attributes)) return null;
  return typeof attributes['__backup_id'] === 'string' ? attributes['__backup_id'] : null;
}
