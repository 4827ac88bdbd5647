import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { z } from 'zod';

const run = promisify(execFile);

// A line of the map is about 120 bytes; beyond half a million ranges the file is as good as full and is read whole.
const MAX_MAP_BYTES = 64 * 1024 * 1024;

const mapOutput = z.array(z.object({ start: z.number().int(), length: z.number().int(), data: z.boolean() }));

/**
 * Ranges of a sparse local file that hold data, ascending and joined; `undefined` when they cannot be told (no qemu-img, too many
 * ranges). Bytes outside the ranges read as zeros.
 */
export async function mapSparseFile(
  path: string,
  sizeBytes: number,
): Promise<{ offset: number; length: number }[] | undefined> {
  // Both drivers are named, so no byte of the file is interpreted; locking is off because the file may belong to somebody else.
  const image = JSON.stringify({ driver: 'raw', file: { driver: 'file', filename: path, locking: 'off' } });
  let text: string;
  try {
    ({ stdout: text } = await run('qemu-img', ['map', '--output=json', `json:${image}`], { maxBuffer: MAX_MAP_BYTES }));
  } catch {
    // Not a failure of the read: the map only saves time, and a file that cannot be read at all fails at its first read.
    return undefined;
  }
  const ranges: { offset: number; length: number }[] = [];
  for (const { start, length, data } of mapOutput.parse(JSON.parse(text))) {
    const end = Math.min(start + length, sizeBytes);
    if (!data || end <= start) continue;
    const last = ranges.at(-1);
    if (last !== undefined && last.offset + last.length === start) last.length = end - last.offset;
    else ranges.push({ offset: start, length: end - start });
  }
  return ranges;
}
