export interface ByteRange {
  offset: number;
  length: number;
}

// Clients write 2^64-1 for "to the end". Past 2^53 numbers are not exact, which is no matter: that is past the end of every file.
const SINGLE = /^bytes=(\d*)-(\d*)$/i;

/**
 * The range a request asks for (RFC 9110 14.2): `undefined` for the whole file, also when the header is malformed or names several
 * ranges, which a server may ignore; `'unsatisfiable'` when no byte of the file is in it (416).
 */
export function parseByteRange(header: string | undefined, sizeBytes: number): ByteRange | undefined | 'unsatisfiable' {
  const [, first, last] = SINGLE.exec(header ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes);
    if (length === 0) return 'unsatisfiable';
    return { offset: sizeBytes - length, length };
  }
  const offset = Number(first);
  const end = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  if (last !== '' && Number(last) < offset) return undefined;
  if (offset >= sizeBytes) return 'unsatisfiable';
  return { offset, length: end - offset + 1 };
}
