import { Injectable } from '@nestjs/common';
import { ImsError, isJobId, type JobDocument, jobWorkflowId } from '@ims/contract';
import { JobsRepository } from '@ims/db';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { toJobDocument } from './job.wire';

/** Jobs as their project sees them (ims-api 10). */
@Injectable()
export class JobsService {
  constructor(
    private readonly jobs: JobsRepository,
    private readonly config: GatewayConfig,
  ) {}

  /** @throws ImsError IMG.0023 (404) for unknown jobs and those of other projects alike (ims-api 10.1) */
  async show(caller: Call, id: string): Promise<JobDocument> {
    const view = isJobId(id) ? await this.jobs.view(caller.projectId, id) : undefined;
    if (view === undefined) throw noSuchJob();
    return toJobDocument(view, this.#temporalUrl(id));
  }

  #temporalUrl(id: string): string | undefined {
    const { uiUrl, namespace } = this.config.temporal;
    if (uiUrl === undefined || !isJobId(id)) return undefined;
    return `${uiUrl}/namespaces/${encodeURIComponent(namespace)}/workflows/${jobWorkflowId(id)}`;
  }
}

export const noSuchJob = (): ImsError => new ImsError('IMG.0023', 'there is no such job', 404);
