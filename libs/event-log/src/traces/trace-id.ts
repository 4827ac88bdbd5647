import { createHash } from 'node:crypto';

// Drawn once for traces of this service: changed, every trace would get another id.
const NAMESPACE = Buffer.from('5b0f4a1e6c3d4f7b9a52d1c7e84f6b23', 'hex');

/** Id of the trace of an event: UUIDv5 (RFC 9562 5.5) of the event's id, so that a trace made again is the same one (cts-api 8.1). */
export function traceIdOf(eventId: string): string {
  const bytes = createHash('sha1').update(NAMESPACE).update(eventId, 'utf8').digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
