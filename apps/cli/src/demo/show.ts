import picocolors from 'picocolors';
import { output, seconds } from '../output';

const MIB = 1024 ** 2;

let scene = 0;

/** Headings are numbered in the order in which they come. */
export function heading(text: string): void {
  scene += 1;
  output.data(`\n${picocolors.bold(picocolors.cyan(`${scene}. ${text}`))}`);
}

export function step(part: string, detail: string, tookMs: number): void {
  output.data(`  ${part.padEnd(9)} ${detail} ${picocolors.dim(`(${seconds(tookMs)})`)}`);
}

export const mebibytes = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;
