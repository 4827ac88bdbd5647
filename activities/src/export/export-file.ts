import type { ExportFormat } from '@ims/contract';
import {
  type PositionedFile,
  STREAM_START,
  type StreamedFile,
  type StreamMark,
  streamVmdk,
  streamZvhd,
  writeQcow2,
  writeVhd,
  zvhd2Identity,
} from '@ims/image-format';
import type { DedupDomainId } from '@ims/contract';
import type { ImageStore } from '@ims/image-store';

export type ExportFile = { kind: 'positioned'; file: PositionedFile } | { kind: 'streamed'; file: StreamedFile };

/**
 * The file that a stored disk is exported as. Nothing is written anywhere: every byte is made when it is asked for, and made again the same, because
 * the disk never changes and time and identity come from its manifest.
 */
export async function exportFileOf(
  store: Pick<ImageStore, 'open'>,
  disk: { domainId: DedupDomainId; manifestHash: string },
  format: ExportFormat,
): Promise<ExportFile> {
  // Stored frames as they are: nothing is compressed for a quick export.
  if (format === 'zvhd2') return { kind: 'positioned', file: await store.open(disk, 'zvhd2') };
  const raw = await store.open(disk, 'raw');
  const identity = zvhd2Identity(disk.manifestHash);
  switch (format) {
    case 'raw':
      return { kind: 'positioned', file: raw };
    case 'qcow2':
      return { kind: 'positioned', file: writeQcow2(raw) };
    case 'vhd':
      return { kind: 'positioned', file: writeVhd(raw, identity) };
    case 'vmdk':
      return { kind: 'streamed', file: streamVmdk(raw, identity) };
    case 'zvhd':
      return { kind: 'streamed', file: streamZvhd(raw, identity) };
    default:
      return format satisfies never;
  }
}

/** What a part's row says of how the next one is made. A positioned file needs nothing but its place. */
export interface PartMark {
  /** Piece that the part ends in, and where that begins in the file. */
  piece: number;
  start: number;
  /** Noted by pieces that ended in this part. */
  notes: number[];
  /** MD5 of that piece's bytes up to the part's end: made again they must be the same, or the file would be of two halves. */
  prefixMd5: string;
}

export const FIRST_MARK: PartMark = { piece: 0, start: 0, notes: [], prefixMd5: '' };

export const streamMarkOf = ({ piece, start }: PartMark, notes: readonly number[]): StreamMark =>
  start === 0 ? STREAM_START : { piece, start, notes };
