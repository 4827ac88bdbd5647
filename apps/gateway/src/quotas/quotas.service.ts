import { Inject, Injectable } from '@nestjs/common';
import { ImsError, isProjectId, type QuotaAnswer, type QuotaResource, type SetQuotaRequest } from '@ims/contract';
import { type Clock, type Database, inTransaction, QuotaRepository, type QuotaState } from '@ims/db';
import { decideSetLimit, DEFAULT_QUOTA, QUOTA_BOUNDS } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import { type Call, checkOperator } from '../access/permits';
import { CLOCK } from '../http/injection-tokens';

/** What is left to a project (ims-api 11). Images in creation count: they hold their place from the moment they are accepted. */
@Injectable()
export class QuotasService {
  constructor(
    private readonly quotas: QuotaRepository,
    private readonly db: Kysely<Database>,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async show(caller: Call): Promise<QuotaAnswer> {
    return answerOf('image', await this.quotas.read(caller.projectId, 'image'));
  }

  /**
   * Raises or lowers the limit of any project (CRE-23). What waits for the project's turn meanwhile is decided by the new one.
   *
   * @throws ImsError as `decideSetLimit`; IMG.0026 for anybody but the operator · IMG.0067 no id of a project · IMG.0108 no project of this region
   */
  async set(caller: Call, { project_id: project, type, quota }: SetQuotaRequest): Promise<QuotaAnswer> {
    checkOperator(caller);
    if (!isProjectId(project)) throw new ImsError('IMG.0067');
    return inTransaction(this.db, async (trx) => {
      const known = await trx.selectFrom('project').select('id').where('id', '=', project).executeTakeFirst();
      if (known === undefined) throw new ImsError('IMG.0108', `there is no project ${project} here`);
      const before = (await QuotaRepository.lock(trx, project, [type]))[type];
      const command = { projectId: project, resource: type, limit: quota, requestId: caller.requestId };
      // It is the project's quota that changes: its trail tells who did it.
      const context = { ...eventContext(caller), projectId: project };
      await appendEvents(trx, context, decideSetLimit(before, command), this.clock);
      return answerOf(type, await new QuotaRepository(trx).read(project, type));
    });
  }
}

function answerOf(type: QuotaResource, { used, reserved, limit }: QuotaState): QuotaAnswer {
  const quota = limit ?? DEFAULT_QUOTA[type];
  return { quotas: { resources: [{ type, used: used + reserved, quota, ...QUOTA_BOUNDS }] } };
}
