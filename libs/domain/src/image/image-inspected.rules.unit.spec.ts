import { ImsError } from '@ims/contract';
import { bitmapOf, checkFileSize, checkKeptFormat, checkQuickFormat, minDiskCheck } from './image-inspected.rules';

const GIB = 1024 ** 3;

function codeOf(action: () => void): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof ImsError) return error.code;
    throw error;
  }
}

describe('rules about an inspected file', () => {
  it.each([
    [60 * GIB, 60, undefined],
    [60 * GIB + 1, 60, 'IMG.0055'],
    [60 * GIB + 1, 61, undefined],
    [1, 1, undefined],
    [1024 * GIB, 1024, undefined],
    [1024 * GIB + 1, 1024, 'IMG.0111'],
  ])('a disk of %d bytes with min_disk %d GB (CRE-15)', (bytes, minDisk, code) => {
    expect(codeOf(() => minDiskCheck(bytes, minDisk))).toBe(code);
  });

  it.each([
    [128 * GIB, false, undefined],
    [128 * GIB + 1, false, 'IMG.0059'],
    [128 * GIB + 1, true, undefined],
    [1024 * GIB, true, undefined],
    [1024 * GIB + 1, true, 'IMG.0158'],
  ])('a file of %d bytes, quick: %s (FMT-02, FMT-03)', (bytes, quick, code) => {
    expect(codeOf(() => checkFileSize(bytes, quick))).toBe(code);
  });

  it.each([
    ['zvhd2', false, undefined],
    ['raw', true, undefined],
    ['raw', false, 'IMG.0158'],
    ['zvhd', true, 'IMG.0158'],
    ['vhd', true, 'IMG.0158'],
    ['qcow2', true, 'IMG.0158'],
  ] as const)('a quick import of %s, bitmap: %s (FMT-03, FMT-05, FMT-09)', (format, hasBitmap, code) => {
    expect(codeOf(() => checkQuickFormat(format, hasBitmap))).toBe(code);
  });

  it.each([
    ['big.raw', 'big.mf'],
    ['a.b/big.disk.raw', 'a.b/big.disk.mf'],
    ['a.b/big', 'a.b/big.mf'],
    ['.raw', '.raw.mf'],
    ['big.mf', undefined],
  ])('the bitmap of %s is %s', (key, bitmap) => {
    expect(bitmapOf({ bucket: 'b', key })?.key).toBe(bitmap);
  });

  it.each([
    ['iso', 'iso', undefined],
    ['qcow2', 'qcow2', undefined],
    ['iso', 'raw', 'IMG.0057'],
    ['raw', 'iso', 'IMG.0057'],
    ['vhd', 'qcow2', 'IMG.0057'],
  ] as const)('a file to be kept as %s that is %s (CRE-11, FMT-01)', (declared, found, code) => {
    expect(codeOf(() => checkKeptFormat(declared, found))).toBe(code);
  });
});
