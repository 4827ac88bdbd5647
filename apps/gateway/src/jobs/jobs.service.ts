import { Inject, Injectable } from '@nestjs/common';
import { ImsError, isJobId, type JobDocument, type JobList, jobWorkflowId, type ListJobsQuery } from '@ims/contract';
import { type Clock, JobsRepository } from '@ims/db';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { CLOCK } from '../http/injection-tokens';
import { toJobDocument } from './job.wire';

/** Jobs as their project sees them (ims-api 10). */
@Injectable()
export class JobsService {
  constructor(
    private readonly jobs: JobsRepository,
    private readonly config: GatewayConfig,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** @throws ImsError IMG.0023 (404) for unknown jobs and those of other projects alike (ims-api 10.1) */
  async show(caller: Call, id: string): Promise<JobDocument> {
    const view = isJobId(id) ? await this.jobs.view(caller.projectId, id) : undefined;
    if (view === undefined) throw noSuchJob();
    return toJobDocument(view, { now: this.clock.now(), temporalUrl: this.#temporalUrl(id) });
  }

  /**
   * Jobs that calls have started, newest first; what they are made of is in them. A page goes on after the job that `marker` names.
   *
   * @throws ImsError IMG.0023 (404) for a marker that is no job of the project
   */
  async list(caller: Call, { status, limit, marker }: ListJobsQuery): Promise<JobList> {
    const before = marker === undefined ? undefined : await this.jobs.find(caller.projectId, marker);
    if (marker !== undefined && before === undefined) throw noSuchJob();
    const page = await this.jobs.list(caller.projectId, limit + 1, before, { status, isWhole: true });
    const views = await this.jobs.views(page.slice(0, limit));
    const now = this.clock.now();
    const last = page.length > limit ? views.at(-1) : undefined;
    return {
      jobs: views.map((view) => toJobDocument(view, { now, temporalUrl: this.#temporalUrl(view.job.id) })),
      ...(last === undefined ? {} : { next_marker: last.job.id }),
    };
  }

  #temporalUrl(id: string): string | undefined {
    const { uiUrl, namespace } = this.config.temporal;
    if (uiUrl === undefined || !isJobId(id)) return undefined;
    return `${uiUrl}/namespaces/${encodeURIComponent(namespace)}/workflows/${jobWorkflowId(id)}`;
  }
}

export const noSuchJob = (): ImsError => new ImsError('IMG.0023', 'there is no such job', 404);
