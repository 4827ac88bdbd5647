import { Inject, Injectable } from '@nestjs/common';
import {
  imageId,
  ImsError,
  isImageId,
  type JobAccepted,
  type JobId,
  projectId,
  type RegisterImageRequest,
} from '@ims/contract';
import { type Database, type ImageRow, ImagesRepository, JobsRepository } from '@ims/db';
import { checkIsWaiting, decideUpload, type UploadCommand, type UploadedFrom, type WaitingImage } from '@ims/domain';
import { freshJobId, imageCreateWorkflow } from '@ims/job-engine';
import { StagedFileMissingError, type StagedFiles } from '@ims/staging';
import { Kysely, type Transaction } from 'kysely';
import type { Call } from '../access/permits';
import { STAGED_FILES } from '../http/injection-tokens';
import { JobAcceptance } from '../jobs/job-acceptance';
import { noSuchImage } from './image-reads.service';

/** Accepts jobs that bring the bytes of images made without any (ims-api 6.6, 12.7). */
@Injectable()
export class ImageUploadService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly jobs: JobAcceptance,
    @Inject(STAGED_FILES) private readonly staged: StagedFiles,
  ) {}

  /** Imports a file of a bucket into a waiting image. */
  async register(caller: Call, id: string, request: RegisterImageRequest): Promise<JobAccepted> {
    return { job_id: await this.accept(caller, id, { by: 'registration', imageUrl: request.image_url ?? '' }) };
  }

  /** The image as it is for whoever may bring its bytes, kept so until the transaction ends. */
  lockWaiting(trx: Transaction<Database>, caller: Call, id: string): Promise<WaitingImage | undefined> {
    return this.#waiting(trx, caller, id, (images) => images.findForUpdate(caller.projectId, id));
  }

  /** Fails as `accept` would for what can be said before a byte has arrived. */
  async checkIsWaiting(caller: Call, id: string): Promise<WaitingImage> {
    return checkIsWaiting(await this.#waiting(this.db, caller, id, (images) => images.findOwn(caller.projectId, id)), {
      projectId: projectId(caller.projectId),
      from: 'upload',
    });
  }

  /**
   * Accepts the job and starts it. Of several calls for one image one wins. A staged file belongs to the job from the commit on.
   *
   * @param expectedStatus what the image is while bytes come by this way; `queued` when left out
   * @throws ImsError as `decideUpload`; IMG.0046 (409) when the staged file went to somebody else
   */
  async accept(
    caller: Call,
    id: string,
    from: UploadedFrom,
    expectedStatus: UploadCommand['expectedStatus'] = 'queued',
  ): Promise<JobId> {
    const command: UploadCommand = {
      projectId: projectId(caller.projectId),
      jobId: freshJobId(),
      from,
      expectedStatus,
    };
    return this.jobs.accept(caller, {
      quotas: ['create_task'],
      decide: async (quotas, trx) => {
        // Whoever holds the row decides; the one who waited for it sees the winner's job.
        const image = await this.lockWaiting(trx, caller, id);
        const { events, input } = decideUpload({ image, createTaskQuota: quotas.create_task }, command);
        if (from.by === 'upload') await this.#claim(trx, from, command.jobId);
        return { jobId: command.jobId, events, starts: [imageCreateWorkflow(input)] };
      },
    });
  }

  async #claim(
    trx: Transaction<Database>,
    { stagedId, sizeBytes }: Extract<UploadedFrom, { by: 'upload' }>,
    job: JobId,
  ): Promise<void> {
    try {
      await this.staged.claim(trx, stagedId, job, sizeBytes);
    } catch (error) {
      if (error instanceof StagedFileMissingError)
        throw new ImsError('IMG.0046', 'another upload of this image has taken over', 409);
      throw error;
    }
  }

  async #waiting(
    db: Kysely<Database>,
    caller: Call,
    id: string,
    read: (images: ImagesRepository) => Promise<ImageRow | undefined>,
  ): Promise<WaitingImage | undefined> {
    if (!isImageId(id)) throw noSuchImage();
    const row = await read(new ImagesRepository(db));
    if (row === undefined) return undefined;
    return {
      id: imageId(row.id),
      projectId: projectId(row.project_id),
      name: row.name,
      status: row.status,
      diskFormat: row.disk_format,
      minDiskGib: row.min_disk_gib,
      // Written by the projection of image events alone, whose schema is an object of scalars.
      attributes: row.attributes as Record<string, unknown>,
      isBeingMade: await new JobsRepository(db).isBeingMade(caller.projectId, id),
    };
  }
}
