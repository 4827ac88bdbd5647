import apiNames from '../tables/api-os-version.json';
import externalNames from '../tables/external-image-os.json';
import spelling from '../tables/os-spelling.json';
import uefiNames from '../tables/uefi-os.json';
import { compareVersions, isSameRelease, readOsRelease } from './os-release';

const isSame = (a: string, b: string): boolean | undefined => {
  const [left, right] = [readOsRelease(a), readOsRelease(b)];
  return left === undefined || right === undefined ? undefined : isSameRelease(left, right);
};

describe(readOsRelease.name, () => {
  it.each([
    ['Debian GNU/Linux 10.2.0 64bit', 'Debian', '10.2.0', undefined, '64'],
    ['CentOS 6.9 32bit', 'CentOS', '6.9', undefined, '32'],
    ['Ubuntu 18.04.2 server 64bit', 'Ubuntu', '18.04.2', 'server', '64'],
    ['Ubuntu 22.04 LTS', 'Ubuntu', '22.04', undefined, undefined],
    ['Windows Server 2012 R2 Standard 64bit', 'Windows', 'server 2012 r2', 'standard', '64'],
    ['Windows 10 64bit', 'Windows', '10', undefined, '64'],
    ['Windows Server Version 1709 Datacenter', 'Windows', 'server version 1709', 'datacenter', undefined],
    ['SLES 12 SP5', 'SUSE', '12 sp5', undefined, undefined],
    ['EulerOS 2.0SP12', 'EulerOS', '2.12', undefined, undefined],
    ['EulerOS 2.5 64bit', 'EulerOS', '2.5', undefined, '64'],
    ['Huawei Cloud EulerOS 2.0 Standard 64bit', 'Huawei Cloud EulerOS', '2.0', 'standard', '64'],
    ['HCE 1.1 for CentOS', 'Huawei Cloud EulerOS', '1.1', 'for centos', undefined],
    ['KylinSec 3.3 64bit', 'KylinSec', '3.3', undefined, '64'],
    ['NeoKylin V7 64bit', 'NeoKylin', 'v7', undefined, '64'],
    ['CoreOS 1800.1.0', 'CoreOS', '1800.1.0', undefined, undefined],
    ['UOS 20 64bit', 'UnionTech', '20', undefined, '64'],
  ])('%s', (name, family, version, edition, bits) =>
    expect(readOsRelease(name)).toEqual({ family, version, edition, bits }),
  );

  it.each(['', 'Other_Linux (64_bit)', 'Other(32 bit)', 'Kylinesque 7', 'Never heard of', 'x'.repeat(2000)])(
    'reads nothing from %j',
    (name) => expect(readOsRelease(name)).toBeUndefined(),
  );

  it('reads every listed name but the fallbacks (OS-15, OS-16, OS-18)', () => {
    const tables = [externalNames.x86, externalNames.arm, uefiNames.uefi].flatMap((table) =>
      Object.values(table).flatMap((entries) => entries.map(({ name }) => name)),
    );
    const api = Object.entries(apiNames.x86).flatMap(([platform, names]) => (platform === 'Other' ? [] : names));
    for (const name of [...tables, ...api]) expect([name, readOsRelease(name)?.version]).not.toContain(undefined);
  });

  it.each([
    ['Windows Server 2012 R2 Essentials 64bit', 'Windows Server 2012 Essentials R2 64bit'],
    ['Windows Server 2008 WEB R2 64bit', 'Windows Server 2008 R2 WEB 64bit'],
    ['Red Hat Linux Enterprise 7.6 64bit', 'Redhat Linux Enterprise 7.6 64bit'],
    ['Redhat 7.6 64bit', 'RedHat 7.6'],
    ['Red Hat 7.6', 'Red Hat Linux Enterprise 7.6 64bit'],
    ['SUSE Linux Enterprise Server 12 SP5 64bit', 'SUSELinux Enterprise Server 12 SP5 64bit'],
    ['SUSE Linux Enterprise Server 15 SP1 64bit', 'SLES 15 SP1'],
    ['Ubuntu 18.04 Server 64bit', 'Ubuntu 18.04 server 64bit'],
    ['Ubuntu 18.04 Server 64bit', 'Ubuntu 18.04 LTS'],
    ['openSUSE 15.0 64bit', 'OpenSUSE Leap 15.0'],
    ['KylinOS_V10_SP1', 'Kylin V10 SP1 64bit'],
    ['Kylin Linux Advanced Server V10 SP1', 'Kylin V10 SP1'],
    ['EulerOS 2.0SP5', 'EulerOS 2.5 64bit'],
    ['Debian GNU/Linux 10.2.0 64bit', 'debian  10.2.0'],
  ])('%s and %s are one system, spelled differently (OS-19)', (a, b) => expect(isSame(a, b)).toBe(true));

  it.each([
    ['Windows Server 2012 Standard 64bit', 'Windows Server 2012 R2 Standard 64bit'],
    ['Windows Server 2012 Standard 64bit', 'Windows Server 2012 Datacenter 64bit'],
    ['CentOS 7.6 64bit', 'CentOS 7.6 32bit'],
    ['SLES 15', 'SLES 15 SP1'],
    ['EulerOS 2.5', 'openEuler 2.5'],
    ['Huawei Cloud EulerOS 2.0', 'EulerOS 2.0'],
    ['NeoKylin 7.6', 'Kylin 7.6'],
  ])('%s and %s are two systems', (a, b) => expect(isSame(a, b)).toBe(false));

  it('has every beginning of the spelling table once', () => {
    const all = Object.values(spelling.families).flat();
    expect(new Set(all).size).toBe(all.length);
    for (const family of Object.keys(spelling.families)) expect(readOsRelease(`${family} 1`)?.family).toBe(family);
  });

  it('orders versions by their numbers', () => {
    expect(['9.10', '9.9', '10.0', '9'].sort(compareVersions)).toEqual(['9', '9.9', '9.10', '10.0']);
    expect(compareVersions('8.0', '8.0.0')).toBe(0);
  });
});
