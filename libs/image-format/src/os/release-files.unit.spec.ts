import { findOsVersion } from '@ims/domain';
import { findRelease, parseOsRelease } from './release-files';

describe(parseOsRelease.name, () => {
  it('reads quotes, escapes and bare words, and nothing else', () => {
    const fields = parseOsRelease(
      `# comment\nID=debian\nNAME="A \\"quoted\\" \\$name"\nONE='single'\nEMPTY=\n1BAD=x\nrm -rf /\nBROKEN="x`,
    );
    expect(Object.fromEntries(fields)).toEqual({
      ID: 'debian',
      NAME: 'A "quoted" $name',
      ONE: 'single',
      EMPTY: '',
      BROKEN: '"x',
    });
  });
});

describe(findRelease.name, () => {
  const osRelease = (id: string, version: string, long = ''): Record<string, string> => ({
    'etc/os-release': `ID="${id}"\nVERSION_ID="${version}"\nVERSION="${long}"\n`,
  });

  it.each<[string, 'x86' | 'arm', Record<string, string>, string | undefined]>([
    [
      'Debian 10.2',
      'x86',
      { ...osRelease('debian', '10'), 'etc/debian_version': '10.2\n' },
      'Debian GNU/Linux 10.2.0 64bit',
    ],
    [
      'Debian 10.2 on arm',
      'arm',
      { ...osRelease('debian', '10'), 'etc/debian_version': '10.2\n' },
      'Debian GNU/Linux 10.2.0 64bit',
    ],
    [
      'Debian 10.13, which is not listed',
      'x86',
      { ...osRelease('debian', '10'), 'etc/debian_version': '10.13\n' },
      undefined,
    ],
    ['Debian 10 without a point release', 'x86', osRelease('debian', '10'), undefined],
    ['Debian testing', 'x86', { ...osRelease('debian', ''), 'etc/debian_version': 'trixie/sid\n' }, undefined],
    [
      'Ubuntu 18.04.2',
      'x86',
      osRelease('ubuntu', '18.04', '18.04.2 LTS (Bionic Beaver)'),
      'Ubuntu 18.04.2 Server 64bit',
    ],
    ['Ubuntu 18.04.6', 'x86', osRelease('ubuntu', '18.04', '18.04.6 LTS (Bionic Beaver)'), 'Ubuntu 18.04 Server 64bit'],
    ['Ubuntu 24.04', 'x86', osRelease('ubuntu', '24.04', '24.04 LTS'), undefined],
    [
      'CentOS 7.9',
      'x86',
      { ...osRelease('centos', '7'), 'etc/centos-release': 'CentOS Linux release 7.9.2009 (Core)\n' },
      'CentOS 7.9 64bit',
    ],
    ['CentOS 6.10', 'x86', { 'etc/redhat-release': 'CentOS release 6.10 (Final)\n' }, 'CentOS 6.10 64bit'],
    ['Red Hat 7.9', 'x86', osRelease('rhel', '7.9'), 'Red Hat Linux Enterprise 7.9 64bit'],
    [
      'Red Hat 6.5',
      'x86',
      { 'etc/redhat-release': 'Red Hat Enterprise Linux Server release 6.5 (Santiago)\n' },
      'Red Hat Linux Enterprise 6.5 64bit',
    ],
    ['Oracle 7.6', 'x86', osRelease('ol', '7.6'), 'Oracle Linux Server release 7.6 64bit'],
    ['Rocky 8.5', 'x86', osRelease('rocky', '8.5'), 'Rocky Linux 8.5 64bit'],
    ['AlmaLinux 8.4 on arm', 'arm', osRelease('almalinux', '8.4'), 'AlmaLinux 8.4 64bit'],
    ['Fedora 29', 'arm', osRelease('fedora', '29'), 'Fedora 29 64bit'],
    ['openSUSE 15.3', 'x86', osRelease('opensuse-leap', '15.3'), 'openSUSE 15.3 64bit'],
    ['SLES 15 SP3', 'x86', osRelease('sles', '15.3', '15-SP3'), 'SUSE Linux Enterprise Server 15 SP3 64bit'],
    ['SLES 15', 'x86', osRelease('sles', '15'), 'SUSE Linux Enterprise Server 15 64bit'],
    ['EulerOS 2.9', 'arm', osRelease('euleros', '2.0', '2.0 (SP9)'), 'EulerOS 2.9 64bit'],
    ['openEuler 20.03', 'x86', osRelease('openEuler', '20.03', '20.03 (LTS)'), 'openEuler 20.03 64bit'],
    ['Kylin V10', 'arm', osRelease('kylin', 'V10'), 'Kylin V10 64bit'],
    ['an unknown system', 'x86', osRelease('plan9', '4'), undefined],
  ])('%s (%s)', (_, architecture, files, name) => {
    const names = findRelease(new Map(Object.entries(files)))?.candidates.map((candidate) => `${candidate} 64bit`);
    expect(names?.find((candidate) => findOsVersion(candidate, architecture) !== undefined)).toBe(name);
  });

  it('finds nothing where no file says anything', () => {
    expect(findRelease(new Map())).toBeUndefined();
    expect(findRelease(new Map([['etc/os-release', 'garbage']]))).toBeUndefined();
  });
});
