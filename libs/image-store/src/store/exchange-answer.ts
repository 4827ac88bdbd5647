import { ExchangeError } from '../errors';
import { AnswerWriter, decodeWants } from '../layout/segment-exchange';
import { type DiskParts, SegmentReader } from './disk-files';

/** Answers one request of another store about a disk of this one. Frames go out as they are stored; only where there is a base is anything decoded. */
export async function answerExchange(parts: DiskParts, request: Buffer): Promise<Buffer> {
  const { manifest } = parts;
  // ENC-04: the call was refused long before; what is sealed is not opened for a line between regions in any case.
  if (parts.isSealed) throw new ExchangeError('request: the disk is encrypted');
  const wants = decodeWants(request);
  const answer = new AnswerWriter();
  const reader = new SegmentReader(parts);
  try {
    for (const { index, base } of wants) {
      if (answer.isFull) break;
      const position = manifest.positionFrom(index);
      if (manifest.dataSegments[position] !== index)
        throw new ExchangeError(`request: the disk has no segment ${index}`);
      const stored = await reader.storedSegment(position);
      if (base === undefined) answer.addWhole(index, stored.frameLengths, stored.frames);
      else answer.addDelta(index, await reader.segment(position), base, stored);
    }
  } finally {
    await reader.close();
  }
  return answer.finish();
}
