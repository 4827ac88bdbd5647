import { open, readdir } from 'node:fs/promises';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { DataDirectory } from '../stack/data-directory';
import { setTimeout as pause } from 'node:timers/promises';

// Often enough to feel live, rare enough to cost nothing.
const FOLLOW_EVERY_MS = 250;
// Where the last lines are looked for; longer lines than this are cut.
const TAIL_BYTES = 256 * 1024;

/** `ims logs`: the last lines of a part's log; `-f` goes on with what is added. */
export async function logs(
  service: string | undefined,
  options: { data: string; follow: boolean; lines: number },
): Promise<void> {
  const directory = new DataDirectory(options.data);
  const known = (await readdir(directory.logs).catch(() => []))
    .filter((name) => name.endsWith('.log'))
    .map((name) => name.slice(0, -'.log'.length));
  const wanted = service ?? 'gateway';
  if (!known.includes(wanted)) {
    throw new CliError(
      `there is no log of ${wanted} in ${directory.logs}`,
      known.length === 0 ? 'Start the service with "npm run ims -- up".' : `There are logs of ${known.join(', ')}.`,
      EXIT.usage,
    );
  }
  const file = await open(directory.log(wanted), 'r');
  try {
    const { size } = await file.stat();
    let position = Math.max(0, size - TAIL_BYTES);
    const tail = (await read(file, position, size)).trimEnd().split('\n').slice(-options.lines);
    if (tail.join('') !== '') process.stdout.write(`${tail.join('\n')}\n`);
    position = size;
    while (options.follow) {
      await pause(FOLLOW_EVERY_MS);
      const { size: now } = await file.stat();
      if (now > position) process.stdout.write(await read(file, position, now));
      position = now;
    }
  } finally {
    await file.close();
  }
}

async function read(file: Awaited<ReturnType<typeof open>>, from: number, to: number): Promise<string> {
  const buffer = Buffer.alloc(to - from);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
  return buffer.subarray(0, bytesRead).toString();
}
