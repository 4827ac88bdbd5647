import { Inject, Injectable } from '@nestjs/common';
import { type DeleteImageRequest, ImsError, isImageId, projectId, SYSTEM } from '@ims/contract';
import {
  type Clock,
  type Database,
  ImagesRepository,
  inTransaction,
  JobsRepository,
  QuotaRepository,
  RecycleBinRepository,
} from '@ims/db';
import { decideBinImage, decideDeleteImage, goesToBin, retentionOf } from '@ims/domain';
import { appendEvents, type EventContext } from '@ims/event-log';
import { backupOf, deletableOf, purgeImage, recordRemoval } from '@ims/job-engine';
import { refuseBackupDeletion } from '@ims/neighbours';
import { Kysely, type Transaction } from 'kysely';
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
   * Where the project keeps deleted images, it is gone from lists and quota alone, and waits in the recycle bin.
   */
  async remove(caller: Call, id: string, options: DeleteImageRequest | undefined): Promise<void> {
    if (!isImageId(id)) throw noSuchImage();
    const isBackupDeleted = options?.delete_backup === true;
    if (isBackupDeleted) await this.#refuseLastingBackup(caller.projectId, id);
    await this.#remove(caller.projectId, id, {
      isBackupDeleted,
      requestId: caller.requestId,
      contextOf: (about) => eventContext(caller, about),
    });
  }

  /** The same for an image that should never have come about, whatever has been done with it since; one that has gone is as well. */
  async removeUnwanted(project: string, id: string): Promise<void> {
    try {
      await this.#remove(project, id, {
        // The backup that came with it should not have come about either.
        isBackupDeleted: true,
        isForced: true,
        requestId: 'unwanted',
        contextOf: (about) => ({ projectId: project, actor: SYSTEM, ...about }),
      });
    } catch (error) {
      if (!isNotThere(error)) throw error;
      await this.#purgeUnwanted(project, id);
    }
  }

  /** Its owner has put it into the recycle bin meanwhile; it must not come back from there. */
  async #purgeUnwanted(project: string, id: string): Promise<void> {
    const { db, clock, store, config } = this;
    const contextOf = (jobId: string): EventContext => ({ projectId: project, actor: SYSTEM, jobId });
    try {
      const parts = { db, clock, store, region: config.region };
      await this.engine.start(await purgeImage(parts, { projectId: project, imageId: id, contextOf }));
    } catch (error) {
      if (!isNotThere(error)) throw error;
    }
  }

  async #remove(
    project: string,
    id: string,
    options: {
      isBackupDeleted: boolean;
      isForced?: boolean;
      requestId: string;
      contextOf(about: { jobId?: string }): EventContext;
    },
  ): Promise<void> {
    const { isBackupDeleted, isForced = false, requestId, contextOf } = options;
    const { db, clock, store, config } = this;
    const outboxId = await inTransaction(db, async (trx) => {
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
      const image = row && {
        ...(await deletableOf(trx, row, { isBeingMade })),
        ...(isForced ? { protected: false } : {}),
      };
      const command = { projectId: projectId(project), isBackupDeleted };
      // What should never have come about is not kept either.
      const retentionDays = isForced ? 0 : await this.#retentionDays(trx, project);
      if (image !== undefined && goesToBin(image, retentionDays)) {
        const events = decideBinImage(image, { ...command, retentionDays, now: clock.now(), requestId });
        await appendEvents(trx, contextOf({}), events, clock);
        return undefined;
      }
      const decided = decideDeleteImage(image, command);
      const parts = { db, clock, store, region: config.region };
      return recordRemoval(trx, parts, row, decided, contextOf({ jobId: decided.input.jobId }));
    });
    if (outboxId !== undefined) await this.engine.start(outboxId);
  }

  async #retentionDays(trx: Transaction<Database>, project: string): Promise<number> {
    return retentionOf(await new RecycleBinRepository(trx).retentionDays(project), this.config.retentionDays);
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

const isNotThere = (error: unknown): boolean => error instanceof ImsError && error.code === 'IMG.0144';
