import { noise } from './seeded-content';

// ISO 9660: sixteen sectors of 2 KiB are the system's own, then come the volume descriptors.
const DESCRIPTORS_AT = 32_768;

/** An installation medium as far as its readers look: the first volume descriptor at its place, and content. Any length is fine. */
export function isoLikeFile(sizeBytes: number): Buffer {
  const bytes = noise('iso', sizeBytes);
  bytes.fill(0, 0, DESCRIPTORS_AT);
  bytes.write('\u0001CD001\u0001', DESCRIPTORS_AT, 'latin1');
  return bytes;
}
