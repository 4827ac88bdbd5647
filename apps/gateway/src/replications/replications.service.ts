import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import {
  imageId,
  type ImageReplicateInput,
  isImageId,
  type JobAccepted,
  projectId,
  type ReplicateImageRequest,
} from '@ims/contract';
import type { Database } from '@ims/db';
import { decideReplicateImage, type ReplicateImageCommand } from '@ims/domain';
import { freshJobId } from '@ims/job-engine';
import { findReplicableImage, type FoundReplicable } from '@ims/neighbours';
import { offerOf, type Peers, PeerUnreachableError } from '@ims/peer';
import { type ExpressionBuilder, Kysely, sql } from 'kysely';
import type { Call } from '../access/permits';
import type { SourceCloud } from '../app-parts';
import { GatewayConfig } from '../config';
import { CLOUD, PEERS } from '../http/injection-tokens';
import { lineageFromRow } from '../images/image-lineage';
import { type Foreseen, JobAcceptance } from '../jobs/job-acceptance';

/** Accepts copies of images to other regions (ims-api 7.2). */
@Injectable()
export class ReplicationsService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly jobs: JobAcceptance,
    private readonly config: GatewayConfig,
    @Inject(CLOUD) private readonly cloud: SourceCloud,
    @Inject(PEERS) private readonly peers: Peers,
  ) {}

  async copy(caller: Call, id: string, request: ReplicateImageRequest): Promise<JobAccepted> {
    const command: ReplicateImageCommand = {
      projectId: projectId(caller.projectId),
      jobId: freshJobId(),
      replicaId: imageId(randomUUID()),
      region: this.config.region,
      // Ids of accounts are each region's own; what they have in common is the name.
      accountName: caller.accountName,
      request,
    };
    // What is wrong with the request itself, and what the other region would refuse, is said without queueing for the project's turn.
    await this.#askThere((await this.#decide(this.db, id, command, false)).input);
    const jobId = await this.jobs.accept(caller, {
      // No quota of this region: but of twenty requests at once each must see the jobs of those before it (REP-06).
      quotas: ['image'],
      decide: async (_, trx) => {
        const { events, input, found } = await this.#decide(trx, id, command, true);
        const summary = `Copy image ${input.replica.name} to ${input.target.region}`;
        return {
          jobId: command.jobId,
          events,
          starts: [{ type: 'imageReplicate', input, summary }],
          foreseen: () => foreseenOf(found),
        };
      },
    });
    return { job_id: jobId };
  }

  /** A region that does not answer now is asked by the job, for as long as that takes. */
  async #askThere(input: ImageReplicateInput): Promise<void> {
    const offer = await offerOf({ db: this.db, backups: this.cloud.backups }, input);
    try {
      await this.peers.to(input.target.region).check(offer);
    } catch (error) {
      if (!(error instanceof PeerUnreachableError)) throw error;
    }
  }

  async #decide(db: Kysely<Database>, id: string, command: ReplicateImageCommand, isCounting: boolean) {
    const found = isImageId(id) ? await findReplicableImage(db, this.cloud.backups, command.projectId, id) : undefined;
    const decided = decideReplicateImage(
      {
        image: found?.image,
        regions: this.peers.regions,
        agencies: this.config.agencies,
        running: isCounting ? await runningOf(db, command.projectId, id) : { ofTenant: 0, ofImage: 0 },
        limits: this.config.replications,
      },
      command,
    );
    return { ...decided, found };
  }
}

const foreseenOf = (found: FoundReplicable | undefined): Foreseen =>
  found === undefined
    ? {}
    : {
        bytes: found.image.virtualSizeBytes,
        isWholeServer: found.image.backup !== null,
        productCodes: [lineageFromRow(found.row).productCode],
      };

/** Copies to other regions that have not ended. Index `job_open`. */
async function runningOf(db: Kysely<Database>, project: string, id: string) {
  const ofImage = (eb: ExpressionBuilder<Database, 'job'>) =>
    eb.fn.countAll<number>().filterWhere(sql<boolean>`request ->> 'source_image_id' = ${id}`);
  return db
    .selectFrom('job')
    .select((eb) => [eb.fn.countAll<number>().as('ofTenant'), ofImage(eb).as('ofImage')])
    .where('outcome', 'is', null)
    .where('saga', '=', 'image-replicate')
    .where('project_id', '=', project)
    .executeTakeFirstOrThrow();
}
