import {
  type CloudChange,
  type CloudChangeInput,
  cloudChangeSteps,
  ImsError,
  type JobId,
  type ProjectId,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import type { Architecture } from '../os/os-version';
import {
  checkServerImage,
  checkUsable,
  deriveOf,
  gibOf,
  guestFactsOf,
  type UsableImage,
  usedImagesOf,
} from './image-use.rules';

/** What of a server decides what may be done to it. */
export interface ChangeableServer {
  id: string;
  kind: 'ecs' | 'bms';
  status: string;
  isBusy: boolean;
  isFrozen: boolean;
  flavor: { id: string; architecture: Architecture; ramMib: number; series?: string | undefined };
  /** GiB; `undefined` where it has no system disk of the cloud's. */
  rootSizeGib: number | undefined;
  imageId: string | null;
}

export interface ChangeableVolume {
  id: string;
  name: string;
  isAttached: boolean;
}

interface ChangeIds {
  projectId: ProjectId;
  jobId: JobId;
  /** The request as it was sent, for the log. */
  request: unknown;
}

export interface Decided {
  events: DomainEvent[];
  input: CloudChangeInput;
}

const NOT_FOUND = 404;
const MAX_SERVERS = 1000;
// Their ids are recorded in one event of at most 65,535 bytes, 39 of which each takes.
const MAX_THINGS = 1500;
// backends E4: what changes or reinstalls an operating system while the server runs.
const STOPS_FIRST = 'withStopServer';

const refuse = (detail: string): ImsError => new ImsError('Ecs.0000', detail);

/** @throws ImsError Ecs.0114 (404) for a server that is not the project's */
export function requireServer<T>(server: T | undefined, id: string): T {
  if (server === undefined) throw new ImsError('Ecs.0114', `server ${id}`, NOT_FOUND);
  return server;
}

/**
 * Decides on starting, stopping or deleting servers. All must be there; what a server already is, it stays.
 *
 * @throws ImsError Ecs.0000 for none, too many, busy or frozen ones
 */
export function decideServersChange(
  kind: 'start-servers' | 'stop-servers' | 'delete-servers',
  servers: readonly ChangeableServer[],
  ids: ChangeIds & { volumeIds?: readonly string[] },
): Decided {
  if (servers.length === 0 || servers.length > MAX_SERVERS) throw refuse(`name 1 to ${MAX_SERVERS} servers`);
  for (const server of servers) {
    if (server.isBusy) throw refuse(`server ${server.id} is busy with another task`);
    if (kind === 'start-servers' && server.isFrozen)
      throw refuse(`server ${server.id} is frozen for unpaid bills; renew it first`);
  }
  const serverIds = [...new Set(servers.map(({ id }) => id))];
  if (serverIds.length + (ids.volumeIds ?? []).length > MAX_THINGS)
    throw refuse(`servers and their disks are more than ${MAX_THINGS} together: name fewer`);
  switch (kind) {
    case 'start-servers':
      return accepted('startServer', { kind, serverIds }, ids);
    case 'stop-servers':
      return accepted('stopServer', { kind, serverIds }, ids);
    case 'delete-servers':
      return accepted('deleteServer', { kind, serverIds, volumeIds: [...(ids.volumeIds ?? [])] }, ids);
    default:
      return kind satisfies never;
  }
}

/**
 * Decides on another operating system, or the same one afresh (CRE-09, CRE-26, SCN-04): a new system disk that reads from the image takes the old
 * one's place, then the server is started.
 *
 * @throws ImsError Ecs.0000
 */
export function decideChangeOs(
  server: ChangeableServer,
  image: UsableImage | undefined,
  command: ChangeIds & {
    jobType: 'changeServerOs' | 'reinstallServerOs';
    imageId: string | null;
    mode: string | undefined;
    region: string;
    idOf(name: string): string;
  },
): Decided {
  if (server.isBusy) throw refuse(`server ${server.id} is busy with another task`);
  if (server.isFrozen) throw refuse(`server ${server.id} is frozen for unpaid bills; renew it first`);
  if (server.rootSizeGib === undefined) throw refuse(`server ${server.id} has no system disk of this cloud`);
  if (command.mode !== undefined && command.mode !== STOPS_FIRST) throw refuse(`mode is ${STOPS_FIRST} or left out`);
  const stopFirst = command.mode === STOPS_FIRST;
  if (server.status !== 'SHUTOFF' && !(stopFirst && server.status === 'ACTIVE'))
    throw refuse(`server ${server.id} is ${server.status}: stop it first, or ask for ${STOPS_FIRST}`);
  const { disk, ...usable } = checkUsable(image, command.imageId ?? '(none)', 'Ecs.0000');
  // The new disk is as large as the old one, or as the image needs.
  const sizeGib = Math.max(server.rootSizeGib, usable.minDiskGib, gibOf(disk.virtualSizeBytes));
  checkServerImage(
    { ...usable, disk },
    { kind: server.kind, flavor: server.flavor, rootSizeGib: sizeGib, mayInstall: false, region: command.region },
  );
  return accepted(
    command.jobType,
    {
      kind: 'change-os',
      serverId: server.id,
      guest: guestFactsOf({ ...usable, disk }),
      rootVolume: { id: command.idOf('root'), sizeGib },
      stopFirst,
    },
    command,
    {
      images: usedImagesOf([{ from: 'image', imageId: usable.id, part: disk.part }]),
      ...deriveOf([{ ...usable, disk }]),
    },
  );
}

/** @throws ImsError EVS.1002 (404) for a disk that is not the project's, EVS.2024 for one that a server has */
export function decideDeleteVolume(volume: ChangeableVolume | undefined, volumeId: string, ids: ChangeIds): Decided {
  if (volume === undefined) throw new ImsError('EVS.1002', `disk ${volumeId}`, NOT_FOUND);
  if (volume.isAttached) throw new ImsError('EVS.2024', `disk ${volumeId} is attached to a server`);
  return accepted('deleteVolume', { kind: 'delete-volume', volumeId }, ids);
}

function accepted(
  jobType: string,
  change: CloudChange,
  { projectId, jobId, request }: ChangeIds,
  used: Pick<CloudChangeInput, 'images' | 'derive'> = { images: [] },
): Decided {
  const [only, ...others] = 'serverIds' in change ? change.serverIds : [];
  const name =
    'volumeId' in change
      ? `disk ${change.volumeId}`
      : 'serverId' in change
        ? `server ${change.serverId}`
        : others.length === 0
          ? `server ${only}`
          : `${others.length + 1} servers`;
  return {
    events: [
      jobAccepted(jobId, {
        jobType,
        saga: 'cloud-change',
        imageId: null,
        imageName: name,
        request,
        steps: cloudChangeSteps({ ...used, change }),
      }),
    ],
    input: { jobId, epoch: 1, projectId, name, change, ...used },
  };
}
