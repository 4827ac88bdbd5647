import type { Database } from '../db-types';

/**
 * Tables that are rebuilt from events: `project` alone writes them, and a rebuild must give the same rows.
 * The order is the one in which a comparison reports.
 */
export const PROJECTION_TABLES = [
  'job',
  'job_step',
  'image',
  'image_part',
  'image_member',
  'quota',
  'recycle_bin',
  'usage_record',
] as const satisfies (keyof Database)[];
export type ProjectionTable = (typeof PROJECTION_TABLES)[number];

/** Every other table, and why it is not rebuilt from events. A new table must be named here or above. */
export const OTHER_TABLES = {
  event: 'the log itself',
  event_key: 'uniqueness of the log, written with each event and checked against it',
  stream_head: 'head of each chain, written with each event and checked against it',
  event_seal: 'order of the log as it is shown, fixed once after commit; nothing else knows when an event was sealed',
  seal_cursor: 'up to where the log is sealed; the last row of event_seal says the same',
  trace: 'made from sealed events when they are sealed, and made again by rebuildTraces',
  outbox: 'what is still to be sent to the workflow engine; meaningless once sent',
  idempotency_key: 'answers that are given again to the same call for a day; what the call did is in the log',
  staged_file:
    'bytes that are still arriving; what becomes of them is an event of the image or the job that takes them',
  export_upload: 'which upload a running export makes its object by; ends with its job',
  export_part: 'parts that a running export has sent; end with its job',
  job_progress: 'how far a step has come, overwritten every second; no fact worth keeping',
  step_attempt: 'evidence of attempts, written best effort beside the facts',
  dedup_domain: 'secret that keys the names of segments; secrets are never in events',
  kms_key: 'keys of the embedded key service, which is its own truth; wrapped keys are never in events',
  store_az: 'which directory or bucket holds an AZ; belongs to the installation',
  pack: 'where bytes lie; packs are rewritten and moved without a change of any image',
  segment: 'where bytes lie; rebuilt from the footers of the packs',
  segment_hold: 'claims of running jobs on segments; end with their job',
  manifest: 'content of an image by hash; rebuilt from the manifest objects beside the packs',
  manifest_hold: 'claims of running jobs on manifests; end with their job',
  manifest_segment: 'references of manifests; rebuilt from the manifest objects beside the packs',
  receive_fence:
    'which execution of a job of another region has spoken last; meaningless once its requests have grown old',
  account: 'identity, seeded from configuration',
  project: 'identity, seeded from configuration',
  organization_account: 'identity, seeded from configuration',
  iam_user: 'identity, seeded from configuration; holds a password hash',
  access_key: 'sealed secrets; never in events',
  token: 'hashes of live sessions; never in events',
  'cloud.backup': 'record of an embedded neighbour, which is its own truth',
  'cloud.checkpoint': 'record of an embedded neighbour, which is its own truth',
  'cloud.disk_backup': 'record of an embedded neighbour, which is its own truth',
  'cloud.disk_copy':
    'how far a running copy of the embedded neighbour has come; lives and dies with the files beside it',
  'cloud.disk_layer': 'where bytes of embedded disks lie; lives and dies with the files beside it',
  'cloud.server': 'record of an embedded neighbour, which is its own truth',
  'cloud.snapshot': 'record of an embedded neighbour, which is its own truth',
  'cloud.vault': 'record of an embedded neighbour, which is its own truth',
  'cloud.vault_server': 'record of an embedded neighbour, which is its own truth',
  'cloud.volume': 'record of an embedded neighbour, which is its own truth',
  'cloud.volume_attachment': 'record of an embedded neighbour, which is its own truth',
} as const satisfies Record<Exclude<keyof Database, ProjectionTable>, string>;
