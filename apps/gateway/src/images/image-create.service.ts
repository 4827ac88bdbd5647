import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import {
  type CreateDataImageRequest,
  type CreateImageRequest,
  type CreateWholeImageRequest,
  imageId,
  type JobAccepted,
  jobId,
  projectId,
  type QuickImportRequest,
} from '@ims/contract';
import { type Clock, type Database, inTransaction, OutboxRepository, QuotaRepository } from '@ims/db';
import { type CreateDoor, type CreateImageCommand, decideCreateImage } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { imageCreateOutbox } from '@ims/job-engine';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import { actionToCreate, type Call, checkAction } from '../access/permits';
import { GatewayConfig } from '../config';
import { CLOCK } from '../http/injection-tokens';
import { EngineCalls } from '../jobs/engine-calls';
import { ImageSources } from './image-sources';

const UNTOUCHED = { limit: null, used: 0, reserved: 0 };

/** Accepts the making of an image: decided and recorded in one transaction, then started (design 3). */
@Injectable()
export class ImageCreateService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly engine: EngineCalls,
    private readonly sources: ImageSources,
    private readonly config: GatewayConfig,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async create(caller: Call, request: CreateImageRequest): Promise<JobAccepted> {
    const server = await this.sources.serverOf(caller.projectId, request);
    return this.#accept(caller, 'images', request, server === undefined ? {} : { server });
  }

  createDataImage(caller: Call, request: CreateDataImageRequest): Promise<JobAccepted> {
    return this.#accept(caller, 'data-images', request);
  }

  async importQuick(caller: Call, request: QuickImportRequest): Promise<JobAccepted> {
    checkAction(caller, actionToCreate(request.type));
    return this.#accept(caller, 'quick-import', request);
  }

  async createWholeImage(caller: Call, request: CreateWholeImageRequest): Promise<JobAccepted> {
    const backup = await this.sources.backupOf(caller.projectId, request);
    return this.#accept(caller, 'whole-images', request, { backup });
  }

  async #accept(
    caller: Call,
    door: CreateDoor,
    request: CreateImageCommand['request'],
    source: Pick<CreateImageCommand, 'server' | 'backup'> = {},
  ): Promise<JobAccepted> {
    const command: CreateImageCommand = {
      projectId: projectId(caller.projectId),
      jobId: jobId(randomUUID().replaceAll('-', '')),
      imageId: imageId(randomUUID()),
      request,
      door,
      ...source,
    };
    // What is wrong with the request itself is said without queueing for the project's quota.
    decideCreateImage({ imageQuota: UNTOUCHED, createTaskQuota: UNTOUCHED }, command);
    const outboxId = await inTransaction(this.db, async (trx) => {
      const quotas = await QuotaRepository.lock(trx, command.projectId, ['image', 'create_task']);
      const { events, input } = decideCreateImage(
        { imageQuota: quotas.image, createTaskQuota: quotas.create_task },
        command,
      );
      await appendEvents(trx, eventContext(caller, { jobId: command.jobId }), events, this.clock);
      return new OutboxRepository(trx).add(imageCreateOutbox(input, this.config.region));
    });
    await this.engine.start(outboxId);
    return { job_id: command.jobId };
  }
}
