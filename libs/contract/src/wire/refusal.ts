import type { ErrorCode } from '../errors';

/**
 * The message of a wire schema's issue: the documented code, then what is wrong with the field (ims-api 15).
 *
 * @example z.string({ error: refusal('IMG.0013', 'name must be a string') })
 */
export const refusal = (code: ErrorCode, detail: string): string => `${code}: ${detail}`;
