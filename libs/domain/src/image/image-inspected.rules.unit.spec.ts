import { ImsError } from '@ims/contract';
import { checkFileSize, checkFormat, minDiskCheck } from './image-inspected.rules';

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
    [128 * GIB, undefined],
    [128 * GIB + 1, 'IMG.0059'],
  ])('a file of %d bytes (FMT-02)', (bytes, code) => {
    expect(codeOf(() => checkFileSize(bytes))).toBe(code);
  });

  it.each([
    ['iso', 'IsoImage', undefined],
    ['iso', 'FusionCompute', 'IMG.0057'],
    ['qcow2', 'FusionCompute', undefined],
    ['raw', 'Ironic', undefined],
    ['qcow2', 'IsoImage', 'IMG.0057'],
  ] as const)('a file of format %s for %s', (format, type, code) => {
    expect(codeOf(() => checkFormat(format, type))).toBe(code);
  });
});
