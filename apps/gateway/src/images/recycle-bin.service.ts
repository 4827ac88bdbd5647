import { Inject, Injectable } from '@nestjs/common';
import {
  imageId,
  isImageId,
  projectId,
  type RecycleBin,
  type RecycleBinQuery,
  type RecycleBinRequest,
} from '@ims/contract';
import {
  type Clock,
  type Database,
  ImagesRepository,
  inTransaction,
  QuotaRepository,
  RecycleBinRepository,
} from '@ims/db';
import { decideRestoreImage, decideRetention, retentionOf } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { purgeImage } from '@ims/job-engine';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import type { ReadableStore } from '../app-parts';
import { GatewayConfig } from '../config';
import { CLOCK, IMAGE_STORE } from '../http/injection-tokens';
import { EngineCalls } from '../jobs/engine-calls';
import { noSuchImage } from './image-reads.service';

const DEFAULT_LIMIT = 100;

/** Images that their project has deleted and can still have back. */
@Injectable()
export class RecycleBinService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly engine: EngineCalls,
    private readonly config: GatewayConfig,
    @Inject(IMAGE_STORE) private readonly store: ReadableStore,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async show(caller: Call, { limit = DEFAULT_LIMIT, marker }: RecycleBinQuery): Promise<RecycleBin> {
    const bin = new RecycleBinRepository(this.db);
    const chosen = await bin.retentionDays(caller.projectId);
    const rows = await bin.list(caller.projectId, { limit: limit + 1, marker });
    const shown = rows.slice(0, limit);
    const last = rows.length > shown.length ? shown.at(-1) : undefined;
    return {
      retention_days: retentionOf(chosen, this.config.retentionDays),
      is_own_choice: chosen !== null,
      images: shown.flatMap(({ id, name, status, stored_bytes, binned_at, purge_after, hold_reason }) =>
        // Both are there for every row of a bin; the types cannot say so.
        binned_at === null || purge_after === null
          ? []
          : [
              {
                id,
                name,
                status,
                stored_bytes: stored_bytes ?? 0,
                deleted_at: binned_at.toISOString(),
                purge_after: purge_after.toISOString(),
                ...(hold_reason === null ? {} : { legal_hold: hold_reason }),
              },
            ],
      ),
      ...(last === undefined ? {} : { next_marker: last.id }),
    };
  }

  async choose(caller: Call, { retention_days: retentionDays }: RecycleBinRequest): Promise<void> {
    await inTransaction(this.db, async (trx) => {
      const before = await new RecycleBinRepository(trx).retentionDays(caller.projectId);
      const command = { projectId: projectId(caller.projectId), retentionDays, requestId: caller.requestId };
      await appendEvents(trx, eventContext(caller), decideRetention(before, command), this.clock);
    });
  }

  /** @throws ImsError as `decideRestoreImage` */
  async restore(caller: Call, id: string): Promise<void> {
    if (!isImageId(id)) throw noSuchImage();
    const project = projectId(caller.projectId);
    await inTransaction(this.db, async (trx) => {
      const { image: imageQuota } = await QuotaRepository.lock(trx, project, ['image']);
      const row = await new ImagesRepository(trx).findOwnForUpdate(project, id);
      const image = row && {
        id: imageId(row.id),
        projectId: projectId(row.project_id),
        name: row.name,
        isBinned: row.binned_at !== null && row.deleted_at === null,
      };
      const events = decideRestoreImage({ image, imageQuota }, { projectId: project, requestId: caller.requestId });
      await appendEvents(trx, eventContext(caller), events, this.clock);
    });
  }

  /** @throws ImsError as `decidePurgeImage` */
  async purge(caller: Call, id: string): Promise<void> {
    if (!isImageId(id)) throw noSuchImage();
    const { db, store, clock, config } = this;
    const outboxId = await purgeImage(
      { db, store, clock, region: config.region },
      { projectId: caller.projectId, imageId: id, contextOf: (jobId) => eventContext(caller, { jobId }) },
    );
    await this.engine.start(outboxId);
  }
}
