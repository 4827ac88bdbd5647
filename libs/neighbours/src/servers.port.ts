import type { BootCheckResult } from './boot-check.port';
import type { ImageDiskRef } from './disk-image.port';
import type { NewVolume } from './volumes.port';

/** Server states of the compute API (backends E4). The embedded servers pass through those that last: the others are a production driver's. */
export const SERVER_STATUSES = [
  'BUILD',
  'ACTIVE',
  'SHUTOFF',
  'REBOOT',
  'HARD_REBOOT',
  'RESIZE',
  'VERIFY_RESIZE',
  'REVERT_RESIZE',
  'MIGRATING',
  'REBUILD',
  'PAUSED',
  'SUSPENDED',
  'ERROR',
  'DELETED',
] as const;
export type ServerStatus = (typeof SERVER_STATUSES)[number];

export type ServerKind = 'ecs' | 'bms';
export type Architecture = 'x86' | 'arm';

export interface Flavor {
  id: string;
  vcpus: number;
  ramMib: number;
  architecture: Architecture;
  /** Series of the flavour, such as `S6` or `kC1`. */
  series: string;
}

/** What of an image decides whether a server may be made from it (CRE-26, CRE-27, CRE-28, IMG-10), and its disk. */
export interface ServerImage extends ImageDiskRef {
  architecture: Architecture;
  osBit: '32' | '64';
  role: 'system' | 'data';
  minDiskGib: number;
}

/** A disk of a new server: an existing one by its id, or one made with it when `create` is given. */
export interface NewServerVolume {
  id: string;
  create?: Omit<NewVolume, 'id' | 'projectId' | 'availabilityZone'>;
  device?: string;
  /** `0` is the system disk. */
  bootIndex: number | null;
  deleteOnTermination?: boolean;
}

export interface NewServer {
  id: string;
  projectId: string;
  name: string;
  kind: ServerKind;
  flavor: Flavor;
  availabilityZone: string;
  /** The image the system disk was made from; its rules are checked against the flavour. */
  image?: ServerImage;
  volumes: readonly NewServerVolume[];
  /** A BMS may boot from a disk of its own case, which nobody can image (CRE-04). */
  bootFrom?: 'volume' | 'local-disk';
  metadata?: Readonly<Record<string, string>>;
  /** A spot server that is being reclaimed cannot be imaged (IMG.0164). */
  isBeingReclaimed?: boolean;
  /** Servers start at creation unless this is `SHUTOFF`. */
  initialStatus?: 'ACTIVE' | 'SHUTOFF';
}

export interface ServerVolume {
  volumeId: string;
  device: string;
  bootIndex: number | null;
  sizeGib: number;
  deleteOnTermination: boolean;
}

export interface Server {
  id: string;
  projectId: string;
  name: string;
  kind: ServerKind;
  status: ServerStatus;
  /** What is being done to it right now; `null` when it is idle. */
  taskState: string | null;
  /** `EcmResStatus` of its metadata: frozen for unpaid bills or not. */
  resStatus: 'normal' | 'freeze';
  isBeingReclaimed: boolean;
  bootFrom: 'volume' | 'local-disk';
  flavor: Flavor;
  imageId: string | null;
  /** Ordered by device. */
  volumes: ServerVolume[];
  metadata: Record<string, string>;
  /** `__type_baremetal` marks a BMS (backends E6). */
  tags: string[];
  availabilityZone: string;
  createdAt: Date;
}

/** Compute servers (ECS) and bare-metal servers (BMS). Ids come from the caller; every call may be repeated. */
export interface ServersPort {
  /** `undefined` when the project has no such server, or had it deleted. */
  get(projectId: string, serverId: string): Promise<Server | undefined>;
  list(projectId: string): Promise<Server[]>;
  /**
   * @throws NeighbourError WRONG_ARCHITECTURE (CRE-26, CRE-27), TOO_MUCH_MEMORY (CRE-28), WRONG_IMAGE_ROLE (IMG-10), WRONG_SIZE,
   *   CONFLICT, INVALID, and those of its disks
   */
  create(request: NewServer): Promise<Server>;
  /** Accepts that it runs. @throws NeighbourError NOT_FOUND, BUSY, FROZEN, WRONG_STATE */
  start(projectId: string, serverId: string): Promise<Server>;
  /** Accepts that it is stopped. @throws NeighbourError NOT_FOUND, BUSY, WRONG_STATE */
  stop(projectId: string, serverId: string): Promise<Server>;
  /**
   * Whether a server that was started has booted, told by its serial console; `not-checked` where no machine runs. Never guesses.
   *
   * @throws NeighbourError NOT_FOUND
   */
  bootCheck(
    projectId: string,
    serverId: string,
    watch: { expect: RegExp; timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<BootCheckResult>;
  freeze(projectId: string, serverId: string): Promise<Server>;
  unfreeze(projectId: string, serverId: string): Promise<Server>;
  /**
   * Marks the server busy with `task` for `holder`; of several callers exactly one gets it. Repeatable by its holder.
   *
   * @throws NeighbourError NOT_FOUND, BUSY
   */
  beginTask(request: { projectId: string; serverId: string; task: string; holder: string }): Promise<Server>;
  /** Ends the task of `holder`; does nothing when it holds none. */
  endTask(request: { projectId: string; serverId: string; holder: string }): Promise<void>;
  /**
   * Gives a stopped server a new system disk made from `image` under the caller's id and removes the old one: a new operating system,
   * or the same one afresh. Done already when the system disk has that id.
   *
   * @throws NeighbourError NOT_FOUND, WRONG_STATE, BUSY, FROZEN and those of `create`
   */
  changeOs(request: {
    projectId: string;
    serverId: string;
    image: ServerImage;
    rootVolume: { id: string; sizeGib: number; keyId?: string };
  }): Promise<Server>;
  /** Stops it and removes it with the disks marked so; accepts that it is gone. @throws NeighbourError BUSY */
  delete(projectId: string, serverId: string): Promise<void>;
}
