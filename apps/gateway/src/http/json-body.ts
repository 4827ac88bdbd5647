import { ImsError } from '@ims/contract';

// Deepest document of the API is five levels; whatever is nested deeper is an attack on those who walk it.
const MAX_DEPTH = 32;
const utf8 = new TextDecoder('utf-8', { fatal: true });

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const isOpening = (byte: number): boolean => byte === 0x5b || byte === 0x7b;
const isClosing = (byte: number): boolean => byte === 0x5d || byte === 0x7d;

/** Nesting is bounded on the bytes, before any parser recurses over them. */
function checkDepth(bytes: Buffer): void {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    if (isInString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) isInString = false;
    } else if (byte === QUOTE) isInString = true;
    else if (isOpening(byte)) {
      depth += 1;
      if (depth > MAX_DEPTH) throw new ImsError('IMG.0001', `nested deeper than ${MAX_DEPTH} levels`);
    } else if (isClosing(byte)) depth -= 1;
  }
}

/** Text that Postgres can store and the event log can hash: no NUL, no half of a surrogate pair. */
function checkText(text: string): void {
  if (text.includes('\u0000')) throw new ImsError('IMG.0001', 'a string has a NUL character');
  if (!text.isWellFormed()) throw new ImsError('IMG.0001', 'a string is no well-formed Unicode');
}

function checkValue(value: unknown): void {
  if (typeof value === 'string') return checkText(value);
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const element of value) checkValue(element);
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    if (key === '__proto__') throw new ImsError('IMG.0001', 'a key is not allowed');
    checkText(key);
    checkValue(member);
  }
}

/**
 * The JSON document in a request body; `undefined` for no body at all.
 * @throws ImsError IMG.0001 for bytes that are not UTF-8, no JSON, nested too deep, or hold a string no part of the service can keep
 */
export function parseJsonBody(bytes: Buffer): unknown {
  checkDepth(bytes);
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    // The decoder's message says no more than that it failed.
    throw new ImsError('IMG.0001', 'the body is not UTF-8');
  }
  if (text.trim() === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's message quotes the body, which may hold a password.
    throw new ImsError('IMG.0001', 'the body is not JSON');
  }
  checkValue(value);
  return value;
}
