import { z } from 'zod';
import { QUOTA_RESOURCES } from '../ids';
import { refusal } from './refusal';

const int32 = z.int().min(-2_147_483_648).max(2_147_483_647);

/** Keys that both dialects always send; every attribute beside them is a string (ims-api 2.2, 4.2). */
const imageCore = {
  id: z.uuid(),
  name: z.string(),
  status: z.enum(['queued', 'uploading', 'saving', 'active', 'deactivated', 'killed', 'deleted']),
  visibility: z.enum(['public', 'private', 'shared']),
  owner: z.string(),
  protected: z.boolean(),
  container_format: z.literal('bare'),
  disk_format: z.string(),
  min_disk: int32,
  min_ram: int32,
  tags: z.array(z.string()),
  created_at: z.string(),
  updated_at: z.string(),
  active_at: z.string(),
  self: z.string(),
  file: z.string(),
  schema: z.string(),
  virtual_env_type: z.string(),
  __imagetype: z.string(),
  __isregistered: z.string(),
  __image_source_type: z.string(),
  __image_size: z.string(),
  __os_type: z.string(),
  // Ours, in both dialects: what the plan of section 6 says of the system (OS-01 to OS-05); absent for a system that no table has.
  __os_support: z.enum(['full', 'extended', 'ended', 'unknown']).optional(),
  __os_supported_by: z.enum(['platform', 'vendor']).optional(),
  __os_eos: z.string().optional(),
  __os_eos_extended: z.string().optional(),
  __os_eos_effective: z.iso.date().optional(),
};

/** Element of GET /v2/cloudimages (column EL of ims-api 2.2): `size` and `virtual_size` fit into 32 bits or are left out. */
export const cloudImage = z
  .object({ ...imageCore, size: int32.optional(), virtual_size: int32.nullable(), checksum: z.string().optional() })
  .catchall(z.union([z.string(), z.boolean()]));
export type CloudImage = z.infer<typeof cloudImage>;

export const cloudImageList = z.object({ images: z.array(cloudImage) });
export type CloudImageList = z.infer<typeof cloudImageList>;

/** Image in the OpenStack dialect (columns GS and GI): digests are absent until they are known, never placeholders (ims-api 12.8). */
export const glanceImage = z
  .object({
    ...imageCore,
    size: z.int().optional(),
    virtual_size: int32.nullable(),
    os_hidden: z.boolean(),
    checksum: z.string().optional(),
    os_hash_algo: z.string().optional(),
    os_hash_value: z.string().optional(),
  })
  .catchall(z.string());
export type GlanceImage = z.infer<typeof glanceImage>;

export const glanceImageList = z.object({
  images: z.array(glanceImage),
  first: z.string(),
  next: z.string().optional(),
  schema: z.string(),
});
export type GlanceImageList = z.infer<typeof glanceImageList>;

/** Image of the API before version 2 (ims-api 3.3): attributes are `properties`. */
export const imageV1 = z.object({
  id: z.uuid(),
  name: z.string(),
  status: imageCore.status,
  disk_format: z.string(),
  container_format: z.literal('bare'),
  size: z.int(),
  virtual_size: int32.nullable(),
  checksum: z.string().nullable(),
  min_disk: int32,
  min_ram: int32,
  owner: z.string(),
  protected: z.boolean(),
  is_public: z.boolean(),
  deleted: z.boolean(),
  deleted_at: z.null(),
  created_at: z.string(),
  updated_at: z.string(),
  properties: z.record(z.string(), z.string()),
});
export type ImageV1 = z.infer<typeof imageV1>;

export const imageListV1 = z.object({ images: z.array(imageV1) });
export type ImageListV1 = z.infer<typeof imageListV1>;

const subJob = {
  status: z.enum(['INIT', 'RUNNING', 'SUCCESS', 'FAIL']),
  job_id: z.string(),
  job_type: z.string(),
  begin_time: z.string(),
  end_time: z.string(),
  error_code: z.string().nullable(),
  fail_reason: z.string().nullable(),
};
/** One of the jobs of a job of several images (ims-api 10.3). */
const subJobResult = z.object({
  ...subJob,
  entities: z.object({ image_id: z.string().optional(), image_name: z.string().optional() }),
});
export type SubJobResult = z.infer<typeof subJobResult>;

const cloudEntities = { server_id: z.string().optional(), volume_id: z.string().optional() };
/** A part of a job for several servers or disks (backends E4, E5). */
export const cloudSubJob = z.object({ ...subJob, entities: z.object(cloudEntities) });
export type CloudSubJob = z.infer<typeof cloudSubJob>;

/** What became of an image and a target of a batch of shares (ims-api 10.3), with its code where it failed, which is ours. */
export const memberResult = z.object({
  image_id: z.string(),
  project_id: z.string().optional(),
  domain_id: z.string().optional(),
  organization_id: z.string().optional(),
  status: z.enum(['success', 'fail']),
  error_code: z.string().optional(),
  error_msg: z.string().optional(),
});
export type MemberResult = z.infer<typeof memberResult>;

/**
 * Job document (ims-api 10.2, 10.3; backends E4, E5) with additions of ours: how far and how fast the step at work is, when the whole job is expected
 * to end, whether it is paused, and where its workflow can be watched.
 */
export const jobDocument = z.object({
  status: z.enum(['INIT', 'RUNNING', 'SUCCESS', 'FAIL']),
  job_id: z.string(),
  job_type: z.string(),
  begin_time: z.string(),
  end_time: z.string(),
  error_code: z.string().nullable(),
  fail_reason: z.string().nullable(),
  entities: z.object({
    image_id: z.string().optional(),
    image_name: z.string().optional(),
    current_task: z.string().optional(),
    process_percent: z.number().min(0).max(1),
    sub_jobs_result: z.array(subJobResult).optional(),
    sub_jobs_list: z.array(z.string()).optional(),
    ...cloudEntities,
    results: z.array(memberResult).optional(),
    sub_jobs_total: z.number().optional(),
    sub_jobs: z.array(cloudSubJob).optional(),
    error_code: z.string().optional(),
    error: z.string().optional(),
  }),
  /** While steps wait; `status` stays what it was, for clients that know no other. */
  paused: z.literal(true).optional(),
  paused_at: z.string().optional(),
  /** Of the step at work, where it moves bytes. */
  bytes_done: z.int().optional(),
  bytes_total: z.int().optional(),
  bytes_per_second: z.int().optional(),
  /** Never grows while the job runs; absent while nobody can know. */
  eta_seconds: z.int().min(1).optional(),
  /** Not the vendor's: what could not be told of the system in a file, and what is known of its support (CRE-33, OS-01). */
  warnings: z.array(z.string()).optional(),
  temporal_url: z.string().optional(),
});
export type JobDocument = z.infer<typeof jobDocument>;

/** GET /v1/cloudimages/quota (ims-api 11). */
export const quotaAnswer = z.object({
  quotas: z.object({
    resources: z.array(z.object({ type: z.string(), used: int32, quota: int32, min: int32, max: int32 })),
  }),
});
export type QuotaAnswer = z.infer<typeof quotaAnswer>;

/** Body of PUT /v1/cloudimages/quota, by which the operator sets what a project may have. */
export const setQuotaRequest = z.object(
  {
    project_id: z.string({ error: refusal('IMG.0067', 'project_id must be a string') }),
    type: z.enum(QUOTA_RESOURCES, {
      error: refusal('IMG.0021', `type must be one of ${QUOTA_RESOURCES.join(', ')}`),
    }),
    quota: z.int({ error: refusal('IMG.0001', 'quota must be a whole number') }),
  },
  { error: refusal('IMG.0001', 'the body must be a JSON object') },
);
export type SetQuotaRequest = z.infer<typeof setQuotaRequest>;

export const apiVersion = z.object({
  id: z.string(),
  status: z.enum(['CURRENT', 'SUPPORTED', 'DEPRECATED']),
  links: z.array(z.object({ href: z.string(), rel: z.literal('self') })),
});
export type ApiVersion = z.infer<typeof apiVersion>;
/** Version discovery (ims-api 13.2). */
export const apiVersions = z.object({ versions: z.array(apiVersion) });
export type ApiVersions = z.infer<typeof apiVersions>;
