import uefi from '../tables/uefi-os.json';
import { osPlatforms } from './os-catalogue';
import { osVersions } from './os-version';

const names = (...tags: Parameters<typeof osPlatforms>[0][number][]): string[] =>
  osPlatforms(tags).flatMap(({ versions }) => versions.map(({ name }) => name));

describe(osPlatforms.name, () => {
  it('has exactly the 43 printed names of table 7-9 for UEFI (OS-18)', () => {
    const printed = Object.values(uefi.uefi).flatMap((entries) => entries.map(({ name }) => name));
    expect(printed).toHaveLength(43);
    expect(names('uefi').sort()).toEqual([...printed].sort());
  });

  it('has every name of both architectures once, and each architecture its own (OS-15, OS-16)', () => {
    for (const architecture of ['x86', 'arm'] as const)
      expect(names(architecture).sort()).toEqual(
        osVersions(architecture)
          .map(({ name }) => name)
          .sort(),
      );
    expect(new Set(names()).size).toBe(names().length);
  });
});
