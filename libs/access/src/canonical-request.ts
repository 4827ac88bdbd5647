import { createHash } from 'node:crypto';

export type SignedHeader = readonly [name: string, value: string];

/** What is signed, before the choices (path form, body hash) that clients make differently are made. */
export interface CanonicalParts {
  method: string;
  /** Already canonical: every segment encoded, ends with `/`. */
  path: string;
  query: string;
  /** Lower-case names, sorted. */
  headers: readonly SignedHeader[];
  bodyHash: string;
}

export const sha256Hex = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** SHA-256 of no bytes; what every client signs for an empty body. */
export const EMPTY_HASH = sha256Hex('');

/** Six lines of iam 6.1; the headers end with a newline of their own, so an empty line precedes the list of names. */
export function canonicalRequest({ method, path, query, headers, bodyHash }: CanonicalParts): string {
  const lines = headers.map(([name, value]) => `${name}:${value.trim()}\n`).join('');
  const names = headers.map(([name]) => name).join(';');
  return [method.toUpperCase(), path, query, lines, names, bodyHash].join('\n');
}

/** RFC 3986: everything but `A–Z a–z 0–9 - _ . ~` becomes upper-case escapes. */
function encode(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    text += /[A-Za-z0-9\-_.~]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

/** The bytes of a request line's text: Node hands it out with one character per byte. */
const bytesOf = (raw: string): Buffer => Buffer.from(raw, 'latin1');

/** Decodes escapes whose byte `wanted` accepts; others, and a `%` that begins none, stay as they are. */
function decode(raw: string, wanted: (byte: number) => boolean): Buffer {
  return bytesOf(
    raw.replace(/%([0-9A-Fa-f]{2})/g, (escape, hex: string) => {
      const byte = Number.parseInt(hex, 16);
      return wanted(byte) ? String.fromCharCode(byte) : escape;
    }),
  );
}

const everyByte = (): boolean => true;
const nothing = (): boolean => false;
const beyondAscii = (byte: number): boolean => byte >= 0x80;

function encodePath(rawPath: string, wanted: (byte: number) => boolean): string {
  const path = rawPath
    .split('/')
    .map((segment) => encode(decode(segment, wanted)))
    .join('/');
  return path.endsWith('/') ? path : `${path}/`;
}

/** Path as the algorithm defines it: segments decoded, then encoded (Python, Go and Terraform clients). */
export const canonicalPath = (rawPath: string): string => encodePath(rawPath, everyByte);

/**
 * Every form in which a known client may have signed this path (iam 6.4 step 6): decoded and encoded again, segment by segment or,
 * as the Python client does, the whole path before it is cut at its slashes; encoded as it stands; and the Node client's, which
 * decodes only what is not ASCII. For plain ids all are equal, so mostly there is one.
 */
export function pathCandidates(rawPath: string): string[] {
  const forms = [everyByte, nothing, beyondAscii].map((wanted) => encodePath(rawPath, wanted));
  return [...new Set([...forms, encodePath(rawPath.replace(/%2f/gi, '/'), everyByte)])];
}

/**
 * Pairs decoded, sorted by key, then value, and encoded again; an empty value keeps `k=`. A `+` is a blank, as our own parser
 * reads it: what is signed and what is obeyed must be the same.
 */
export function canonicalQuery(rawQuery: string): string {
  return rawQuery
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const cut = pair.indexOf('=');
      const [key, value] = cut < 0 ? [pair, ''] : [pair.slice(0, cut), pair.slice(cut + 1)];
      const form = (raw: string): Buffer => decode(raw.replaceAll('+', ' '), everyByte);
      return { key: form(key), value: form(value) };
    })
    .sort((a, b) => Buffer.compare(a.key, b.key) || Buffer.compare(a.value, b.value))
    .map(({ key, value }) => `${encode(key)}=${encode(value)}`)
    .join('&');
}
