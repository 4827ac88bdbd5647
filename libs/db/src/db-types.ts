// Generated from the migrated database by libs/db/generate-types.mjs. Do not edit.
import type { ColumnType, Generated, GeneratedAlways } from 'kysely';

/** Read as the parsed value, written as JSON text (a JavaScript array would be sent as a Postgres array). */
export type Json = ColumnType<unknown, string, string>;
export type NullableJson = ColumnType<unknown, string | null | undefined, string | null>;
export type Timestamp = ColumnType<Date, Date, Date>;
export type NullableTimestamp = ColumnType<Date | null, Date | null | undefined, Date | null>;
export type DefaultTimestamp = ColumnType<Date, Date | undefined, Date>;

export interface AccessKeyTable {
  access: string;
  user_id: string;
  secret_sealed: Buffer;
  status: Generated<'active' | 'inactive'>;
  security_token_hash: Buffer | null;
  expires_at: NullableTimestamp;
  created_at: DefaultTimestamp;
}

export interface AccountTable {
  id: string;
  name: string;
  enabled: Generated<boolean>;
}

export interface CloudBackupTable {
  id: string;
  project_id: string;
  line: 'CBR' | 'CSBS';
  name: string;
  checkpoint_id: string;
  vault_id: string | null;
  server_id: string;
  server_name: string;
  availability_zone: string;
  status:
    | 'available'
    | 'protecting'
    | 'deleting'
    | 'restoring'
    | 'error'
    | 'waiting_protect'
    | 'waiting_delete'
    | 'waiting_restore';
  image_id: string | null;
  shared_from_project_id: string | null;
  created_at: Timestamp;
}

export interface CloudCheckpointTable {
  id: string;
  project_id: string;
  line: 'CBR' | 'CSBS';
  vault_id: string | null;
  server_id: string;
  status: 'protecting' | 'available' | 'error' | 'deleted';
  backup_id: string;
  quiesced_by: 'no-writer' | 'writes-held' | 'guest-paused';
  bytes_stored: Generated<number>;
  bytes_read: Generated<number>;
  request: Json;
  created_at: Timestamp;
  disks: Json;
}

export interface CloudDiskBackupTable {
  id: string;
  backup_id: string;
  volume_id: string;
  size_gib: number;
  device: string;
  is_system_disk: boolean;
  bootable: boolean;
  key_id: string | null;
  is_incremental: boolean;
  stored_bytes: number;
  layer_id: string;
  source_layer_id: string;
  bytes_read: Generated<number>;
}

export interface CloudDiskCopyTable {
  id: string;
  checkpoint_id: string;
  layer_id: string;
  size_bytes: number;
  parent_layer_id: string | null;
  position_bytes: Generated<number>;
  bytes_read: Generated<number>;
  reserved_bytes: number;
}

export interface CloudDiskLayerTable {
  id: string;
  size_bytes: number;
  granule_bytes: number;
  base_layer_id: string | null;
  base_image: NullableJson;
  sealed: Generated<boolean>;
  held_bytes: Generated<number>;
  created_at: Timestamp;
}

export interface CloudServerTable {
  id: string;
  project_id: string;
  name: string;
  kind: 'ecs' | 'bms';
  status: string;
  task_state: string | null;
  task_holder: string | null;
  res_status: Generated<'normal' | 'freeze'>;
  is_being_reclaimed: boolean;
  boot_from: 'volume' | 'local-disk';
  flavor: Json;
  image_id: string | null;
  metadata: Json;
  availability_zone: string;
  request: Json;
  created_at: Timestamp;
  deleted_at: NullableTimestamp;
}

export interface CloudSnapshotTable {
  id: string;
  project_id: string;
  volume_id: string;
  server_id: string | null;
  size_gib: number;
  bootable: boolean;
  key_id: string | null;
  layer_id: string;
  quiesced_by: 'no-writer' | 'writes-held' | 'guest-paused';
  created_at: Timestamp;
}

export interface CloudVaultTable {
  id: string;
  project_id: string;
  name: string;
  object_type: 'server' | 'disk' | 'turbo';
  protect_type: 'backup' | 'replication';
  status: 'available' | 'lock' | 'frozen' | 'deleting' | 'error';
  size_gib: number;
  member_limit: number;
  request: Json;
  created_at: Timestamp;
}

export interface CloudVaultServerTable {
  server_id: string;
  vault_id: string;
}

export interface CloudVolumeTable {
  id: string;
  project_id: string;
  name: string;
  availability_zone: string;
  is_failed: Generated<boolean>;
  size_gib: number;
  volume_type: string;
  disk_use: 'system' | 'data';
  bootable: boolean;
  key_id: string | null;
  shareable: boolean;
  pool: 'evs' | 'dss' | 'dess';
  origin: Json;
  layer_id: string | null;
  request: Json;
  created_at: Timestamp;
  deleted_at: NullableTimestamp;
}

export interface CloudVolumeAttachmentTable {
  volume_id: string;
  server_id: string;
  device: string;
  boot_index: number | null;
  delete_on_termination: boolean;
}

export interface DedupDomainTable {
  id: string;
  project_id: string;
  key_id: string | null;
  secret: Buffer;
  wrapped_key: Buffer | null;
  key_commitment: Buffer | null;
}

export interface EventTable {
  global_position: number;
  event_id: string;
  stream_id: string;
  stream_position: number;
  type: string;
  schema_version: number;
  event_key: string;
  occurred_at: Timestamp;
  recorded_at: Timestamp;
  transaction_id: string;
  actor: Json;
  project_id: string;
  job_id: string | null;
  request_id: string | null;
  workflow_id: string | null;
  run_id: string | null;
  step: string | null;
  attempt: number | null;
  data: Json;
  leaf: Buffer;
  prev_hash: Buffer;
  hash: Buffer;
}

export interface EventKeyTable {
  stream_id: string;
  event_key: string;
  event_id: string;
  recorded_at: Timestamp;
  content_hash: Buffer;
}

export interface EventSealTable {
  project_id: string;
  log_index: number;
  event_id: string;
  recorded_at: Timestamp;
  stream_id: string;
  type: string;
  job_id: string | null;
  image_id: string | null;
  sealed_at: Timestamp;
}

export interface ExportPartTable {
  job_id: string;
  part: number;
  size_bytes: number;
  md5: string;
  etag: string;
  mark: Json;
}

export interface ExportUploadTable {
  job_id: string;
  bucket: string;
  object_key: string;
  upload_id: string | null;
  part_bytes: number;
  foreign_uploads: Json;
  sha256: string | null;
}

export interface IamUserTable {
  id: string;
  account_id: string;
  name: string;
  password_hash: string | null;
  enabled: Generated<boolean>;
  authz_epoch: Generated<number>;
  permissions: string[];
}

export interface IdempotencyKeyTable {
  project_id: string;
  operation: string;
  key: string;
  fingerprint: string;
  claim_id: string;
  claimed_at: Timestamp;
  is_recorded: boolean;
  effect_at: NullableTimestamp;
  status: number | null;
  headers: NullableJson;
  body: string | null;
}

export interface ImageTable {
  id: string;
  project_id: string;
  name: string;
  status: 'queued' | 'uploading' | 'saving' | 'active' | 'deactivated' | 'killed' | 'deleted';
  image_type: Generated<string>;
  disk_format: string;
  min_disk_gib: number;
  min_ram_mib: number;
  tags: string[];
  tag_terms: GeneratedAlways<string[]>;
  attributes: Json;
  protected: Generated<boolean>;
  domain_id: string | null;
  manifest_hash: string | null;
  content_root: string | null;
  virtual_size_bytes: number | null;
  stored_bytes: number | null;
  file_bytes: number | null;
  md5: string | null;
  sha512: string | null;
  created_at: Timestamp;
  updated_at: Timestamp;
  active_at: NullableTimestamp;
  deleted_at: NullableTimestamp;
  form: Generated<'disk' | 'file'>;
  parent_id: string | null;
  public_platform: string | null;
  product_code: string | null;
  hidden: Generated<boolean>;
  binned_at: NullableTimestamp;
  purge_after: NullableTimestamp;
  purges_backup: Generated<boolean>;
  held_at: NullableTimestamp;
  hold_reason: string | null;
  held_by: string | null;
  deprecated_at: NullableTimestamp;
  replacement_id: string | null;
  revoked_at: NullableTimestamp;
  revoke_reason: string | null;
  catalogue_key: string | null;
  catalogue: NullableJson;
  retired_at: NullableTimestamp;
  listing: NullableJson;
}

export interface ImageMemberTable {
  image_id: string;
  member_id: string;
  member_type: 'project' | 'domain' | 'organization';
  urn: string | null;
  via: string | null;
  status: 'pending' | 'accepted' | 'rejected';
  vault_id: string | null;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface ImagePartTable {
  image_id: string;
  part: string;
  domain_id: string;
  manifest_hash: string;
  content_root: string;
  virtual_size_bytes: number;
  stored_bytes: number;
}

export interface JobTable {
  id: string;
  project_id: string;
  type: string;
  saga: string;
  status: 'INIT' | 'RUNNING' | 'SUCCESS' | 'FAIL';
  outcome: 'succeeded' | 'failed' | 'cancelled' | null;
  image_id: string | null;
  image_name: string;
  request: Json;
  steps: string[];
  current_step: string | null;
  epoch: Generated<number>;
  cancel_reason: string | null;
  error_code: string | null;
  fail_reason: string | null;
  begin_at: Timestamp;
  end_at: NullableTimestamp;
  parent_id: string | null;
  paused_at: NullableTimestamp;
  pauses: Generated<number>;
}

export interface JobProgressTable {
  job_id: string;
  step: string;
  bytes_done: number;
  bytes_total: number;
  updated_at: Timestamp;
  step_share: Generated<number>;
  bytes_per_second: number | null;
  measured_from: NullableTimestamp;
  measured_bytes: Generated<number>;
  eta_at: NullableTimestamp;
}

export interface JobStepTable {
  job_id: string;
  step: string;
  state: 'completed' | 'undone';
  output: NullableJson;
  completed_at: NullableTimestamp;
  undone_at: NullableTimestamp;
}

export interface KmsKeyTable {
  id: string;
  project_id: string;
  account_id: string;
  alias: string;
  description: string;
  spec: string;
  usage: string;
  origin: string;
  state: 'enabled' | 'disabled' | 'pending-deletion';
  material_wrapped: Buffer;
  created_at: Timestamp;
  deletion_at: NullableTimestamp;
  enterprise_project_id: string;
}

export interface ManifestTable {
  domain_id: string;
  hash: string;
  virtual_size_bytes: number;
  segment_count: number;
  published: Generated<boolean>;
  released_at: NullableTimestamp;
}

export interface ManifestHoldTable {
  job_id: string;
  domain_id: string;
  hash: string;
  part: Generated<string>;
}

export interface ManifestSegmentTable {
  domain_id: string;
  manifest_hash: string;
  key: Buffer;
}

export interface OrganizationAccountTable {
  id: string;
  urn: string;
  account_id: string;
}

export interface OutboxTable {
  id: GeneratedAlways<number>;
  workflow_type: string;
  workflow_id: string;
  task_queue: string;
  input: Json;
  summary: string;
  allow_duplicate: Generated<boolean>;
  created_at: DefaultTimestamp;
  sent_at: NullableTimestamp;
}

export interface PackTable {
  id: string;
  domain_id: string;
  job_id: string | null;
  state: 'open' | 'sealed' | 'retired';
  size_bytes: number | null;
  live_bytes: Generated<number>;
  created_at: DefaultTimestamp;
  sealed_at: NullableTimestamp;
  retired_at: NullableTimestamp;
}

export interface ProjectTable {
  id: string;
  account_id: string;
  name: string;
  description: Generated<string>;
  enabled: Generated<boolean>;
}

export interface QuotaTable {
  project_id: string;
  resource: string;
  quota_limit: number | null;
  used: Generated<number>;
  reserved: Generated<number>;
}

export interface ReceiveFenceTable {
  job_id: string;
  source_region: string;
  called_back_at: NullableTimestamp;
  epoch: number;
}

export interface RecycleBinTable {
  project_id: string;
  retention_days: number | null;
}

export interface SealCursorTable {
  one: Generated<boolean>;
  transaction_id: string;
  global_position: number;
}

export interface SegmentTable {
  domain_id: string;
  key: Buffer;
  pack_id: string;
  pack_offset: number;
  frame_lengths: number[];
  frame_checksums: number[];
  stored_bytes: number;
  frame_nonces: Buffer | null;
}

export interface SegmentHoldTable {
  job_id: string;
  segment_index: number;
  domain_id: string;
  key: Buffer;
  root: Buffer;
  part: Generated<string>;
  wire_bytes: Generated<number>;
}

export interface StagedFileTable {
  id: string;
  project_id: string;
  image_id: string | null;
  job_id: string | null;
  sealed: Generated<boolean>;
  length_bytes: Generated<number>;
  held_bytes: Generated<number>;
  announced_bytes: number | null;
  validator: string | null;
  created_at: Timestamp;
  touched_at: Timestamp;
}

export interface StepAttemptTable {
  id: GeneratedAlways<number>;
  job_id: string;
  step: string;
  attempt: number;
  run_id: string | null;
  worker: string;
  started_at: Timestamp;
  ended_at: NullableTimestamp;
  outcome: 'completed' | 'failed' | 'cancelled' | 'paused' | null;
  error: string | null;
  detail: NullableJson;
}

export interface StoreAzTable {
  name: string;
  id: string;
  initialized: Generated<boolean>;
}

export interface StreamHeadTable {
  stream_id: string;
  position: number;
  hash: Buffer;
  transaction_id: string;
}

export interface TokenTable {
  hash: Buffer;
  user_id: string;
  project_id: string | null;
  account_id: string;
  methods: string[];
  authz_epoch: number;
  issued_at: Timestamp;
  expires_at: Timestamp;
  revoked_at: NullableTimestamp;
}

export interface TraceTable {
  project_id: string;
  log_index: number;
  trace_id: string;
  is_step: boolean;
  trace_name: string;
  trace_rating: 'normal' | 'warning' | 'incident';
  service_type: string;
  resource_type: string;
  resource_id: string | null;
  resource_name: string | null;
  user_name: string | null;
  access_key_id: string | null;
  enterprise_project_id: string | null;
  document: Json;
}

export interface UsageRecordTable {
  id: string;
  project_id: string;
  image_id: string | null;
  meter: string;
  quantity_bytes: number;
  opened_at: Timestamp;
  closed_at: NullableTimestamp;
  voided_at: NullableTimestamp;
  backup_id: string | null;
  product_code: string | null;
}

export interface Database {
  access_key: AccessKeyTable;
  account: AccountTable;
  'cloud.backup': CloudBackupTable;
  'cloud.checkpoint': CloudCheckpointTable;
  'cloud.disk_backup': CloudDiskBackupTable;
  'cloud.disk_copy': CloudDiskCopyTable;
  'cloud.disk_layer': CloudDiskLayerTable;
  'cloud.server': CloudServerTable;
  'cloud.snapshot': CloudSnapshotTable;
  'cloud.vault': CloudVaultTable;
  'cloud.vault_server': CloudVaultServerTable;
  'cloud.volume': CloudVolumeTable;
  'cloud.volume_attachment': CloudVolumeAttachmentTable;
  dedup_domain: DedupDomainTable;
  event: EventTable;
  event_key: EventKeyTable;
  event_seal: EventSealTable;
  export_part: ExportPartTable;
  export_upload: ExportUploadTable;
  iam_user: IamUserTable;
  idempotency_key: IdempotencyKeyTable;
  image: ImageTable;
  image_member: ImageMemberTable;
  image_part: ImagePartTable;
  job: JobTable;
  job_progress: JobProgressTable;
  job_step: JobStepTable;
  kms_key: KmsKeyTable;
  manifest: ManifestTable;
  manifest_hold: ManifestHoldTable;
  manifest_segment: ManifestSegmentTable;
  organization_account: OrganizationAccountTable;
  outbox: OutboxTable;
  pack: PackTable;
  project: ProjectTable;
  quota: QuotaTable;
  receive_fence: ReceiveFenceTable;
  recycle_bin: RecycleBinTable;
  seal_cursor: SealCursorTable;
  segment: SegmentTable;
  segment_hold: SegmentHoldTable;
  staged_file: StagedFileTable;
  step_attempt: StepAttemptTable;
  store_az: StoreAzTable;
  stream_head: StreamHeadTable;
  token: TokenTable;
  trace: TraceTable;
  usage_record: UsageRecordTable;
}
