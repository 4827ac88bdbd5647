import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { NeighbourError } from './neighbour.errors';

export const GIB = 2 ** 30;

// Wide enough for UUIDs and for the 32 hex digits of jobs; narrow enough to be a file name.
const ID = /^[0-9A-Za-z-]{1,64}$/;

/** @throws NeighbourError INVALID */
export function checkId(what: string, id: string): void {
  if (!ID.test(id)) throw new NeighbourError('INVALID', `${what} ${JSON.stringify(id)} is not an id`);
}

/** A second id that a first one names for ever: what a repeated call makes beside its main thing has the same id again (UUID version 8, RFC 9562). */
export function derivedId(id: string, part: string): string {
  const bytes = createHash('sha256').update(`${id}\n${part}`).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/**
 * The same id asked for twice is the same thing, provided the same was asked for.
 *
 * @throws NeighbourError CONFLICT
 */
export function checkSameRequest(what: string, stored: unknown, request: object): void {
  // Compared as JSON, which is how it was stored: a field that is undefined and one that is absent are the same.
  const asked: unknown = JSON.parse(JSON.stringify(request));
  if (!isDeepStrictEqual(stored, asked)) throw new NeighbourError('CONFLICT', what);
}
