import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import {
  type GlanceImage,
  IMPORT_METHODS,
  imageId,
  type ImageId,
  type ImageMetadataRequest,
  ImsError,
  isImageId,
  projectId,
} from '@ims/contract';
import { type Clock, type Database, ImagesRepository, inTransaction, QuotaRepository } from '@ims/db';
import { decideCreateMetadata } from '@ims/domain';
import { appendEvents, EventConflictError } from '@ims/event-log';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import { Answer } from '../http/answer';
import { GatewayConfig } from '../config';
import { CLOCK } from '../http/injection-tokens';
import { keepAnswer } from '../idempotency/kept-answer';
import { toGlanceImage } from './image.glance';

const CONFLICT = 409;
const UNTOUCHED = { limit: null, used: 0, reserved: 0 };

/** Images that get their bytes later (ims-api 12.3). */
@Injectable()
export class ImageMetadataService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly config: GatewayConfig,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** @throws ImsError as `decideCreateMetadata`; IMG.0066 for an id that is none, with status 409 for one that is taken, also by an image that is gone */
  async create(caller: Call, request: ImageMetadataRequest): Promise<GlanceImage> {
    const command = {
      projectId: projectId(caller.projectId),
      imageId: idOf(request.id),
      request,
      maxTags: this.config.maxTags,
    };
    decideCreateMetadata({ imageQuota: UNTOUCHED }, command);
    return inTransaction(this.db, async (trx) => {
      const { image: imageQuota } = await QuotaRepository.lock(trx, command.projectId, ['image']);
      const { events } = decideCreateMetadata({ imageQuota }, command);
      try {
        const results = await appendEvents(trx, eventContext(caller), events, this.clock);
        // The same call again, to the letter: the log has it, and the image is somebody's already.
        if (!results.every(({ appended }) => appended)) throw idIsTaken();
      } catch (error) {
        if (error instanceof EventConflictError) throw idIsTaken();
        throw error;
      }
      const row = await new ImagesRepository(trx).find(caller.projectId, command.imageId);
      if (row === undefined) throw new TypeError(`image ${command.imageId} was made and is not there`);
      const image = toGlanceImage(row);
      await keepAnswer(trx, caller, this.clock, created(image));
      return image;
    });
  }
}

/** The answer to a new image. */
export const created = (image: GlanceImage): Answer =>
  new Answer(201, image, {
    Location: image.self,
    // Clients that are told to import look here; without being told they send the bytes by PUT all the same (libraries, rule 7).
    'OpenStack-image-import-methods': IMPORT_METHODS.join(','),
  });

const idIsTaken = (): ImsError => new ImsError('IMG.0066', 'the id is taken', CONFLICT);

function idOf(chosen: string | null | undefined): ImageId {
  if (chosen == null) return imageId(randomUUID());
  const id = chosen.toLowerCase();
  if (!isImageId(id)) throw new ImsError('IMG.0066', 'an id is a UUID');
  return imageId(id);
}
