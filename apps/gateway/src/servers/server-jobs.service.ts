import { Inject, Injectable } from '@nestjs/common';
import {
  type ChangeOsRequest,
  type CreateServersRequest,
  type DeleteServersRequest,
  ImsError,
  type JobAccepted,
  projectId,
  type ReinstallOsRequest,
  type ServerActionRequest,
  type ServersAccepted,
  type ServersActionRequest,
} from '@ims/contract';
import type { Clock } from '@ims/db';
import { decideChangeOs, decideCreateServers, decideServersChange, type UsableImage } from '@ims/domain';
import { changeableServerOf, type Server } from '@ims/neighbours';
import { type Call, checkAction } from '../access/permits';
import { GatewayConfig } from '../config';
import { CLOCK } from '../http/injection-tokens';
import { CloudJobs } from './cloud-jobs';
import { ServersService } from './servers.service';

type Switch = 'start-servers' | 'stop-servers';
const ACTIONS = { 'start-servers': 'ecs:cloudServers:start', 'stop-servers': 'ecs:cloudServers:stop' } as const;

/** Jobs that make servers and change them; each is accepted here and done by a worker. */
@Injectable()
export class ServerJobsService {
  constructor(
    private readonly servers: ServersService,
    private readonly jobs: CloudJobs,
    private readonly config: GatewayConfig,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async create(caller: Call, kind: 'ecs' | 'bms', request: CreateServersRequest): Promise<ServersAccepted> {
    const { imageRef, data_volumes: dataVolumes = [] } = request.server;
    const dataImages = new Map<string, UsableImage>();
    for (const { data_image_id: id } of dataVolumes) {
      if (id === undefined || dataImages.has(id)) continue;
      const image = await this.jobs.imageFor(caller, id);
      if (image !== undefined) dataImages.set(id, image);
    }
    const ids = this.jobs.newIds();
    const decided = decideCreateServers(
      { image: await this.jobs.imageFor(caller, imageRef), dataImages },
      {
        ...ids,
        projectId: projectId(caller.projectId),
        kind,
        request,
        region: this.config.region,
        now: this.clock.now(),
      },
    );
    const disksGb = decided.input.servers.flatMap(({ volumes }) => volumes.map(({ sizeGib }) => sizeGib));
    const answer = {
      job_id: ids.jobId,
      serverIds: decided.input.servers.map(({ id }) => id),
      ...(decided.warnings.length === 0 ? {} : { warnings: decided.warnings }),
    };
    await this.jobs.accept(caller, { ...decided, foreseen: { disksGb }, answer }, 'serverCreate');
    return answer;
  }

  async remove(caller: Call, request: DeleteServersRequest): Promise<JobAccepted> {
    const servers = await this.#all(caller, request.servers);
    const volumeIds =
      request.delete_volume === true
        ? servers
            .flatMap(({ volumes }) => volumes.filter((each) => !each.deleteOnTermination))
            .map((each) => each.volumeId)
        : [];
    return this.#change(caller, 'delete-servers', servers, request, volumeIds);
  }

  async switchAll(caller: Call, request: ServersActionRequest): Promise<JobAccepted> {
    const kind = switchOf(request);
    checkAction(caller, ACTIONS[kind]);
    const named = (kind === 'start-servers' ? request['os-start'] : request['os-stop'])?.servers ?? [];
    return this.#change(caller, kind, await this.#all(caller, named), request);
  }

  async switchOne(caller: Call, id: string, request: ServerActionRequest): Promise<JobAccepted> {
    const kind = switchOf(request);
    checkAction(caller, ACTIONS[kind]);
    return this.#change(caller, kind, await this.#all(caller, [{ id }]), request);
  }

  changeOs(caller: Call, id: string, request: ChangeOsRequest): Promise<JobAccepted> {
    const { imageid: imageId, mode } = request['os-change'];
    return this.#changeOs(caller, id, request, () => ({ jobType: 'changeServerOs', imageId, mode }));
  }

  reinstallOs(caller: Call, id: string, request: ReinstallOsRequest): Promise<JobAccepted> {
    const { mode } = request['os-reinstall'];
    return this.#changeOs(caller, id, request, ({ imageId }) => ({ jobType: 'reinstallServerOs', imageId, mode }));
  }

  async #changeOs(
    caller: Call,
    id: string,
    request: unknown,
    wishOf: (server: Server) => {
      jobType: 'changeServerOs' | 'reinstallServerOs';
      imageId: string | null;
      mode: string | undefined;
    },
  ): Promise<JobAccepted> {
    const server = await this.servers.find(caller, id, 'ecs');
    const wish = wishOf(server);
    const image = wish.imageId === null ? undefined : await this.jobs.imageFor(caller, wish.imageId);
    const ids = this.jobs.newIds();
    const decided = decideChangeOs(changeableServerOf(server), image, {
      ...ids,
      ...wish,
      projectId: projectId(caller.projectId),
      request,
      region: this.config.region,
    });
    await this.jobs.accept(caller, decided, 'cloudChange');
    return { job_id: ids.jobId };
  }

  #all(caller: Call, named: readonly { id: string }[]): Promise<Server[]> {
    return Promise.all(named.map(({ id }) => this.servers.find(caller, id, 'ecs')));
  }

  async #change(
    caller: Call,
    kind: Switch | 'delete-servers',
    servers: readonly Server[],
    request: unknown,
    volumeIds: readonly string[] = [],
  ): Promise<JobAccepted> {
    const { jobId } = this.jobs.newIds();
    const decided = decideServersChange(kind, servers.map(changeableServerOf), {
      projectId: projectId(caller.projectId),
      jobId,
      request,
      volumeIds,
    });
    await this.jobs.accept(caller, decided, 'cloudChange');
    return { job_id: jobId };
  }
}

/** Which of the two an action is. @throws ImsError Ecs.0000 unless exactly one is given */
function switchOf(request: { 'os-start'?: unknown; 'os-stop'?: unknown }): Switch {
  const isStart = request['os-start'] !== undefined;
  if (isStart === (request['os-stop'] !== undefined))
    throw new ImsError('Ecs.0000', 'the action is os-start or os-stop');
  return isStart ? 'start-servers' : 'stop-servers';
}
