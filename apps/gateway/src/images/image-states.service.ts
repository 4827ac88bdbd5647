import { Inject, Injectable } from '@nestjs/common';
import {
  type DeprecationRequest,
  imageId,
  isImageId,
  type LegalHold,
  projectId,
  type ReasonedRequest,
  type Revocation,
  type TakenBackRequest,
} from '@ims/contract';
import { type Clock, type Database, type ImageRow, ImagesRepository, inTransaction, JobsRepository } from '@ims/db';
import {
  decideDeactivate,
  decideDeprecate,
  decideEndDeprecation,
  decideHold,
  decideReactivate,
  decideReinstate,
  decideReleaseHold,
  decideRevoke,
  type DomainEvent,
  type StateCommand,
  type StatefulImage,
} from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import { CLOCK } from '../http/injection-tokens';
import { noSuchImage } from './image-reads.service';

/** What is decided about the use of an image, each with its way back: legal hold, deactivation, deprecation, revocation. */
@Injectable()
export class ImageStatesService {
  constructor(
    private readonly db: Kysely<Database>,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async hold(caller: Call, id: string, { reason }: ReasonedRequest): Promise<LegalHold> {
    const command = { ...commandOf(caller), reason, by: caller.userName };
    return holdOf(await this.#apply(caller, id, (image) => decideHold(image, command)));
  }

  async releaseHold(caller: Call, id: string, request: TakenBackRequest | undefined): Promise<void> {
    const command = { ...commandOf(caller), reason: request?.reason ?? null, by: caller.userName };
    await this.#apply(caller, id, (image) => decideReleaseHold(image, command));
  }

  /** @throws ImsError IMG.0144 (404) for an image that is not the caller's, or that nothing holds */
  async showHold(caller: Call, id: string): Promise<LegalHold> {
    const row = isImageId(id) ? await new ImagesRepository(this.db).ancestor(id) : undefined;
    if (row?.project_id !== caller.projectId) throw noSuchImage();
    return holdOf(row);
  }

  async deactivate(caller: Call, id: string): Promise<void> {
    const command = { ...commandOf(caller), dialect: 'openstack' as const };
    await this.#apply(caller, id, (image) => decideDeactivate(image, command));
  }

  async reactivate(caller: Call, id: string): Promise<void> {
    const command = { ...commandOf(caller), dialect: 'openstack' as const };
    await this.#apply(caller, id, (image) => decideReactivate(image, command));
  }

  async deprecate(caller: Call, id: string, request: DeprecationRequest): Promise<void> {
    const at = request.deprecated_at == null ? this.clock.now() : new Date(request.deprecated_at);
    const replacementImageId = request.replacement_image_id ?? null;
    await this.#apply(caller, id, async (image, images) => {
      const isReplacementKnown =
        replacementImageId !== null &&
        isImageId(replacementImageId) &&
        (await images.find(caller.projectId, replacementImageId)) !== undefined;
      return decideDeprecate(image, { ...commandOf(caller), at, replacementImageId, isReplacementKnown });
    });
  }

  async endDeprecation(caller: Call, id: string): Promise<void> {
    await this.#apply(caller, id, (image) => decideEndDeprecation(image, commandOf(caller)));
  }

  async revoke(caller: Call, id: string, { reason }: ReasonedRequest): Promise<Revocation> {
    const row = await this.#apply(caller, id, (image) => decideRevoke(image, { ...commandOf(caller), reason }));
    if (row.revoked_at === null) throw noSuchImage();
    return { image_id: row.id, reason: row.revoke_reason ?? '', revoked_at: row.revoked_at.toISOString() };
  }

  async reinstate(caller: Call, id: string, request: TakenBackRequest | undefined): Promise<void> {
    const command = { ...commandOf(caller), reason: request?.reason ?? null };
    await this.#apply(caller, id, (image) => decideReinstate(image, command));
  }

  /** Decides on an image under its lock, after that of the job that may be making it, and records what was decided. */
  async #apply(
    caller: Call,
    id: string,
    decide: (
      image: StatefulImage | undefined,
      images: ImagesRepository,
    ) => readonly DomainEvent[] | Promise<readonly DomainEvent[]>,
  ): Promise<ImageRow> {
    if (!isImageId(id)) throw noSuchImage();
    return inTransaction(this.db, async (trx) => {
      const jobs = new JobsRepository(trx);
      const images = new ImagesRepository(trx);
      const { projectId: project } = caller;
      const hasMaker = await jobs.lockMakerOf(project, id);
      // Somebody else's image is looked at for the words of the refusal alone.
      const row = (await images.findOwnForUpdate(project, id)) ?? (await images.find(project, id));
      const isBeingMade = hasMaker || (await jobs.isBeingMade(project, id));
      await appendEvents(
        trx,
        eventContext(caller),
        await decide(row && stateful(row, isBeingMade), images),
        this.clock,
      );
      const changed = await images.ancestor(id);
      if (changed === undefined) throw noSuchImage();
      return changed;
    });
  }
}

const commandOf = ({ projectId: project, requestId }: Call): StateCommand => ({
  projectId: projectId(project),
  requestId,
});

const stateful = (row: ImageRow, isBeingMade: boolean): StatefulImage => ({
  id: imageId(row.id),
  projectId: projectId(row.project_id),
  name: row.name,
  imageType: row.image_type,
  status: row.status,
  isGone: row.deleted_at !== null,
  isBinned: row.binned_at !== null,
  isBeingMade,
  holdReason: row.hold_reason,
  deprecation: row.deprecated_at === null ? null : { at: row.deprecated_at, replacementImageId: row.replacement_id },
  revokeReason: row.revoke_reason,
});

function holdOf(row: ImageRow): LegalHold {
  const { id, hold_reason: reason, held_by: by, held_at: at } = row;
  if (reason === null || at === null) throw noSuchImage();
  return { image_id: id, reason, held_by: by ?? '', held_at: at.toISOString() };
}
