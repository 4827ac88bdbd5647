import uefi from '../tables/uefi-os.json';
import { findSameRelease, osPlatforms } from './os-catalogue';
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

describe(findSameRelease.name, () => {
  it.each([
    ['Windows Server 2012 Essentials R2', '64', 'x86', 'Windows Server 2012 R2 Essentials 64bit'],
    ['Windows Server 2019 Datacenter', '64', 'x86', 'Windows Server 2019 Datacenter 64bit'],
    ['Windows 7 Professional', '32', 'x86', 'Windows 7 Professional 32bit'],
    ['RedHat 7.6', '64', 'x86', 'Red Hat Linux Enterprise 7.6 64bit'],
    ['CentOS 6.9', '32', 'x86', 'CentOS 6.9 32bit'],
    ['CentOS 6.8', '32', 'x86', undefined],
    ['CentOS 7.7', '64', 'arm', undefined],
    ['Windows Server 2022 Datacenter', '64', 'x86', undefined],
    ['BeOS', '32', 'x86', undefined],
  ] as const)('finds %s, %s bits, %s as %s (OS-19, CRE-31)', (name, bits, architecture, expected) =>
    expect(findSameRelease(name, bits, architecture)?.name).toBe(expected),
  );
});
