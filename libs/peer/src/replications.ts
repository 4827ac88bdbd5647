import { checkedImages, dedupDomainId, ImsError, isJobId, type UsedDisk } from '@ims/contract';
import type { Database } from '@ims/db';
import { ExchangeError, type ImageStore } from '@ims/image-store';
import type { Kysely } from 'kysely';

export interface ReplicationParts {
  db: Kysely<Database>;
  store: Pick<ImageStore, 'manifestBytes' | 'answer'>;
}

/** What a region may read of this one: the disks that a job under way here holds in order to send them there, and nothing else. */
export class Replications {
  constructor(private readonly parts: ReplicationParts) {}

  /** @throws ImsError IMG.0023 (404) when no such job sends that disk to that region; IMG.0061 (503) while that job is paused */
  async manifest(to: string, jobId: string, part: string): Promise<Buffer> {
    return this.parts.store.manifestBytes(refOf(await this.#disk(to, jobId, part)));
  }

  /** @throws ImsError as `manifest`; IMG.0001 for a request that is none */
  async answer(to: string, jobId: string, part: string, request: Buffer): Promise<Buffer> {
    const disk = await this.#disk(to, jobId, part);
    try {
      return await this.parts.store.answer(refOf(disk), request);
    } catch (error) {
      if (error instanceof ExchangeError) throw new ImsError('IMG.0001', error.message);
      throw error;
    }
  }

  async #disk(to: string, jobId: string, part: string): Promise<UsedDisk> {
    const none = new ImsError('IMG.0023', 'no such replication is under way', 404);
    if (!isJobId(jobId)) throw none;
    const row = await this.parts.db
      .selectFrom('job')
      .innerJoin('job_step', 'job_step.job_id', 'job.id')
      .select(['job.request', 'job.paused_at', 'job_step.output'])
      .where('job.id', '=', jobId)
      .where('job.saga', '=', 'image-replicate')
      .where('job.outcome', 'is', null)
      .where('job_step.step', '=', 'check-image')
      .where('job_step.state', '=', 'completed')
      .executeTakeFirst();
    if (row === undefined || regionOf(row.request) !== to) throw none;
    const disk = checkedImages.parse(row.output).disks.find((each) => each.part === part);
    if (disk === undefined) throw none;
    // Its step at work is here in every other way: like a line that is down, which the other region waits for.
    if (row.paused_at !== null) throw new ImsError('IMG.0061', 'the job that sends is paused', 503);
    return disk;
  }
}

const refOf = ({ domainId, manifestHash }: UsedDisk) => ({ domainId: dedupDomainId(domainId), manifestHash });

const regionOf = (request: unknown): unknown =>
  typeof request === 'object' && request !== null && 'region' in request ? request.region : undefined;
