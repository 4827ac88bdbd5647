import { z } from 'zod';
import { isRecordable, refusal } from './refusal';

const bad = (detail: string) => ({ error: refusal('Ecs.0000', detail) });
// Names, ids and types of these calls have at most 255 characters (backends E4-E6); the whole request becomes part of one event of at most 64 KiB.
const MAX_TERM = 255;
const term = (field: string) =>
  z.string(bad(`${field} must be a string`)).max(MAX_TERM, { error: refusal('Ecs.0000', `${field} is too long`) });
// Typed clients send sizes and counts as numbers, others as text.
const whole = (field: string) => z.coerce.number(bad(`${field} must be a number`)).int(bad(`${field} must be whole`));

// ECS allows 23 data disks; a longer list is refused here, before anything looks at it.
const MAX_DATA_VOLUMES = 23;
const MAX_METADATA = 64;
// More servers than any call may ask for; the limit itself is the domain's.
const MAX_SERVERS_READ = 1000;

const diskMetadata = z.object({ __system__encrypted: term('__system__encrypted').optional() }).optional();
const rootVolume = z.object(
  {
    volumetype: term('root_volume.volumetype').optional(),
    size: whole('root_volume.size').optional(),
    metadata: diskMetadata,
  },
  bad('root_volume must be an object'),
);
const dataVolume = z.object({
  volumetype: term('data_volumes.volumetype').optional(),
  size: whole('data_volumes.size'),
  multiattach: z.boolean(bad('data_volumes.multiattach must be a boolean')).optional(),
  data_image_id: term('data_volumes.data_image_id').optional(),
  extendparam: z.object({ snapshotId: term('data_volumes.extendparam.snapshotId').optional() }).optional(),
  metadata: diskMetadata,
});

const server = z.object(
  {
    name: term('name'),
    imageRef: term('imageRef'),
    flavorRef: term('flavorRef'),
    availability_zone: term('availability_zone').optional(),
    vpcid: term('vpcid').optional(),
    nics: z.array(z.unknown(), bad('nics must be a list')).max(MAX_DATA_VOLUMES).optional(),
    security_groups: z.array(z.unknown(), bad('security_groups must be a list')).max(MAX_DATA_VOLUMES).optional(),
    count: whole('count').optional(),
    root_volume: rootVolume.optional(),
    data_volumes: z
      .array(dataVolume, bad('data_volumes must be a list of objects'))
      .max(MAX_DATA_VOLUMES, { error: refusal('Ecs.0000', `a server has at most ${MAX_DATA_VOLUMES} data disks`) })
      .optional(),
    metadata: z
      .record(term('metadata'), term('metadata'), bad('metadata must be an object of strings'))
      .refine((all) => Object.keys(all).length <= MAX_METADATA, {
        error: refusal('Ecs.0000', `metadata has at most ${MAX_METADATA} entries`),
      })
      .optional(),
    extendparam: z
      .object({ chargingMode: z.union([term('chargingMode'), z.number().transform(String)]).optional() })
      .optional(),
  },
  bad('server must be an object'),
);

/** Body of POST …/cloudservers and of POST …/baremetalservers (backends E4, E6). Networks are taken and not made: there are none. */
export const createServersRequest = z
  .object({ server })
  .refine(isRecordable, { error: refusal('Ecs.0000', 'the request is too long') });
export type CreateServersRequest = z.infer<typeof createServersRequest>;

/** `order_id` is absent: nothing is prepaid. */
export const serversAccepted = z.object({
  job_id: z.string(),
  serverIds: z.array(z.string()),
  /** Not the vendor's: what to know of the system that the servers get (OS-01, OS-12, CRE-33), or of an image that is deprecated. Absent where there is nothing. */
  warnings: z.array(z.string()).optional(),
});
export type ServersAccepted = z.infer<typeof serversAccepted>;

const serverIds = z
  .array(z.object({ id: term('servers.id') }), bad('servers must be a list of objects with an id'))
  .max(MAX_SERVERS_READ, { error: refusal('Ecs.0000', 'too many servers') });

export const deleteServersRequest = z.object({
  servers: serverIds,
  delete_publicip: z.boolean(bad('delete_publicip must be a boolean')).optional(),
  delete_volume: z.boolean(bad('delete_volume must be a boolean')).optional(),
});
export type DeleteServersRequest = z.infer<typeof deleteServersRequest>;

/** Batch start and stop (backends E4); exactly one of the two. */
export const serversActionRequest = z.object({
  'os-start': z.object({ servers: serverIds }).optional(),
  'os-stop': z.object({ servers: serverIds, type: term('type').optional() }).optional(),
});
export type ServersActionRequest = z.infer<typeof serversActionRequest>;

/** The same for one server, which the path names. */
export const serverActionRequest = z.object({
  'os-start': z.object({}).nullable().optional(),
  'os-stop': z.object({}).nullable().optional(),
});
export type ServerActionRequest = z.infer<typeof serverActionRequest>;

const mode = term('mode').optional();
export const changeOsRequest = z.object({ 'os-change': z.object({ imageid: term('imageid'), mode }) });
export type ChangeOsRequest = z.infer<typeof changeOsRequest>;
export const reinstallOsRequest = z.object({ 'os-reinstall': z.object({ mode }) });
export type ReinstallOsRequest = z.infer<typeof reinstallOsRequest>;

const query = (field: string) => z.union([term(field), z.array(term(field)).transform((all) => all.at(-1) ?? '')]);
const MAX_PAGE = 1000;
const digits = (field: string, most: number) =>
  query(field).pipe(
    z
      .string()
      .regex(/^\d{1,9}$/, bad(`${field} must be a whole number`))
      .transform(Number)
      .pipe(z.number().max(most, bad(`${field} must not exceed ${most}`))),
  );
/** `offset` counts pages from 1, as the vendor's does. */
export const listServersQuery = z.object({
  limit: digits('limit', MAX_PAGE).optional(),
  offset: digits('offset', 1_000_000).optional(),
  name: query('name').optional(),
  status: query('status').optional(),
});
export type ListServersQuery = z.infer<typeof listServersQuery>;

export const serverDocument = z
  .object({
    id: z.string(),
    name: z.string(),
    status: z.string(),
    tenant_id: z.string(),
    created: z.string(),
    updated: z.string(),
    flavor: z.object({ id: z.string(), name: z.string(), vcpus: z.string(), ram: z.string(), disk: z.string() }),
    image: z.object({ id: z.string() }),
    metadata: z.record(z.string(), z.string()),
    addresses: z.record(z.string(), z.array(z.unknown())),
    tags: z.array(z.string()),
    sys_tags: z.array(z.object({ key: z.string(), value: z.string() })),
    'os-extended-volumes:volumes_attached': z.array(
      z.object({
        id: z.string(),
        device: z.string(),
        bootIndex: z.string().nullable(),
        delete_on_termination: z.string(),
      }),
    ),
    'OS-EXT-STS:task_state': z.string().nullable(),
    'OS-EXT-STS:vm_state': z.string(),
    'OS-EXT-STS:power_state': z.number(),
    'OS-EXT-AZ:availability_zone': z.string(),
    'OS-EXT-SRV-ATTR:root_device_name': z.string(),
  })
  .catchall(z.unknown());
export type ServerDocument = z.infer<typeof serverDocument>;
export const showServerAnswer = z.object({ server: serverDocument });
export type ShowServerAnswer = z.infer<typeof showServerAnswer>;
export const listServersAnswer = z.object({ count: z.number(), servers: z.array(serverDocument) });
export type ListServersAnswer = z.infer<typeof listServersAnswer>;

export const blockDevice = z.object({
  id: z.string(),
  volumeId: z.string(),
  serverId: z.string(),
  device: z.string(),
  size: z.number(),
  bootIndex: z.number().nullable(),
  pciAddress: z.string(),
});
export type BlockDevice = z.infer<typeof blockDevice>;
export const blockDevicesAnswer = z.object({
  attachableQuantity: z.object({ free_scsi: z.number(), free_blk: z.number(), free_disk: z.number() }),
  volumeAttachments: z.array(blockDevice),
});
export type BlockDevicesAnswer = z.infer<typeof blockDevicesAnswer>;
export const blockDeviceAnswer = z.object({ volumeAttachment: blockDevice });
export type BlockDeviceAnswer = z.infer<typeof blockDeviceAnswer>;
