import type { ErrorCode } from '../errors';

/**
 * The message of a wire schema's issue: the documented code, then what is wrong with the field (ims-api 15).
 *
 * @example z.string({ error: refusal('IMG.0013', 'name must be a string') })
 */
export const refusal = (code: ErrorCode, detail: string): string => `${code}: ${detail}`;

// A job's request is recorded in one event of at most 65,535 bytes, whose other fields take a few hundred.
const MAX_RECORDED_BYTES = 48 * 1024;

/**
 * Whether a request fits into the event of the job that it starts: lists and maps whose every element is within its limits may not, all together.
 *
 * @example schema.refine(isRecordable, { error: refusal('EVS.1009', 'the request is too long') })
 */
export const isRecordable = (request: unknown): boolean =>
  new TextEncoder().encode(JSON.stringify(request)).length <= MAX_RECORDED_BYTES;
