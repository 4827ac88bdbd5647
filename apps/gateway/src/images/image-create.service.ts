import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import {
  type ImageLineage,
  type CreateDataImageRequest,
  type CreateImageRequest,
  type CreateWholeImageRequest,
  imageId,
  type JobAccepted,
  projectId,
  type QuickImportRequest,
} from '@ims/contract';
import { type Database, ImagesRepository, UsageRepository } from '@ims/db';
import {
  batchSizeOf,
  type CreateBatchCommand,
  type CreateDoor,
  type CreateImageCommand,
  decideCreateBatch,
  decideCreateImage,
} from '@ims/domain';
import { freshJobId, imageBatchWorkflow, imageCreateWorkflow } from '@ims/job-engine';
import type { Transaction } from 'kysely';
import { actionToCreate, type Call, checkAction } from '../access/permits';
import { GatewayConfig } from '../config';
import { type Foreseen, JobAcceptance, UNLIMITED } from '../jobs/job-acceptance';
import { ImageKeys } from '../keys/image-keys';
import { lineageOf } from './image-lineage';
import { ImageSources } from './image-sources';

/** Accepts the making of an image: decided and recorded in one transaction, then started (design 3). */
@Injectable()
export class ImageCreateService {
  constructor(
    private readonly jobs: JobAcceptance,
    private readonly sources: ImageSources,
    private readonly images: ImagesRepository,
    private readonly keys: ImageKeys,
    private readonly config: GatewayConfig,
  ) {}

  async create(caller: Call, request: CreateImageRequest, isSafeMode = false): Promise<JobAccepted> {
    const size = batchSizeOf(request);
    if (size !== undefined) return this.#acceptBatch(caller, request, size, isSafeMode);
    const server = await this.sources.serverOf(caller.projectId, request);
    const volume = await this.sources.volumeOf(caller.projectId, request);
    return this.#accept(caller, 'images', request, isSafeMode, {
      ...(server === undefined ? {} : { server }),
      ...(volume === undefined ? {} : { volume }),
    });
  }

  createDataImage(caller: Call, request: CreateDataImageRequest, isSafeMode = false): Promise<JobAccepted> {
    return this.#accept(caller, 'data-images', request, isSafeMode);
  }

  async importQuick(caller: Call, request: QuickImportRequest, isSafeMode = false): Promise<JobAccepted> {
    checkAction(caller, actionToCreate(request.type));
    return this.#accept(caller, 'quick-import', request, isSafeMode);
  }

  async createWholeImage(caller: Call, request: CreateWholeImageRequest): Promise<JobAccepted> {
    return this.#accept(caller, 'whole-images', request, false, await this.sources.wholeOf(caller.projectId, request));
  }

  async #accept(
    caller: Call,
    door: CreateDoor,
    request: CreateImageCommand['request'],
    isSafeMode: boolean,
    source: Pick<CreateImageCommand, 'server' | 'backup' | 'wholeServer' | 'volume'> = {},
  ): Promise<JobAccepted> {
    const lineage = await lineageOf(
      this.images,
      source.server?.imageId ?? source.backup?.imageId ?? source.wholeServer?.imageId ?? source.volume?.imageId ?? null,
    );
    const command: CreateImageCommand = {
      projectId: projectId(caller.projectId),
      jobId: freshJobId(),
      imageId: imageId(randomUUID()),
      request,
      door,
      maxTags: this.config.maxTags,
      ...source,
      ...(lineage === undefined ? {} : { lineage }),
    };
    // What is wrong with the request itself is said without queueing for the project's quota.
    decideCreateImage({ imageQuota: UNLIMITED, createTaskQuota: UNLIMITED }, command);
    await this.keys.check(caller, request.cmk_id, { isSafeMode });
    const jobId = await this.jobs.accept(caller, {
      quotas: ['image', 'create_task'],
      decide: (quotas, trx) => {
        const { events, input } = decideCreateImage(
          { imageQuota: quotas.image, createTaskQuota: quotas.create_task },
          command,
        );
        return {
          jobId: command.jobId,
          events,
          starts: [imageCreateWorkflow(input)],
          foreseen: () => foreseenOf(command, trx),
        };
      },
    });
    return { job_id: jobId };
  }

  /** Several images by a job of their own each, under one that waits for them: accepted together or not at all. */
  async #acceptBatch(
    caller: Call,
    request: CreateImageRequest,
    size: number,
    isSafeMode: boolean,
  ): Promise<JobAccepted> {
    const volumes = await this.sources.dataDisksOf(caller.projectId, request);
    const lineages = new Map<string, ImageLineage>();
    for (const { imageId: from } of volumes) {
      const lineage = await lineageOf(this.images, from);
      if (from !== null && lineage !== undefined) lineages.set(from, lineage);
    }
    const jobIds = Array.from({ length: size }, freshJobId).sort();
    const command: CreateBatchCommand = {
      projectId: projectId(caller.projectId),
      jobId: freshJobId(),
      parts: jobIds.map((id) => ({ jobId: id, imageId: imageId(randomUUID()) })),
      request,
      volumes,
      lineages,
      maxTags: this.config.maxTags,
    };
    decideCreateBatch({ imageQuota: UNLIMITED, createTaskQuota: UNLIMITED }, command);
    await this.keys.check(caller, request.cmk_id, { isSafeMode });
    const jobId = await this.jobs.accept(caller, {
      quotas: ['image', 'create_task'],
      decide: (quotas) => {
        const { events, batch, images } = decideCreateBatch(
          { imageQuota: quotas.image, createTaskQuota: quotas.create_task },
          command,
        );
        return {
          jobId: command.jobId,
          events,
          starts: [...images.map((input) => imageCreateWorkflow(input)), imageBatchWorkflow(batch)],
          foreseen: () => ({
            bytes: volumes.length === 0 ? null : GIB * volumes.reduce((sum, { sizeGib }) => sum + sizeGib, 0),
            productCodes: volumes.map(({ imageId: from }) => lineages.get(from ?? '')?.productCode ?? null),
          }),
        };
      },
    });
    return { job_id: jobId };
  }
}

const GIB = 2 ** 30;

/** A disk is read whole at most; how long a file is only workers see, and what a backup holds is known when it is read. */
async function foreseenOf(
  { server, backup, wholeServer, volume, lineage }: CreateImageCommand,
  trx: Transaction<Database>,
): Promise<Foreseen> {
  const disk = server?.systemDiskGib ?? volume?.sizeGib ?? wholeServer?.sizeGib;
  return {
    bytes: disk === undefined ? null : disk * GIB,
    isWholeServer: backup !== undefined || wholeServer !== undefined,
    // One payer, once.
    isBackupCharged: backup !== undefined && (await new UsageRepository(trx).findOpenOfBackup(backup.id)) !== undefined,
    productCodes: [lineage?.productCode ?? null],
  };
}
