import { checkMinDisk } from './inspect';

const GIB = 2 ** 30;
const refused = expect.objectContaining({ code: 'IMG.0055' });

describe(checkMinDisk.name, () => {
  it.each([
    [40, 40 * GIB, 'system'],
    [1, 512, 'system'],
    [1024, 1024 * GIB, 'system'],
    [2048, 2048 * GIB, 'data'],
    [1, 512, 'data'],
  ] as const)('takes min_disk %d for %d bytes of a %s disk', (minDisk, bytes, kind) => {
    expect(() => checkMinDisk(minDisk, bytes, kind)).not.toThrow();
  });

  it.each([
    [40, 40 * GIB + 512, 'system'],
    [0, 512, 'system'],
    [1025, 512, 'system'],
    [1.5, 512, 'system'],
    [0, 512, 'data'],
    [2049, 512, 'data'],
  ] as const)('refuses min_disk %d for %d bytes of a %s disk with IMG.0055 (CRE-15)', (minDisk, bytes, kind) => {
    expect(() => checkMinDisk(minDisk, bytes, kind)).toThrow(refused);
  });
});
