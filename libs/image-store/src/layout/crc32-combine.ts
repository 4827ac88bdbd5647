// CRC-32 (IEEE 802.3), reflected, as zlib computes it.
const POLYNOMIAL = 0xedb88320;

/** Product of two polynomials modulo the CRC's, bits reflected. */
function multiply(a: number, b: number): number {
  let product = 0;
  let factor = b;
  for (let bit = 31; bit >= 0; bit -= 1) {
    if (((a >>> bit) & 1) !== 0) product ^= factor;
    factor = (factor & 1) !== 0 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1;
  }
  return product >>> 0;
}

// x^(2^n) for n = 0..31; x itself is bit 30 in reflected order.
const POWERS = new Uint32Array(32);
POWERS[0] = 0x40000000;
for (let n = 1; n < 32; n += 1) POWERS[n] = multiply(POWERS[n - 1] ?? 0, POWERS[n - 1] ?? 0);

/**
 * CRC-32 of two byte strings one after the other, from the CRC-32 of each and the second one's length in bytes. Lets a pack's shard blocks and
 * frames, which overlap, be summed in one pass over the bytes.
 *
 * @example combineCrc32(crc32('ab'), crc32('cd'), 2) === crc32('abcd')
 */
export function combineCrc32(first: number, second: number, secondBytes: number): number {
  // One (bit 31) times x^(8 * length): 8 = 2^3, so the squares begin at the third.
  let shift = 0x80000000;
  for (let n = 3, left = secondBytes; left > 0; n += 1, left = Math.floor(left / 2)) {
    if (left % 2 === 1) shift = multiply(POWERS[n % 32] ?? 0, shift);
  }
  return (multiply(shift, first) ^ second) >>> 0;
}
