import { Inject, Injectable } from '@nestjs/common';
import {
  type BucketFile,
  checksumKeyOf,
  type ExportImageRequest,
  imageAttributes,
  ImsError,
  isImageId,
  type JobAccepted,
  projectId,
} from '@ims/contract';
import { type Database, type ImageRow, ImagesRepository, JobsRepository } from '@ims/db';
import { checkExportBucket, decideExportImage, type ExportableImage, isEncrypted, keyOf } from '@ims/domain';
import { freshJobId } from '@ims/job-engine';
import { findUsableImage } from '@ims/neighbours';
import { Kysely } from 'kysely';
import type { Call } from '../access/permits';
import type { TargetBuckets } from '../app-parts';
import { GatewayConfig } from '../config';
import { BUCKETS } from '../http/injection-tokens';
import { JobAcceptance } from '../jobs/job-acceptance';
import { ImageKeys } from '../keys/image-keys';

/** Accepts exports of images into buckets (ims-api 6.7). */
@Injectable()
export class ImageExportService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly jobs: JobAcceptance,
    private readonly keys: ImageKeys,
    private readonly config: GatewayConfig,
    @Inject(BUCKETS) private readonly buckets: TargetBuckets | null,
  ) {}

  async export(caller: Call, id: string, request: ExportImageRequest, isSafeMode = false): Promise<JobAccepted> {
    const command = {
      projectId: projectId(caller.projectId),
      jobId: freshJobId(),
      request,
      settings: this.config.exports,
    };
    const find = async (images: ImagesRepository, lock: boolean) => {
      if (!isImageId(id)) return undefined;
      const own = lock ? await images.findForUpdate(caller.projectId, id) : undefined;
      return own ?? images.find(caller.projectId, id);
    };
    // Looked at twice: a bucket may take long to answer, and nothing is held meanwhile.
    const seen = await find(new ImagesRepository(this.db), false);
    const { input: foreseen } = decideExportImage(seen && (await exportable(this.db, seen)), command);
    // Without its key an encrypted image cannot be read (EXP-06).
    if (seen !== undefined)
      await this.keys.check(caller, keyOf(imageAttributes.parse(seen.attributes)), { isSafeMode });
    await this.#checkTarget(foreseen.target);
    const accepted = await this.jobs.accept(caller, {
      decide: async (_quotas, trx) => {
        // Whoever holds the row decides; the one who waited for it sees the export of the one before (IMG.0148).
        const row = await find(new ImagesRepository(trx), true);
        const image = row && (await exportable(trx, row));
        const { events, input } = decideExportImage(image, command);
        return {
          jobId: command.jobId,
          events,
          starts: [{ type: 'imageExport', input, summary: `Export image ${input.imageName}` }],
          foreseen: () => ({ bytes: image?.disk?.virtualSizeBytes ?? null }),
        };
      },
    });
    return { job_id: accepted };
  }

  /** What is known to fail is said at once, where this process can see the bucket; the job looks again (EXP-07). */
  async #checkTarget({ bucket, key }: BucketFile): Promise<void> {
    if (this.buckets === null) return;
    const { region } = this.config;
    checkExportBucket(await this.buckets.describeBucket(bucket), { name: bucket, region });
    for (const name of [key, checksumKeyOf(key)])
      if ((await this.buckets.pin({ bucket, key: name })) !== undefined) throw new ImsError('IMG.0070', name);
  }
}

async function exportable(db: Kysely<Database>, row: ImageRow): Promise<ExportableImage> {
  const attributes = imageAttributes.parse(row.attributes);
  const text = (name: string): string | undefined => {
    const value = attributes[name];
    return value === undefined || value === null || value === '' ? undefined : String(value);
  };
  const usable = (await findUsableImage(db, row.project_id, row.id))?.image;
  return {
    id: row.id,
    name: row.name,
    status: row.status,
    imageType: row.image_type,
    virtualEnvType: text('virtual_env_type') ?? 'FusionCompute',
    isWholeServer: text('__whole_image') === 'true' || (usable?.dataDisks.length ?? 0) > 0,
    backupId: text('__backup_id'),
    isEncrypted: isEncrypted(attributes),
    productCode: row.product_code ?? text('__productcode'),
    publicPlatform: row.public_platform ?? undefined,
    disk: usable?.disk,
    isBeingExported: await new JobsRepository(db).isBeingExported(row.project_id, row.id),
  };
}
