import { z } from 'zod';
/** A stored disk of an image that a job uses, held for the job until the disks made from it hold it themselves. */
export const usedDisk = z.object({
  imageId: z.string(),
  part: z.string(),
  domainId: z.string(),
  manifestHash: z.string(),
  virtualSizeBytes: z.number().int().positive(),
});
export type UsedDisk = z.infer<typeof usedDisk>;

/** An image that a job uses, and which of its disks. */
export const usedImage = z.object({ imageId: z.string(), parts: z.array(z.string()) });
export type UsedImage = z.infer<typeof usedImage>;

/** Where the first bytes of a new disk come from. Nothing is copied when it is made. */
export const plannedOrigin = z.discriminatedUnion('from', [
  z.object({ from: z.literal('blank') }),
  z.object({ from: z.literal('image'), imageId: z.string(), part: z.string(), role: z.enum(['system', 'data']) }),
  z.object({ from: z.literal('snapshot'), snapshotId: z.string() }),
]);
export type PlannedOrigin = z.infer<typeof plannedOrigin>;

/** A disk that is to be made, under an id that follows from the job's: the step may run twice and makes one. */
export const plannedVolume = z.object({
  id: z.string(),
  name: z.string(),
  sizeGib: z.number().int().positive(),
  volumeType: z.string(),
  use: z.enum(['system', 'data']),
  origin: plannedOrigin,
  shareable: z.boolean().default(false),
});
export type PlannedVolume = z.infer<typeof plannedVolume>;

export const plannedServerVolume = plannedVolume.extend({
  device: z.string().optional(),
  /** `0` is the system disk, `1` an installation medium; `null` never boots. */
  bootIndex: z.number().int().nullable(),
  deleteOnTermination: z.boolean(),
});
export type PlannedServerVolume = z.infer<typeof plannedServerVolume>;

export const plannedServer = z.object({ id: z.string(), name: z.string(), volumes: z.array(plannedServerVolume) });
export type PlannedServer = z.infer<typeof plannedServer>;

/** A flavour as it was when the server was asked for. */
export const flavor = z.object({
  id: z.string(),
  vcpus: z.number().int().positive(),
  ramMib: z.number().int().positive(),
  architecture: z.enum(['x86', 'arm']),
  series: z.string(),
});

/** What of an image decides on which servers it may run (CRE-26, CRE-27, CRE-28, IMG-10). */
export const guestFacts = z.object({
  imageId: z.string(),
  architecture: z.enum(['x86', 'arm']),
  osBit: z.enum(['32', '64']),
  minDiskGib: z.number().int(),
  firmware: z.enum(['bios', 'uefi']),
});
export type GuestFacts = z.infer<typeof guestFacts>;

/** What must be seen on the serial console for a server to count as booted; `null` takes the marks of usual systems. */
export const bootCheckWish = z.object({ expect: z.string().min(1).max(256).nullable() });
export type BootCheckWish = z.infer<typeof bootCheckWish>;

/** `not-checked` wherever nothing was booted, with the reason as its evidence: never a guess. */
export const bootCheckResult = z.object({
  verdict: z.enum(['boots', 'does-not-boot', 'not-checked']),
  evidence: z.string(),
});
export type BootCheckOutput = z.infer<typeof bootCheckResult>;

const cloudJob = z.object({
  jobId: z.string(),
  epoch: z.number().int().positive(),
  projectId: z.string(),
  /** Images that are files, whose disks have to be made readable first. Absent: none. */
  derive: z.array(z.string()).min(1).optional(),
});

/** Steps before all others: the disks in files are made readable, where that has not been done. */
const stepsBefore = ({ derive }: { derive?: string[] | undefined }): 'derive-disk'[] =>
  derive === undefined ? [] : ['derive-disk'];

/** Steps of the saga `server-create`, in order; `boot-check` only where it was asked for. */
export const SERVER_CREATE_STEPS = [
  'check-image',
  'create-volumes',
  'create-servers',
  'start',
  'boot-check',
  'release-image',
] as const;
export type ServerCreateStep = (typeof SERVER_CREATE_STEPS)[number] | 'derive-disk';

export const serverCreateInput = cloudJob.extend({
  name: z.string(),
  kind: z.enum(['ecs', 'bms']),
  flavor,
  availabilityZone: z.string(),
  guest: guestFacts,
  images: z.array(usedImage),
  metadata: z.record(z.string(), z.string()),
  servers: z.array(plannedServer).min(1),
  bootCheck: bootCheckWish.nullable(),
});
export type ServerCreateInput = z.infer<typeof serverCreateInput>;

/** The steps of one job: what was not asked for is not in its list. */
export const serverCreateSteps = (input: Pick<ServerCreateInput, 'bootCheck' | 'derive'>): ServerCreateStep[] => [
  ...stepsBefore(input),
  ...SERVER_CREATE_STEPS.filter((step) => step !== 'boot-check' || input.bootCheck !== null),
];

export const VOLUME_CREATE_STEPS = ['check-image', 'create-volumes', 'release-image'] as const;
export type VolumeCreateStep = (typeof VOLUME_CREATE_STEPS)[number] | 'derive-disk';

export const volumeCreateInput = cloudJob.extend({
  name: z.string(),
  availabilityZone: z.string(),
  images: z.array(usedImage),
  volumes: z.array(plannedVolume).min(1),
});
export type VolumeCreateInput = z.infer<typeof volumeCreateInput>;

export const volumeCreateSteps = (input: Pick<VolumeCreateInput, 'derive'>): VolumeCreateStep[] => [
  ...stepsBefore(input),
  ...VOLUME_CREATE_STEPS,
];

/** What is done to things that exist. Each is safe to do twice. */
export const cloudChange = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('start-servers'), serverIds: z.array(z.string()).min(1) }),
  z.object({ kind: z.literal('stop-servers'), serverIds: z.array(z.string()).min(1) }),
  z.object({
    kind: z.literal('delete-servers'),
    serverIds: z.array(z.string()).min(1),
    /** Disks that would outlive their servers and are to go too. */
    volumeIds: z.array(z.string()),
  }),
  z.object({
    kind: z.literal('change-os'),
    serverId: z.string(),
    guest: guestFacts,
    rootVolume: z.object({ id: z.string(), sizeGib: z.number().int().positive() }),
    /** A running server is stopped first; without this it is refused. */
    stopFirst: z.boolean(),
  }),
  z.object({ kind: z.literal('delete-volume'), volumeId: z.string() }),
]);
export type CloudChange = z.infer<typeof cloudChange>;

export const CLOUD_CHANGE_STEPS = ['check-image', 'change'] as const;
export type CloudChangeStep = (typeof CLOUD_CHANGE_STEPS)[number] | 'derive-disk';

/** Only a new operating system needs an image. */
export const cloudChangeSteps = (input: { change: CloudChange; derive?: string[] | undefined }): CloudChangeStep[] => [
  ...stepsBefore(input),
  ...CLOUD_CHANGE_STEPS.filter((step) => step !== 'check-image' || input.change.kind === 'change-os'),
];

export const cloudChangeInput = cloudJob.extend({
  name: z.string(),
  change: cloudChange,
  images: z.array(usedImage),
});
export type CloudChangeInput = z.infer<typeof cloudChangeInput>;

export const checkedImages = z.object({ disks: z.array(usedDisk) });
export type CheckedImages = z.infer<typeof checkedImages>;
export const createdVolumes = z.object({ volumeIds: z.array(z.string()) });
export type CreatedVolumes = z.infer<typeof createdVolumes>;
export const namedServers = z.object({ serverIds: z.array(z.string()) });
export type NamedServers = z.infer<typeof namedServers>;
export const changedThings = z.object({ serverIds: z.array(z.string()), volumeIds: z.array(z.string()) });
export type ChangedThings = z.infer<typeof changedThings>;
export const releasedImages = z.object({ imageIds: z.array(z.string()) });
export type ReleasedImages = z.infer<typeof releasedImages>;
