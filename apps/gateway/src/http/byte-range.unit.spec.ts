import { parseByteRange } from './byte-range';

describe(parseByteRange.name, () => {
  it.each([
    ['bytes=0-0', { offset: 0, length: 1 }],
    ['bytes=10-19', { offset: 10, length: 10 }],
    ['bytes=90-', { offset: 90, length: 10 }],
    ['bytes=95-1000', { offset: 95, length: 5 }],
    ['bytes=-1', { offset: 99, length: 1 }],
    ['bytes=-1000', { offset: 0, length: 100 }],
    ['bytes=90-18446744073709551615', { offset: 90, length: 10 }],
    ['bytes=-18446744073709551616', { offset: 0, length: 100 }],
    ['Bytes=0-9', { offset: 0, length: 10 }],
    ['bytes=99-99', { offset: 99, length: 1 }],
  ])('%s of 100 bytes', (header, range) => {
    expect(parseByteRange(header, 100)).toEqual(range);
  });

  it.each(['bytes=100-', 'bytes=100-200', 'bytes=-0', `bytes=${'9'.repeat(400)}-`])(
    '%s of 100 bytes cannot be satisfied',
    (header) => {
      expect(parseByteRange(header, 100)).toBe('unsatisfiable');
    },
  );

  it.each([undefined, '', 'bytes=', 'bytes=-', 'bytes=a-b', 'bytes=5-4', 'bytes=0-1,5-6', 'lines=1-2'])(
    '%s asks for the whole file',
    (header) => {
      expect(parseByteRange(header, 100)).toBeUndefined();
    },
  );

  it('has no range of an empty file', () => {
    expect(parseByteRange('bytes=0-', 0)).toBe('unsatisfiable');
  });
});
