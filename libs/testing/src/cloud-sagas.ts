import { randomBytes } from 'node:crypto';
import { type CreateServersRequest, type JobId, jobId, SYSTEM } from '@ims/contract';
import { inTransaction, OutboxRepository, systemClock } from '@ims/db';
import {
  type ChangeableServer,
  type Decided,
  decideChangeOs,
  decideCreateServers,
  decideCreateVolumes,
  decideServersChange,
} from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { changeableServerOf, derivedId, findUsableImage } from '@ims/neighbours';
import { jobOutbox, type JobWorkflow } from '@ims/job-engine';
import type { Outcome } from './saga-laws/describe-saga-laws';
import type { FaultPlan } from './saga-laws/faults';
import type { TestCell } from './test-cell';

export interface SubmittedCloudJob {
  jobId: JobId;
  serverIds: string[];
  volumeIds: string[];
}

interface SubmitOptions {
  plan?: FaultPlan;
}

/** Jobs that make and change servers and disks, accepted in a cell as the gateway accepts them. */
export class CloudSagas {
  constructor(private readonly cell: TestCell) {}

  async createServers(
    image: string,
    { plan, server = {} }: SubmitOptions & { server?: Partial<CreateServersRequest['server']> } = {},
  ): Promise<SubmittedCloudJob> {
    const id = this.newJob(plan);
    const found = await findUsableImage(this.cell.db, this.cell.projectId, image);
    const decision = decideCreateServers(
      { image: found?.image, dataImages: new Map() },
      {
        projectId: this.cell.projectId,
        jobId: id,
        kind: 'ecs',
        request: { server: { name: 'under-test', imageRef: image, flavorRef: 's6.large.2', ...server } },
        idOf: (name) => derivedId(id, name),
        region: 'region-1',
        now: systemClock.now(),
      },
    );
    await this.accept(id, 'serverCreate', decision);
    return {
      jobId: id,
      serverIds: decision.input.servers.map((each) => each.id),
      volumeIds: decision.input.servers.flatMap(({ volumes }) => volumes.map((each) => each.id)),
    };
  }

  async createVolume(image: string, { plan }: SubmitOptions = {}): Promise<SubmittedCloudJob> {
    const id = this.newJob(plan);
    const found = await findUsableImage(this.cell.db, this.cell.projectId, image);
    const decision = decideCreateVolumes(
      { image: found?.image, source: undefined },
      {
        projectId: this.cell.projectId,
        jobId: id,
        request: { volume: { name: 'under-test', imageRef: image, count: 2 } },
        idOf: (name) => derivedId(id, name),
      },
    );
    await this.accept(id, 'volumeCreate', decision);
    return { jobId: id, serverIds: [], volumeIds: decision.input.volumes.map((each) => each.id) };
  }

  async changeServers(
    kind: 'start-servers' | 'stop-servers' | 'delete-servers',
    serverIds: readonly string[],
    { plan }: SubmitOptions = {},
  ): Promise<SubmittedCloudJob> {
    const id = this.newJob(plan);
    const servers = await Promise.all(serverIds.map((serverId) => this.changeable(serverId)));
    const decision = decideServersChange(kind, servers, { projectId: this.cell.projectId, jobId: id, request: {} });
    await this.accept(id, 'cloudChange', decision);
    return { jobId: id, serverIds: [...serverIds], volumeIds: [] };
  }

  async changeOs(serverId: string, image: string, { plan }: SubmitOptions = {}): Promise<SubmittedCloudJob> {
    const id = this.newJob(plan);
    const found = await findUsableImage(this.cell.db, this.cell.projectId, image);
    const decision = decideChangeOs(await this.changeable(serverId), found?.image, {
      projectId: this.cell.projectId,
      jobId: id,
      request: {},
      jobType: 'changeServerOs',
      imageId: image,
      mode: 'withStopServer',
      idOf: (name) => derivedId(id, name),
      region: 'region-1',
    });
    await this.accept(id, 'cloudChange', decision);
    return { jobId: id, serverIds: [serverId], volumeIds: [] };
  }

  /** What an ended job may leave: everything it made when it succeeded, nothing otherwise, and never a hold. */
  async check({ jobId: id, serverIds, volumeIds }: SubmittedCloudJob, outcome: Outcome): Promise<void> {
    await this.cell.checkJob(id, outcome);
    const { cloud, projectId } = this.cell;
    const servers = await Promise.all(serverIds.map((each) => cloud.servers.get(projectId, each)));
    const volumes = await Promise.all(volumeIds.map((each) => cloud.volumes.get(projectId, each)));
    if (outcome === 'succeeded') {
      expect(servers.map((server) => server?.status)).toEqual(serverIds.map(() => 'ACTIVE'));
      expect(volumes.every((volume) => volume !== undefined)).toBe(true);
    } else {
      expect([...servers, ...volumes].filter((each) => each !== undefined)).toEqual([]);
    }
  }

  /** Holds of disks that nothing refers to, and layers that no disk stands on: empty once nothing runs. */
  async leftovers(): Promise<string[]> {
    const { db } = this.cell;
    const layers = await db
      .selectFrom('cloud.disk_layer as layer')
      .select('layer.id')
      .where(({ not, exists, selectFrom }) =>
        not(exists(selectFrom('cloud.volume').select('id').whereRef('cloud.volume.layer_id', '=', 'layer.id'))),
      )
      .where(({ not, exists, selectFrom }) =>
        not(exists(selectFrom('cloud.snapshot').select('id').whereRef('cloud.snapshot.layer_id', '=', 'layer.id'))),
      )
      .execute();
    return layers.map(({ id }) => `layer ${id}`);
  }

  private async changeable(serverId: string): Promise<ChangeableServer> {
    const server = await this.cell.cloud.servers.get(this.cell.projectId, serverId);
    if (server === undefined) throw new Error(`there is no server ${serverId}`);
    return changeableServerOf(server);
  }

  private newJob(plan: FaultPlan | undefined): JobId {
    const id = jobId(randomBytes(16).toString('hex'));
    if (plan !== undefined) this.cell.faults.plan(id, plan);
    return id;
  }

  private async accept(
    id: JobId,
    type: JobWorkflow['type'],
    { events, input }: { events: Decided['events']; input: { jobId: string } },
  ): Promise<void> {
    const outboxId = await inTransaction(this.cell.db, async (trx) => {
      await appendEvents(trx, { projectId: this.cell.projectId, actor: SYSTEM, jobId: id }, events);
      return new OutboxRepository(trx).add(jobOutbox({ type, input, summary: 'under test' }, this.cell.region));
    });
    await this.cell.starter.startNow(outboxId);
  }
}
