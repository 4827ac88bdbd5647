// CRC-32C (Castagnoli), reflected polynomial; node:zlib only has the other CRC-32.
const POLYNOMIAL = 0x82f63b78;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
  return value >>> 0;
});

/** CRC-32C over `bytes` with the four bytes of the checksum field itself taken as zero (VHDX headers and tables). */
export function crc32c(bytes: Buffer, checksumAt: number): number {
  let crc = 0xffffffff;
  for (const [at, byte] of bytes.entries()) {
    const value = at >= checksumAt && at < checksumAt + 4 ? 0 : byte;
    crc = (crc >>> 8) ^ (TABLE[(crc ^ value) & 0xff] ?? 0);
  }
  return ~crc >>> 0;
}
