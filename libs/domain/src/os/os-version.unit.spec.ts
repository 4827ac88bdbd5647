import overviewNames from '../tables/external-image-os.json';
import uefiNames from '../tables/uefi-os.json';
import {
  canBootUefi,
  externalFileOsVersions,
  fallbackOsVersion,
  findOsVersion,
  osBitOf,
  osTypeOf,
  osVersions,
  platformOf,
} from './os-version';

describe('operating systems', () => {
  it('lists every name of tables 7-7 and 7-8 once (OS-15, OS-16)', () => {
    expect(externalFileOsVersions('x86')).toHaveLength(171);
    expect(externalFileOsVersions('arm')).toHaveLength(23);
    for (const architecture of ['x86', 'arm'] as const) {
      const names = osVersions(architecture).map((version) => version.name);
      expect(new Set(names).size).toBe(names.length);
      for (const { name } of Object.values(overviewNames[architecture]).flat()) expect(names).toContain(name);
    }
  });

  it('agrees with the tables on bits', () => {
    for (const { name, bits } of Object.values(overviewNames.x86).flat())
      expect(osBitOf(name)).toBe(String(bits ?? 64));
  });

  it('knows the four names for unknown systems on both architectures (CRE-32)', () => {
    const names = (['Windows', 'Linux'] as const).flatMap((type) =>
      (['64', '32'] as const).map((bit) => fallbackOsVersion(type, bit)),
    );
    expect(names).toEqual([
      'Other_Windows (64_bit)',
      'Other_Windows (32_bit)',
      'Other_Linux (64_bit)',
      'Other_Linux (32_bit)',
    ]);
    for (const name of names) {
      expect(findOsVersion(name, 'x86')).toBeDefined();
      expect(findOsVersion(name, 'arm')).toBeDefined();
    }
  });

  it.each([
    ['Windows Server 2019 Datacenter 64bit', 'Windows', 'Windows', '64'],
    ['Other_Windows (32_bit)', 'Windows', 'Windows', '32'],
    ['Other_Linux (64_bit)', 'Other', 'Linux', '64'],
    ['Other(32 bit)', 'Other', 'Linux', '32'],
    ['Red Hat Linux Enterprise 8.0 64bit', 'RedHat', 'Linux', '64'],
    ['Redhat 7.6 64bit', 'RedHat', 'Linux', '64'],
    ['openSUSE 42.3 64bit', 'OpenSUSE', 'Linux', '64'],
    ['CentOS 6.9 32bit', 'CentOS', 'Linux', '32'],
    ['CoreOS 1800.1.0', 'CoreOS', 'Linux', '64'],
    ['Kylin V10 64bit', 'Kylin', 'Linux', '64'],
    ['Rocky Linux 8.5 64bit', 'Rocky Linux', 'Linux', '64'],
    ['Never heard of 32bit', 'Other', 'Linux', '32'],
    ['Windows 3.11', 'Windows', 'Windows', '64'],
    ['Huawei Cloud EulerOS 2.0 Standard 64bit', 'Huawei Cloud EulerOS', 'Linux', '64'],
    ['KylinSec 3.9 64bit', 'Kylinsec', 'Linux', '64'],
  ])('%s is %s, %s, %s bit', (name, platform, osType, osBit) => {
    expect(platformOf(name)).toBe(platform);
    expect(osTypeOf(name)).toBe(osType);
    expect(osBitOf(name)).toBe(osBit);
  });

  it('boots all 43 names of table 7-9 by UEFI (OS-18)', () => {
    const names = Object.values(uefiNames.uefi).flatMap((entries) => entries.map((entry) => entry.name));
    expect(names).toHaveLength(43);
    for (const name of names) expect(canBootUefi(name)).toBe(true);
  });

  it('matches names that the tables spell differently (OS-19)', () => {
    expect(canBootUefi('Windows Server 2012 R2 Essentials 64bit')).toBe(true);
    expect(canBootUefi('Redhat Linux Enterprise 7.4 64bit')).toBe(true);
    expect(canBootUefi('Ubuntu 18.04 server 64bit')).toBe(true);
  });

  it.each(['CentOS 6.3 64bit', 'Windows 7 Enterprise 64bit', 'Other_Linux (64_bit)', ''])(
    'does not boot %j by UEFI',
    (name) => {
      expect(canBootUefi(name)).toBe(false);
    },
  );
});
