import { PAGE_BYTES, refuse } from './stream-page';

export const HEAD_BYTES = 48;
export const TAIL_BYTES = 4;
/** A payload must be smaller than this (image-formats 3). */
export const PAYLOAD_LIMIT = 4 * 1024 * 1024;

const MAGIC = Buffer.from('hwstream bg\0', 'latin1');
const TAIL = Buffer.from('end\0', 'latin1');

/** Length of a data block in the file: head, payload, zero padding and tail, in whole pages. */
export const blockLength = (payloadBytes: number): number =>
  Math.ceil((HEAD_BYTES + payloadBytes + TAIL_BYTES) / PAGE_BYTES) * PAGE_BYTES;

/** The 48 bytes before a payload (image-formats 3). */
export function encodeHead(blockNumber: number, payloadBytes: number): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  MAGIC.copy(head);
  head.writeUInt32LE(payloadBytes, 12);
  head.writeUInt32LE(blockNumber, 16);
  return head;
}

/** What follows a payload up to the next page: zeros, then the tail as the last four bytes. */
export function encodeTail(payloadBytes: number): Buffer {
  const rest = Buffer.alloc(blockLength(payloadBytes) - HEAD_BYTES - payloadBytes);
  TAIL.copy(rest, rest.length - TAIL_BYTES);
  return rest;
}

/** Throws IMG.0057 unless `head` is that of a data block with a payload of 1 byte to just under 4 MiB. */
export function decodeHead(head: Buffer, where: string): { blockNumber: number; payloadBytes: number } {
  if (!head.subarray(0, MAGIC.length).equals(MAGIC)) throw refuse(`${where} is not a data block`);
  const payloadBytes = head.readUInt32LE(12);
  if (payloadBytes === 0 || payloadBytes >= PAYLOAD_LIMIT) {
    throw refuse(`${where} has a payload of ${payloadBytes} bytes`);
  }
  return { blockNumber: head.readUInt32LE(16), payloadBytes };
}

/** Throws IMG.0057 unless the last four bytes of a data block are its tail. */
export function checkTail(tail: Buffer, where: string): void {
  if (!tail.equals(TAIL)) throw refuse(`${where} has no end mark`);
}
