import { Inject, Injectable } from '@nestjs/common';
import { isImageId } from '@ims/contract';
import { type Clock, type Database, ImagesRepository, inTransaction, type SeenImage } from '@ims/db';
import type { DomainEvent } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import { CLOCK } from '../http/injection-tokens';
import { noSuchImage } from './image-reads.service';

/** Short changes of one image: decided on its row and recorded in one transaction. */
@Injectable()
export class ImageChanges {
  constructor(
    private readonly db: Kysely<Database>,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * Whoever holds the row decides; the one who waited for it sees the change of the one before, so two at once lose nothing.
   *
   * @param decide gets the image as its owner has it, or as others see it, or `undefined`
   * @returns the image as it has become
   * @throws ImsError what `decide` throws, IMG.0144 (404) where it leaves an image that is not there alone
   */
  async apply(
    caller: Call,
    id: string,
    decide: (image: SeenImage | undefined) => readonly DomainEvent[],
  ): Promise<SeenImage> {
    return inTransaction(this.db, async (trx) => {
      const images = new ImagesRepository(trx);
      const find = async (lock: boolean) => {
        if (!isImageId(id)) return undefined;
        const own = lock ? await images.findForUpdate(caller.projectId, id) : undefined;
        return own ?? images.find(caller.projectId, id);
      };
      const events = decide(await find(true));
      await appendEvents(trx, eventContext(caller), events, this.clock);
      const changed = await find(false);
      if (changed === undefined) throw noSuchImage();
      return changed;
    });
  }
}
