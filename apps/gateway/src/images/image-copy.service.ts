import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { type CopyImageRequest, imageAttributes, imageId, isImageId, type JobAccepted, projectId } from '@ims/contract';
import { type Database, ImagesRepository } from '@ims/db';
import { type CopyableImage, type CopyImageCommand, decideCopyImage, keyOf } from '@ims/domain';
import { freshJobId } from '@ims/job-engine';
import { findUsableImage } from '@ims/neighbours';
import { Kysely } from 'kysely';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { JobAcceptance, UNLIMITED } from '../jobs/job-acceptance';
import { ImageKeys } from '../keys/image-keys';
import { lineageFromRow } from './image-lineage';

/** Accepts copies of images in their region (ims-api 7.1). */
@Injectable()
export class ImageCopyService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly jobs: JobAcceptance,
    private readonly keys: ImageKeys,
    private readonly config: GatewayConfig,
  ) {}

  async copy(caller: Call, id: string, request: CopyImageRequest, isSafeMode = false): Promise<JobAccepted> {
    const command: CopyImageCommand = {
      projectId: projectId(caller.projectId),
      jobId: freshJobId(),
      imageId: imageId(randomUUID()),
      region: this.config.region,
      request,
    };
    const image = await this.#imageOf(this.db, caller, id);
    // What is wrong with the request itself is said without queueing for the project's quota.
    decideCopyImage({ image, imageQuota: UNLIMITED }, command);
    if (image !== undefined) await this.keys.check(caller, keyOf(image.attributes), { of: 'source', isSafeMode });
    await this.keys.check(caller, request.cmk_id, { isSafeMode });
    const jobId = await this.jobs.accept(caller, {
      quotas: ['image'],
      decide: async (quotas, trx) => {
        const source = await this.#imageOf(trx, caller, id);
        const { events, input } = decideCopyImage({ image: source, imageQuota: quotas.image }, command);
        return {
          jobId: command.jobId,
          events,
          starts: [{ type: 'imageCopy', input, summary: `Copy image as ${input.imageName}` }],
          foreseen: () => ({
            bytes: source?.disk?.virtualSizeBytes ?? null,
            productCodes: [source?.lineage.productCode ?? null],
          }),
        };
      },
    });
    return { job_id: jobId };
  }

  async #imageOf(db: Kysely<Database>, caller: Call, id: string): Promise<CopyableImage | undefined> {
    const row = isImageId(id) ? await new ImagesRepository(db).find(caller.projectId, id) : undefined;
    const found = row === undefined ? undefined : await findUsableImage(db, caller.projectId, id);
    if (row === undefined || found === undefined) return undefined;
    return {
      ...found.image,
      attributes: imageAttributes.parse(row.attributes),
      lineage: lineageFromRow(row),
      memberStatus: row.member_status,
    };
  }
}
