import {
  type BootCheckWish,
  type CreateServersRequest,
  ImsError,
  type JobId,
  type PlannedOrigin,
  type PlannedServer,
  type PlannedServerVolume,
  type ProjectId,
  type ServerCreateInput,
  serverCreateSteps,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import { DEFAULT_VOLUME_TYPE, DEFAULT_ZONE, DISK_LIMITS_GIB, VOLUME_TYPES } from './disk-limits';
import { osWarnings } from '../os/os-warnings';
import { findFlavor, type ServerFlavor } from './flavor';
import {
  checkServerImage,
  checkUsable,
  deriveOf,
  gibOf,
  guestFactsOf,
  type UsableImage,
  usedImagesOf,
  warningsAbout,
} from './image-use.rules';

export interface CreateServersState {
  /** The image that the servers are made from; `undefined` where the project may use none of that id. */
  image: UsableImage | undefined;
  /** Images of data disks, by id. */
  dataImages: ReadonlyMap<string, UsableImage>;
}

export interface CreateServersCommand {
  projectId: ProjectId;
  jobId: JobId;
  kind: 'ecs' | 'bms';
  request: CreateServersRequest;
  /** Ids of what the job makes: the same id for the same name, whenever it is asked. */
  idOf(name: string): string;
  /** Of this installation: some systems are offered in one region only (OS-07). */
  region: string;
  now: Date;
}

// One call makes few servers, so that all or nothing is quick to undo; BMS: backends E6.
const MAX_COUNT = { ecs: 10, bms: 24 } as const;
const MAX_NAME = { ecs: 128, bms: 63 } as const;
// Letters of any script, digits and the punctuation that names of servers may have (backends E4).
const NAME = /^[\p{L}\p{N}_.-]+$/u;
const BMS_VOLUME_TYPES: readonly string[] = ['SSD', 'SAS'];
/** Asks for a check that the server boots: `true`, or the text that its serial console must print. */
export const BOOT_CHECK_KEY = '__boot_check';
const MAX_EXPECTED_TEXT = 256;
// Where an installation medium is attached; the emulated machine gives such a device a CD drive.
const MEDIUM_DEVICE = '/dev/sr0';

const refuse = (detail: string): ImsError => new ImsError('Ecs.0000', detail);

/**
 * Decides on making servers (CRE-01, CRE-07, CRE-11, CRE-26..28, IMG-10, IMG-11, IMG-19, SCN-03): all of them or none, each with a system disk
 * that reads from the image. Nothing is read or written here.
 *
 * @throws ImsError Ecs.0000 with the rule that is broken
 */
export function decideCreateServers(
  state: CreateServersState,
  command: CreateServersCommand,
): { events: DomainEvent[]; input: ServerCreateInput; warnings: string[] } {
  const { projectId, jobId, kind, request, idOf } = command;
  const wanted = request.server;
  const name = checkName(wanted.name, kind);
  const flavor = checkFlavor(wanted.flavorRef, kind);
  const count = wanted.count ?? 1;
  if (count < 1 || count > MAX_COUNT[kind]) throw refuse(`count must be 1 to ${MAX_COUNT[kind]}`);
  if (wanted.extendparam?.chargingMode === 'prePaid' || wanted.extendparam?.chargingMode === '1')
    throw refuse('only pay-per-use servers are made here');

  const image = checkUsable(state.image, wanted.imageRef, 'Ecs.0000');
  const root = planRoot(image, command);
  checkServerImage(image, { kind, flavor, rootSizeGib: root.sizeGib, mayInstall: true, region: command.region });
  const planned = [...root.volumes, ...planData(image, state.dataImages, command, count)];

  const servers = Array.from({ length: count }, (_, index): PlannedServer => {
    const serverName = count === 1 ? name : `${name}-${String(index + 1).padStart(4, '0')}`;
    return {
      id: idOf(`server:${index}`),
      name: serverName,
      volumes: planned.map(({ key, ...volume }) => ({
        ...volume,
        id: idOf(`server:${index}:${key}`),
        name: `${serverName}-${key}`,
      })),
    };
  });
  const { [BOOT_CHECK_KEY]: bootCheckText, ...ownMetadata } = wanted.metadata ?? {};
  const bootCheck = decideBootCheck(bootCheckText);
  const warnings = [
    ...(image.virtualEnvType === 'IsoImage' ? [] : osWarnings(image.osVersion, flavor, command)),
    ...warningsAbout([image, ...state.dataImages.values()]),
  ];
  const images = usedImagesOf(planned.map(({ origin }) => origin));
  const input: ServerCreateInput = {
    jobId,
    epoch: 1,
    projectId,
    name,
    kind,
    flavor: {
      id: flavor.id,
      vcpus: flavor.vcpus,
      ramMib: flavor.ramMib,
      architecture: flavor.architecture,
      series: flavor.series,
    },
    availabilityZone: wanted.availability_zone ?? DEFAULT_ZONE,
    guest: guestFactsOf(image),
    images,
    ...deriveOf([image, ...state.dataImages.values()].filter(({ id }) => images.some((used) => used.imageId === id))),
    metadata: { ...ownMetadata, ...metadataOf(image, flavor, wanted.vpcid) },
    servers,
    bootCheck,
  };
  return {
    events: [
      jobAccepted(jobId, {
        jobType: kind === 'ecs' ? 'createServer' : 'baremetalBatchCreate',
        saga: 'server-create',
        imageId: null,
        imageName: name,
        request,
        steps: serverCreateSteps(input),
        ...(warnings.length === 0 ? {} : { warnings }),
      }),
    ],
    input,
    warnings,
  };
}

/** A disk of each server; ids and names follow for each. */
type VolumePlan = Omit<PlannedServerVolume, 'id' | 'name'> & { key: string };

function checkName(name: string, kind: 'ecs' | 'bms'): string {
  if (name === '' || name.length > MAX_NAME[kind] || !NAME.test(name))
    throw refuse(`a name has 1 to ${MAX_NAME[kind]} letters, digits, hyphens, underscores and periods`);
  return name;
}

function checkFlavor(id: string, kind: 'ecs' | 'bms'): ServerFlavor {
  const flavor = findFlavor(id);
  if (flavor?.kind !== kind) throw refuse(`there is no flavour ${id} for ${kind === 'ecs' ? 'ECSs' : 'BMSs'}`);
  return flavor;
}

function checkType(type: string | undefined, allowed: readonly string[]): string {
  const chosen = type ?? DEFAULT_VOLUME_TYPE;
  if (!allowed.includes(chosen)) throw refuse(`disk type ${chosen} is none of ${allowed.join(', ')}`);
  return chosen;
}

function checkSize(what: string, sizeGib: number, { least, most }: { least: number; most: number }): number {
  if (sizeGib < least || sizeGib > most) throw refuse(`${what} must have ${least} to ${most} GB`);
  return sizeGib;
}

/** No key is managed here: a disk that only calls itself encrypted would be a lie. */
function refuseEncryption(metadata: { __system__encrypted?: string | undefined } | undefined): void {
  if (metadata?.__system__encrypted === '1') throw refuse('encrypted disks are not made here yet');
}

function planRoot(
  image: UsableImage & { disk: NonNullable<UsableImage['disk']> },
  { kind, request }: CreateServersCommand,
): { sizeGib: number; volumes: VolumePlan[] } {
  const wanted = request.server.root_volume;
  refuseEncryption(wanted?.metadata);
  const limits = kind === 'bms' ? DISK_LIMITS_GIB.bareMetalSystem : DISK_LIMITS_GIB.system;
  const isMedium = image.virtualEnvType === 'IsoImage';
  const least = Math.max(image.minDiskGib, isMedium ? 0 : gibOf(image.disk.virtualSizeBytes), limits.least);
  const sizeGib = checkSize('the system disk', wanted?.size ?? least, limits);
  const content: PlannedOrigin = { from: 'image', imageId: image.id, part: image.disk.part, role: 'system' };
  const volumeType = checkType(wanted?.volumetype, kind === 'bms' ? BMS_VOLUME_TYPES : VOLUME_TYPES);
  const root: VolumePlan = {
    key: 'root',
    sizeGib,
    volumeType,
    use: 'system',
    shareable: false,
    // IMG-11, CRE-11: what is on the medium is installed onto a blank disk.
    origin: isMedium ? { from: 'blank' } : content,
    bootIndex: 0,
    deleteOnTermination: true,
  };
  if (!isMedium) return { sizeGib, volumes: [root] };
  const medium: VolumePlan = {
    ...root,
    key: 'medium',
    sizeGib: Math.max(1, gibOf(image.disk.virtualSizeBytes)),
    origin: content,
    device: MEDIUM_DEVICE,
    bootIndex: 1,
  };
  return { sizeGib, volumes: [root, medium] };
}

/** Disks beside the system disk: those of an image of a whole server first, each of the size it had at least, then those asked for. */
function planData(
  image: UsableImage,
  dataImages: ReadonlyMap<string, UsableImage>,
  { request }: CreateServersCommand,
  count: number,
): VolumePlan[] {
  const wanted = [...(request.server.data_volumes ?? [])];
  for (const { metadata } of wanted) refuseEncryption(metadata);
  const limits = DISK_LIMITS_GIB.data;
  const shared = { use: 'data', bootIndex: null } as const;
  const own = image.dataDisks.map((disk, index): VolumePlan => {
    // Clients of full-ECS images name each further disk by the snapshot it is made from (backends E4), in the order of the image.
    const at = wanted.findIndex(({ extendparam }) => extendparam?.snapshotId !== undefined);
    const [chosen] = at < 0 ? [] : wanted.splice(at, 1);
    const least = Math.max(limits.least, gibOf(disk.virtualSizeBytes));
    return {
      ...shared,
      key: `own-${index}`,
      sizeGib: checkSize(`disk ${disk.device}`, chosen?.size ?? least, { ...limits, least }),
      volumeType: checkType(chosen?.volumetype, VOLUME_TYPES),
      shareable: false,
      origin: { from: 'image', imageId: image.id, part: disk.part, role: 'data' },
      device: disk.device,
      deleteOnTermination: true,
    };
  });
  const more = wanted.map((disk, index): VolumePlan => {
    let origin: PlannedOrigin = { from: 'blank' };
    let { least }: { least: number } = limits;
    if (disk.data_image_id !== undefined) {
      const source = checkUsable(dataImages.get(disk.data_image_id), disk.data_image_id, 'Ecs.0000');
      if (source.virtualEnvType !== 'DataImage') throw refuse(`image ${source.id} is not one of a data disk`);
      // CRE-07.
      if (count > 1) throw refuse('a data disk image makes only one disk at a time');
      least = Math.max(least, source.minDiskGib, gibOf(source.disk.virtualSizeBytes));
      origin = { from: 'image', imageId: source.id, part: source.disk.part, role: 'data' };
    } else if (disk.extendparam?.snapshotId !== undefined) {
      origin = { from: 'snapshot', snapshotId: disk.extendparam.snapshotId };
    }
    return {
      ...shared,
      key: `data-${index}`,
      sizeGib: checkSize('a data disk', disk.size, { ...limits, least }),
      volumeType: checkType(disk.volumetype, VOLUME_TYPES),
      shareable: disk.multiattach === true,
      origin,
      deleteOnTermination: false,
    };
  });
  return [...own, ...more];
}

function decideBootCheck(text: string | undefined): BootCheckWish | null {
  if (text === undefined || text === 'false') return null;
  if (text === '' || text.length > MAX_EXPECTED_TEXT)
    throw refuse(`${BOOT_CHECK_KEY} is true, false or a text of at most ${MAX_EXPECTED_TEXT} characters`);
  return { expect: text === 'true' ? null : text };
}

/** What clients read from a server about where it came from (backends E4, E6). */
function metadataOf(image: UsableImage, flavor: ServerFlavor, vpcId: string | undefined): Record<string, string> {
  return {
    charging_mode: '0',
    ...(vpcId === undefined ? {} : { vpc_id: vpcId }),
    os_type: image.osType,
    os_bit: image.osBit,
    image_name: image.name,
    hw_firmware_type: image.firmware,
    'metering.image_id': image.id,
    'metering.imagetype': image.imageType,
    'metering.resourcespeccode': `${flavor.id}.${image.osType === 'Windows' ? 'win' : 'linux'}`,
    'metering.resourcetype': '1',
    ...(image.virtualEnvType === 'IsoImage' ? { virtual_env_type: 'IsoImage' } : {}),
    ...(image.productCode === undefined ? {} : { __productcode: image.productCode }),
    ...(flavor.kind === 'bms' ? { __bms_support_evs: 'true' } : {}),
  };
}
