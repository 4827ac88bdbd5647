import picocolors from 'picocolors';

/** stdout carries data, stderr carries progress, so that output can be piped. */
export const output = {
  data(text: string): void {
    console.log(text);
  },
  progress(text: string): void {
    console.error(text);
  },
  /** One line per fact, names aligned. */
  facts(pairs: readonly (readonly [name: string, value: string])[]): void {
    const width = Math.max(...pairs.map(([name]) => name.length));
    for (const [name, value] of pairs) console.log(`  ${picocolors.bold(name.padEnd(width))}  ${value}`);
  },
};

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
