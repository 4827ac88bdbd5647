import { createHash } from 'node:crypto';

/** Choices that are the same for the same seed. */
export class SeededRandom {
  private drawn = 0;

  constructor(private readonly seed: string) {}

  /** At least 0, below 1. */
  next(): number {
    const digest = createHash('sha256').update(`${this.seed}:${this.drawn++}`).digest();
    return digest.readUInt32BE(0) / 2 ** 32;
  }

  /** A whole number, both ends included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick<T>(from: readonly [T, ...T[]]): T {
    return from[this.between(0, from.length - 1)] ?? from[0];
  }
}
