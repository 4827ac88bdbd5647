import { hash } from 'node:crypto';
import { ImsError } from '@ims/contract';

// Printable ASCII: what a header can carry unchanged through every proxy. 255 is more than any UUID with a prefix.
const KEY = /^[\x21-\x7e]{1,255}$/;

/** @throws ImsError IMG.0001 for a key that is none */
export function keyIn(header: string | string[]): string {
  if (typeof header !== 'string' || !KEY.test(header))
    throw new ImsError('IMG.0001', 'Idempotency-Key is 1 to 255 printable characters without blanks');
  return header;
}

/** Members in the order of their names, so that two spellings of one document are one. */
function ordered(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(ordered);
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, member]) => [name, ordered(member)]),
  );
}

function canonical(body: Buffer): string {
  try {
    return JSON.stringify(ordered(JSON.parse(body.toString('utf8'))));
  } catch {
    // No JSON: the bytes themselves. The route refuses them; here they only have to be told apart.
    return body.toString('base64');
  }
}

/** SHA-256 over who calls and what is asked for: equal exactly for the same call of the same caller, however its JSON is laid out. */
export function fingerprintOf(call: { userId: string; rawPath: string; rawQuery: string; body: Buffer }): string {
  return hash('sha256', JSON.stringify([call.userId, call.rawPath, call.rawQuery, canonical(call.body)]));
}
