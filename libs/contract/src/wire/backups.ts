import { z } from 'zod';
import { refusal } from './refusal';

// Ids and names of the backup service have 64 characters at most (backends E1).
const MAX_TEXT = 64;
const MAX_DESCRIPTION = 255;
const malformed = (field: string, what: string) => ({ error: refusal('BackupService.9900', `${field} ${what}`) });
const text = (field: string) =>
  z
    .string(malformed(field, 'must be a string'))
    .min(1, malformed(field, 'is empty'))
    .max(MAX_TEXT, malformed(field, 'is too long'));
const flag = (field: string) => z.boolean(malformed(field, 'must be a boolean'));
const object = malformed('the body', 'must be a JSON object');

const resource = z.object({
  id: text('resource_details.id'),
  type: z.literal('OS::Nova::Server', malformed('resource_details.type', 'must be OS::Nova::Server')),
  name: z.string(malformed('resource_details.name', 'must be a string')).optional(),
});

// A vault holds 100 servers by default; a call that names more is none that anyone means.
const MAX_RESOURCES = 100;

/** Body of POST /v3/{project_id}/checkpoints (backends E1). */
export const createCheckpointRequest = z.object(
  {
    checkpoint: z.object(
      {
        vault_id: text('vault_id'),
        parameters: z
          .object({
            auto_trigger: flag('auto_trigger').optional(),
            incremental: flag('incremental').optional(),
            name: text('name').optional(),
            description: z
              .string(malformed('description', 'must be a string'))
              .max(MAX_DESCRIPTION, malformed('description', 'is too long'))
              .optional(),
            resources: z
              .array(text('resources'), malformed('resources', 'must be a list of ids'))
              .max(MAX_RESOURCES, malformed('resources', 'is too long'))
              .optional(),
            resource_details: z
              .array(resource, malformed('resource_details', 'must be a list of objects'))
              .max(MAX_RESOURCES, malformed('resource_details', 'is too long'))
              .optional(),
          })
          .optional(),
      },
      object,
    ),
  },
  object,
);
export type CreateCheckpointRequest = z.infer<typeof createCheckpointRequest>;

// As large as the vendor sells them, GB.
const MAX_VAULT_GIB = 10_485_760;

/** Body of POST /v3/{project_id}/vaults: as much of it as a vault for servers needs. */
export const createVaultRequest = z.object(
  {
    vault: z.object(
      {
        name: text('name'),
        description: z
          .string(malformed('description', 'must be a string'))
          .max(MAX_DESCRIPTION, malformed('description', 'is too long'))
          .optional(),
        billing: z.object(
          {
            consistent_level: z.string(malformed('consistent_level', 'must be a string')).optional(),
            object_type: z.enum(['server', 'disk', 'turbo'], malformed('object_type', 'must be server, disk or turbo')),
            protect_type: z.enum(['backup', 'replication'], malformed('protect_type', 'must be backup or replication')),
            size: z
              .int({ error: refusal('BackupService.6101', 'size must be an integer') })
              .min(1, { error: refusal('BackupService.6101', 'size must be 1 GB or more') })
              .max(MAX_VAULT_GIB, { error: refusal('BackupService.6101', `size must be ${MAX_VAULT_GIB} GB or less`) }),
          },
          malformed('billing', 'must be an object'),
        ),
        resources: z
          .array(resource, malformed('resources', 'must be a list of objects'))
          .max(MAX_RESOURCES, malformed('resources', 'is too long'))
          .optional(),
      },
      object,
    ),
  },
  object,
);
export type CreateVaultRequest = z.infer<typeof createVaultRequest>;

const one = z.union([z.string(), z.array(z.string()).transform((all) => all.at(-1) ?? '')]);
const count = (name: string, least: number, most: number) =>
  one
    .transform((value) => (/^\d{1,7}$/.test(value) ? Number(value) : NaN))
    .pipe(
      z
        .number(malformed(name, 'must be a number'))
        .min(least, malformed(name, `must be ${least} or more`))
        .max(most, malformed(name, `must be ${most} or less`)),
    );

/** Query of GET /v3/{project_id}/backups (backends E1). */
export const listBackupsQuery = z
  .object({
    resource_id: one,
    checkpoint_id: one,
    vault_id: one,
    image_type: one,
    status: one,
    name: one,
    limit: count('limit', 1, 1000),
    offset: count('offset', 0, 9_999_999),
  })
  .partial();
export type ListBackupsQuery = z.infer<typeof listBackupsQuery>;

const diskBackupDocument = z.object({
  id: z.string(),
  parent_id: z.string(),
  resource_type: z.literal('OS::Cinder::Volume'),
  resource_id: z.string(),
  resource_size: z.int(),
  status: z.string(),
  provider_id: z.string(),
  image_type: z.literal('backup'),
  extend_info: z.object({
    bootable: z.boolean(),
    system_disk: z.boolean(),
    snapshot_id: z.string(),
    encrypted: z.boolean(),
    incremental: z.boolean(),
    size: z.int(),
  }),
  children: z.array(z.never()),
});

/** A backup of a server (backends E1). */
export const backupDocument = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  status: z.string(),
  project_id: z.string(),
  vault_id: z.string(),
  checkpoint_id: z.string(),
  provider_id: z.string(),
  resource_type: z.literal('OS::Nova::Server'),
  resource_id: z.string(),
  resource_name: z.string(),
  resource_az: z.string(),
  resource_size: z.int(),
  image_type: z.literal('backup'),
  enterprise_project_id: z.string(),
  created_at: z.string(),
  updated_at: z.string(),
  protected_at: z.string(),
  expired_at: z.null(),
  parent_id: z.null(),
  extend_info: z.object({
    auto_trigger: z.boolean(),
    incremental: z.boolean(),
    supported_restore_mode: z.literal('backup'),
    support_lld: z.boolean(),
    contain_system_disk: z.boolean(),
    os_images_data: z.array(z.object({ image_id: z.string() })),
  }),
  children: z.array(diskBackupDocument),
});
export type BackupDocument = z.infer<typeof backupDocument>;
export const backupAnswer = z.object({ backup: backupDocument });
export type BackupAnswer = z.infer<typeof backupAnswer>;
export const backupList = z.object({
  backups: z.array(backupDocument),
  count: z.int(),
  limit: z.int(),
  offset: z.int(),
});
export type BackupList = z.infer<typeof backupList>;

const vaultResource = z.object({
  id: z.string(),
  name: z.string(),
  type: z.literal('OS::Nova::Server'),
  protect_status: z.string(),
});

/** A vault (backends E1). `size` and `used` in GB, the latter rounded up. */
export const vaultDocument = z.object({
  id: z.string(),
  name: z.string(),
  project_id: z.string(),
  provider_id: z.string(),
  created_at: z.string(),
  billing: z.object({
    consistent_level: z.literal('crash_consistent'),
    object_type: z.string(),
    protect_type: z.string(),
    size: z.int(),
    used: z.int(),
    status: z.string(),
    charging_mode: z.literal('post_paid'),
  }),
  resources: z.array(vaultResource),
});
export type VaultDocument = z.infer<typeof vaultDocument>;
export const vaultAnswer = z.object({ vault: vaultDocument });
export type VaultAnswer = z.infer<typeof vaultAnswer>;
export const vaultList = z.object({ vaults: z.array(vaultDocument), count: z.int() });
export type VaultList = z.infer<typeof vaultList>;

/** A checkpoint, at its start and later (backends E1). */
export const checkpointAnswer = z.object({
  checkpoint: z.object({
    id: z.string(),
    status: z.enum(['protecting', 'available', 'error', 'deleted']),
    project_id: z.string(),
    created_at: z.string(),
    vault: z.object({
      id: z.string(),
      name: z.string(),
      resources: z.array(vaultResource),
      skipped_resources: z.array(z.never()),
    }),
    extra_info: z.object({ name: z.string(), description: z.string() }),
  }),
});
export type CheckpointAnswer = z.infer<typeof checkpointAnswer>;

/** A backup of the retired line (backends E2). */
export const checkpointItemAnswer = z.object({
  checkpoint_item: z.object({
    id: z.string(),
    checkpoint_id: z.string(),
    name: z.string(),
    status: z.string(),
    resource_id: z.string(),
    resource_type: z.literal('OS::Nova::Server'),
    created_at: z.string(),
    updated_at: z.string(),
    tags: z.array(z.never()),
    backup_data: z.object({ cloudservicetype: z.string(), imagetype: z.string() }),
    extend_info: z.object({
      auto_trigger: z.boolean(),
      incremental: z.boolean(),
      progress: z.int(),
      size: z.int(),
      copy_status: z.literal('na'),
      hypervisor_type: z.literal('QEMU'),
      supported_restore_mode: z.literal('backup'),
      support_lld: z.boolean(),
      os_images_data: z.array(z.object({ image_id: z.string() })),
      resource_az: z.string(),
      resource_name: z.string(),
      finished_at: z.string(),
      volume_backups: z.array(
        z.object({
          id: z.string(),
          name: z.string(),
          status: z.string(),
          bootable: z.boolean(),
          source_volume_id: z.string(),
          source_volume_name: z.string(),
          source_volume_size: z.int(),
          snapshot_id: z.string(),
          image_type: z.literal('backup'),
          incremental: z.boolean(),
          size: z.int(),
        }),
      ),
    }),
  }),
});
export type CheckpointItemAnswer = z.infer<typeof checkpointItemAnswer>;
