import { createHmac, hash, timingSafeEqual } from 'node:crypto';

/** Names of the headers by which one gateway knows another. */
export const PEER_HEADERS = {
  from: 'x-ims-peer-from',
  date: 'x-ims-peer-date',
  signature: 'x-ims-peer-signature',
} as const;

// Clocks of two sites may differ, and a request may wait in a queue; one that was recorded is worth nothing afterwards.
const WINDOW_MS = 5 * 60_000;

/** Everything of a request that its signature covers. */
export interface SignedPeerRequest {
  method: string;
  /** Path and query as they go over the wire. */
  target: string;
  from: string;
  to: string;
  /** ISO 8601, UTC. */
  date: string;
  body: Uint8Array;
}

/** HMAC-SHA256 over method, target, both regions, the date and the SHA-256 of the body; hex. */
export function signPeerRequest(request: SignedPeerRequest, secret: string): string {
  const { method, target, from, to, date, body } = request;
  return mac(secret, ['IMS-PEER-1', method, target, from, to, date, hash('sha256', body, 'hex')]);
}

/** Signature of an answer: of this status and these bytes, to that very request. */
export function signPeerAnswer(
  answer: { status: number; body: Uint8Array },
  requestSignature: string,
  secret: string,
): string {
  return mac(secret, [
    'IMS-PEER-1-ANSWER',
    requestSignature,
    String(answer.status),
    hash('sha256', answer.body, 'hex'),
  ]);
}

/** Whether the date lies within five minutes of `now`. */
export function isPeerDateNear(date: string, now: Date): boolean {
  const at = Date.parse(date);
  return Number.isFinite(at) && Math.abs(at - now.getTime()) <= WINDOW_MS;
}

/** Compared in a time that tells nothing about where they differ. */
export function isSameSignature(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8')];
  return left.length === right.length && timingSafeEqual(left, right);
}

const mac = (secret: string, lines: readonly string[]): string =>
  createHmac('sha256', secret).update(lines.join('\n')).digest('hex');
