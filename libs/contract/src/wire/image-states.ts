import { z } from 'zod';
import { refusal } from './refusal';

const bad = (detail: string) => ({ error: refusal('IMG.0001', detail) });
const BODY = bad('the body must be a JSON object');
// A reason is one sentence for people; it is part of refusals.
const MAX_REASON = 255;
const reason = z
  .string(bad('reason must be a string'))
  .trim()
  .min(1, bad('reason must not be empty'))
  .max(MAX_REASON, bad(`reason has up to ${MAX_REASON} characters`))
  .regex(/^[^\p{Cc}]*$/u, bad('reason must have no control characters'));

/** Body of what is decided about an image with a reason: a legal hold, a revocation. */
export const reasonedRequest = z.object({ reason }, BODY);
export type ReasonedRequest = z.infer<typeof reasonedRequest>;
/** Body of taking that back. */
export const takenBackRequest = z.object({ reason: reason.nullish() }, BODY);
export type TakenBackRequest = z.infer<typeof takenBackRequest>;

export const legalHold = z.object({
  image_id: z.string(),
  reason: z.string(),
  held_by: z.string(),
  held_at: z.string(),
});
export type LegalHold = z.infer<typeof legalHold>;

export const revocation = z.object({ image_id: z.string(), reason: z.string(), revoked_at: z.string() });
export type Revocation = z.infer<typeof revocation>;

// Longer than any id; whether there is such an image is the domain's to say.
const MAX_ID = 64;

/** Body of a deprecation: from when on (now when left out), and which image to use instead. */
export const deprecationRequest = z.object(
  {
    deprecated_at: z.iso.datetime({ offset: true, ...bad('deprecated_at must be a time of RFC 3339') }).nullish(),
    replacement_image_id: z
      .string(bad('replacement_image_id must be a string'))
      .max(MAX_ID, bad('replacement_image_id is too long'))
      .nullish(),
  },
  BODY,
);
export type DeprecationRequest = z.infer<typeof deprecationRequest>;

// The bound of a list (ims-api 4.1).
const MAX_PAGE = 1000;

export const recycleBinQuery = z.object({
  limit: z.coerce
    .number(bad('limit must be a number'))
    .int(bad('limit must be whole'))
    .min(1, bad(`limit must be 1 to ${MAX_PAGE}`))
    .max(MAX_PAGE, bad(`limit must be 1 to ${MAX_PAGE}`))
    .optional(),
  marker: z.string(bad('marker must be given once')).optional(),
});
export type RecycleBinQuery = z.infer<typeof recycleBinQuery>;

export const binnedImage = z.object({
  id: z.string(),
  name: z.string(),
  status: z.string(),
  /** Bytes that it keeps, and is charged for, until it is purged. */
  stored_bytes: z.int(),
  deleted_at: z.string(),
  purge_after: z.string(),
  /** Why it will not be purged before that hold is released. */
  legal_hold: z.string().optional(),
});

/** GET /v1/cloudimages/recycle-bin. */
export const recycleBin = z.object({
  /** For how many days images that are deleted from now on stay; 0: they are gone at once. */
  retention_days: z.int(),
  /** The project has chosen it itself. */
  is_own_choice: z.boolean(),
  images: z.array(binnedImage),
  next_marker: z.string().optional(),
});
export type RecycleBin = z.infer<typeof recycleBin>;

/** Body of PUT /v1/cloudimages/recycle-bin; `null` takes the choice back. */
export const recycleBinRequest = z.object(
  { retention_days: z.int(bad('retention_days must be a whole number')).nullable() },
  BODY,
);
export type RecycleBinRequest = z.infer<typeof recycleBinRequest>;

const lineageNode = z.object({
  /** The image's id, or a name within this answer for an image that the caller may not know. */
  ref: z.string(),
  /** `ref` of the image that it was made from, where that is known here. */
  parent_ref: z.string().nullable(),
  /** Generations from the image that was asked for. */
  depth: z.int(),
  /** `null` for an image that the caller may not know, with all that follows. */
  id: z.string().nullable(),
  name: z.string().nullable(),
  /** `binned`: in the recycle bin. */
  status: z.string().nullable(),
  image_type: z.string().nullable(),
  created_at: z.string().nullable(),
  /** What its bytes came from (ims-api 2.2): a file, server, disk, backup or image. */
  origin: z.object({ kind: z.string(), reference: z.string() }).nullable(),
  /** It makes nothing any more, and neither does what descends from it. Also told of images that the caller may not know. */
  revoked: z.object({ reason: z.string() }).nullable(),
});
export type LineageNode = z.infer<typeof lineageNode>;

/** GET /v1/cloudimages/{image_id}/lineage. */
export const imageLineageAnswer = z.object({
  image: lineageNode,
  /** Nearest first. */
  ancestors: z.array(lineageNode),
  descendants: z.array(lineageNode),
  /** Copies in other regions, of the image and its descendants. */
  replicas: z.array(z.object({ source_ref: z.string(), region: z.string(), image_id: z.string() })),
  /** The caller's servers that were made from the image or its descendants. */
  servers: z.array(z.object({ image_ref: z.string(), id: z.string(), name: z.string() })),
  /** There is more than is told. */
  truncated: z.boolean(),
});
export type ImageLineageAnswer = z.infer<typeof imageLineageAnswer>;
