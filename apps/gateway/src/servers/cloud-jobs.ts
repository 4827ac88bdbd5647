import { Injectable } from '@nestjs/common';
import { type JobId, jobId as toJobId } from '@ims/contract';
import type { Database } from '@ims/db';
import type { DomainEvent, UsableImage } from '@ims/domain';
import { freshJobId, type JobWorkflow } from '@ims/job-engine';
import { derivedId, findUsableImage } from '@ims/neighbours';
import { Kysely } from 'kysely';
import type { Call } from '../access/permits';
import { type Foreseen, JobAcceptance } from '../jobs/job-acceptance';

/** What a decision on servers or disks is made with: the job, and ids that follow from it. */
export interface CloudJobIds {
  jobId: JobId;
  idOf(name: string): string;
}

/** Accepts jobs on what belongs to the neighbours, servers, disks and backups: decided, recorded in one transaction, then started (design 3). */
@Injectable()
export class CloudJobs {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly jobs: JobAcceptance,
  ) {}

  newIds(): CloudJobIds {
    const id = freshJobId();
    return { jobId: id, idOf: (name) => derivedId(id, name) };
  }

  /** An image that the caller may use; `undefined` when there is none of that id for it. */
  async imageFor(caller: Call, imageId: string): Promise<UsableImage | undefined> {
    return (await findUsableImage(this.db, caller.projectId, imageId))?.image;
  }

  async accept(
    caller: Call,
    decided: {
      events: DomainEvent[];
      input: JobWorkflow['input'] & { name: string };
      foreseen?: Foreseen;
      answer?: object | null;
    },
    type: 'serverCreate' | 'volumeCreate' | 'cloudChange' | 'serverBackup',
    summary: string = decided.input.name,
  ): Promise<void> {
    const { events, input, foreseen = {}, ...rest } = decided;
    const jobId = toJobId(input.jobId);
    await this.jobs.accept(caller, {
      decide: () => ({
        jobId,
        events,
        starts: [{ type, input, summary }],
        foreseen: () => foreseen,
        ...(rest.answer === undefined ? {} : { answer: rest.answer }),
      }),
    });
  }
}
