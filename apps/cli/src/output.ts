import picocolors from 'picocolors';

/** stdout carries data, stderr carries progress, so that output can be piped. */
export const output = {
  data(text: string): void {
    console.log(text);
  },
  progress(text: string): void {
    console.error(text);
  },
  /** Whether progress goes to somebody who sees a line change. */
  get isTerminal(): boolean {
    return process.stderr.isTTY;
  },
  /** Puts a line in the place of the one before, no longer than the terminal is wide. */
  rewrite(line: string): void {
    process.stderr.write(`\r\u001b[K${line.slice(0, process.stderr.columns - 1)}`);
  },
  /** What comes next begins below the line that was rewritten. */
  endRewrite(): void {
    process.stderr.write('\n');
  },
  /** One line per fact, names aligned. */
  facts(pairs: readonly (readonly [name: string, value: string])[]): void {
    const width = Math.max(...pairs.map(([name]) => name.length));
    for (const [name, value] of pairs) console.log(`  ${picocolors.bold(name.padEnd(width))}  ${value}`);
  },
};

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
