import { createCipheriv, createHash } from 'node:crypto';

const WORDS =
  'the of and to in is that for it as was with be by on not he this are or his from at which but have an had they you were their one all we can her has there been if more when will would who so no'.split(
    ' ',
  );

/** Bytes that look random and are the same for the same seed (AES-256 in counter mode over zeros). */
export function noise(seed: string, length: number): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** Text of common words, which compresses about three times; the same for the same seed. */
export function prose(seed: string, length: number): Buffer {
  const choices = noise(seed, Math.ceil(length / 3));
  const text: string[] = [];
  let written = 0;
  for (let k = 0; written < length; k++) {
    const word = WORDS[(choices[k % choices.length] ?? 0) % WORDS.length] ?? '';
    text.push(word);
    written += word.length + 1;
  }
  return Buffer.from(text.join(' ').slice(0, length).padEnd(length, '\n'), 'latin1');
}
