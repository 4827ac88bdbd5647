import { z } from 'zod';
import { MEMBER_STATUSES, MEMBER_TYPES } from '../image-member';
import { refusal } from './refusal';

const BODY = { error: refusal('IMG.0001', 'the body must be a JSON object') };
const text = (name: string) => z.string({ error: refusal('IMG.0001', `${name} must be a string`) });

// The console sends a hundred targets at once (ims-api 9.3); what comes of each pair is recorded in one event.
const MAX_PAIRS = 256;
const list = <T extends z.ZodType>(name: string, element: T) =>
  z
    .array(element, { error: refusal('IMG.0001', `${name} must be a list of strings`) })
    .max(MAX_PAIRS, { error: refusal('IMG.0001', `${name} has ${MAX_PAIRS} elements at most`) });

const images = list('images', text('an image')).min(1, {
  error: refusal('IMG.0001', 'images must name an image'),
});
const tenant = (name: string) =>
  text(name).regex(/^[0-9a-f]{32}$/, { error: refusal('IMG.0067', `${name} has 32 hexadecimal digits`) });
// ims-api 9.1.
const URN =
  /^organizations::[^:\s]{1,64}:(?:organization:o-[\w-]{1,64}|root:o-[\w-]{1,64}\/r-[\w-]{1,64}|ou:o-[\w-]{1,64}\/ou-[\w-]{1,64})$/;

/** Body of POST and of DELETE /v1/cloudimages/members (ims-api 9.1): every image is shared with every target, or no longer. */
export const batchMembersRequest = z
  .object(
    {
      images,
      projects: list('projects', tenant('a project')).default([]),
      domains: list('domains', tenant('an account')).default([]),
      organizations: list(
        'organizations',
        text('an organization').regex(URN, { error: refusal('IMG.0001', 'an organization is named by its URN') }),
      ).default([]),
    },
    BODY,
  )
  .refine(({ projects, domains, organizations }) => projects.length + domains.length + organizations.length > 0, {
    error: refusal('IMG.0001', 'projects, domains or organizations must name a target'),
  })
  .refine(
    (body) =>
      body.images.length * (body.projects.length + body.domains.length + body.organizations.length) <= MAX_PAIRS,
    { error: refusal('IMG.0001', `at most ${MAX_PAIRS} shares are changed at once`) },
  );
export type BatchMembersRequest = z.infer<typeof batchMembersRequest>;

/** Body of PUT /v1/cloudimages/members (ims-api 9.1): what a receiver says to images that are shared with it. */
export const batchUpdateMembersRequest = z.object(
  {
    images,
    project_id: tenant('project_id'),
    status: z.enum(['accepted', 'rejected'], { error: refusal('IMG.0001', 'status must be accepted or rejected') }),
    vault_id: text('vault_id').max(64).optional(),
  },
  BODY,
);
export type BatchUpdateMembersRequest = z.infer<typeof batchUpdateMembersRequest>;

/** Body of POST /v2/images/{image_id}/members (ims-api 12.9). */
export const addMemberRequest = z.object({ member: text('member').min(1).max(256) }, BODY);
export type AddMemberRequest = z.infer<typeof addMemberRequest>;

/** Body of PUT /v2/images/{image_id}/members/{member_id} (ims-api 12.9). */
export const updateMemberRequest = z.object(
  {
    status: z.enum(MEMBER_STATUSES, { error: refusal('IMG.0001', 'status must be accepted, rejected or pending') }),
    vault_id: text('vault_id').max(64).optional(),
  },
  BODY,
);
export type UpdateMemberRequest = z.infer<typeof updateMemberRequest>;

// ims-api 9.2.
const MAX_MEMBERS = 1000;
const DEFAULT_MEMBERS = 500;

/** Query of the lists of members (ims-api 9.2). */
export const listMembersQuery = z.object({
  limit: z
    .string({ error: refusal('IMG.0001', 'limit is given more than once') })
    .regex(/^\d{1,4}$/, { error: refusal('IMG.0001', 'limit must be a whole number') })
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= MAX_MEMBERS, {
      error: refusal('IMG.0001', `limit must be 1 to ${MAX_MEMBERS}`),
    })
    .default(DEFAULT_MEMBERS),
  /** Opaque; from `page_info.next_marker`. */
  marker: z
    .string({ error: refusal('IMG.0001', 'marker is given more than once') })
    .regex(/^[\w+/=-]{0,512}$/, { error: refusal('IMG.0001', 'marker must be Base64') })
    .optional(),
});
export type ListMembersQuery = z.infer<typeof listMembersQuery>;

/** A member (ims-api 9.2). */
export const imageMember = z.object({
  status: z.enum(MEMBER_STATUSES),
  created_at: z.string(),
  updated_at: z.string(),
  image_id: z.string(),
  member_id: z.string(),
  member_type: z.enum(MEMBER_TYPES),
  urn: z.string().optional(),
  schema: z.literal('/v2/schemas/member'),
});
export type ImageMember = z.infer<typeof imageMember>;

/** A page of members; `next_marker` of the last one is empty. */
export const imageMemberList = z.object({
  members: z.array(imageMember),
  schema: z.literal('/v2/schemas/members'),
  page_info: z.object({ next_marker: z.string(), current_count: z.number().int() }),
});
export type ImageMemberList = z.infer<typeof imageMemberList>;
