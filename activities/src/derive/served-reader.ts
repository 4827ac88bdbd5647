import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImsError } from '@ims/contract';
import type { DiskDescriptor, DiskReader } from '@ims/image-format';
import { NbdExport } from '@ims/neighbours';

interface Run {
  offset: number;
  length: number;
}

/** A disk that threads can read although its reader lives in this one. */
export interface ServedReader {
  disk: DiskDescriptor;
  /** The first failed read: threads are told no more than that the disk could not be read. */
  failure(): unknown;
  release(): Promise<void>;
}

// One segment: smaller gaps between runs are read over, so that the list of runs stays short whatever the file says.
const JOINED_BELOW_BYTES = 2 * 1024 * 1024;

/** Offers a disk read-only on a private socket, with its holes. The reader itself stays the caller's to close. */
export async function serveReader(reader: DiskReader, signal: AbortSignal): Promise<ServedReader> {
  const runs = await joinedRuns(reader, signal);
  const directory = await mkdtemp(join(tmpdir(), 'ims-disk-'));
  const socketPath = join(directory, 'nbd');
  let failed: { error: unknown } | undefined;
  const refuse = (): Promise<never> => Promise.reject(new ImsError('IMG.0061', 'the disk in a file is read-only'));
  try {
    const served = await NbdExport.listen(
      socketPath,
      {
        sizeBytes: reader.virtualSizeBytes,
        read: async (offset, target) => {
          try {
            await reader.read(offset, target, signal);
          } catch (error) {
            failed ??= { error };
            throw error;
          }
        },
        status: (offset, length) => Promise.resolve(statusOf(runs, offset, length)),
        write: refuse,
        writeZeroes: refuse,
        flush: () => Promise.resolve(),
      },
      { readOnly: true },
    );
    return {
      disk: { reader: 'nbd', socketPath, virtualSizeBytes: reader.virtualSizeBytes },
      failure: () => failed?.error,
      release: async () => {
        await served.close();
        await rm(directory, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

async function joinedRuns(reader: DiskReader, signal: AbortSignal): Promise<Run[]> {
  const runs: Run[] = [];
  for await (const { offset, length } of reader.extents(signal)) {
    const last = runs.at(-1);
    if (last !== undefined && offset - (last.offset + last.length) < JOINED_BELOW_BYTES)
      last.length = offset + length - last.offset;
    else if (length > 0) runs.push({ offset, length });
  }
  return runs;
}

/** Data and holes in a range, one after the other without a gap. */
export function statusOf(runs: readonly Run[], offset: number, length: number): { length: number; isData: boolean }[] {
  const end = offset + length;
  const found: { length: number; isData: boolean }[] = [];
  let at = offset;
  for (let next = firstEndingAfter(runs, offset); at < end; next += 1) {
    const run = runs[next];
    const dataAt = Math.min(end, run?.offset ?? end);
    if (at < dataAt) found.push({ length: dataAt - at, isData: false });
    at = Math.max(at, dataAt);
    const dataEnd = Math.min(end, run === undefined ? end : run.offset + run.length);
    if (at < dataEnd) found.push({ length: dataEnd - at, isData: true });
    at = Math.max(at, dataEnd);
  }
  return found;
}

function firstEndingAfter(runs: readonly Run[], offset: number): number {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const run = runs[middle];
    if (run !== undefined && run.offset + run.length <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
