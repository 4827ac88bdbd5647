import plan from '../tables/eos-plan.json';
import { osSupport, supportWarning, type SupportState } from './support-plan';

const stateOn = (name: string, day: string): SupportState | undefined =>
  osSupport(name, new Date(`${day}T12:00:00Z`))?.state;

describe(osSupport.name, () => {
  it.each([
    // One column: the last day belongs to the support.
    ['EulerOS 2.5 64bit', '2024-06-30', 'full'],
    ['EulerOS 2.5 64bit', '2024-07-01', 'ended'],
    ['Debian GNU/Linux 10.2.0 64bit', '2022-09-10', 'full'],
    ['Debian GNU/Linux 10.2.0 64bit', '2022-09-11', 'ended'],
    ['Huawei Cloud EulerOS 2.0 Standard 64bit', '2028-06-30', 'full'],
    ['Huawei Cloud EulerOS 1.1 for CentOS 64bit', '2026-07-01', 'ended'],
    ['Rocky Linux 8.5 64bit', '2031-11-14', 'full'],
    ['FreeBSD 12.1', '2021-02-01', 'ended'],
    // Two columns.
    ['CentOS 7.6 64bit', '2020-08-06', 'full'],
    ['CentOS 7.6 64bit', '2020-08-07', 'extended'],
    ['CentOS 7.6 64bit', '2024-06-30', 'extended'],
    ['CentOS 7.6 64bit', '2024-07-01', 'ended'],
    ['CentOS 8.1 64bit', '2022-01-01', 'ended'],
    ['Windows Server 2019 Datacenter 64bit', '2024-01-10', 'extended'],
    ['Windows Server 2012 R2 Standard 64bit', '2018-10-19', 'full'],
    ['Windows Server 2012 Standard 64bit', '2018-10-10', 'extended'],
    ['SUSE Linux Enterprise Server 12 SP5 64bit', '2027-10-31', 'extended'],
    // Months: their last day.
    ['Ubuntu 22.04 Server 64bit', '2027-04-30', 'full'],
    ['Ubuntu 22.04 Server 64bit', '2027-05-01', 'ended'],
    ['Ubuntu 18.04.2 server 64bit', '2023-07-01', 'ended'],
    ['AlmaLinux 8.5', '2031-11-30', 'full'],
    // A day that no calendar has: the last one of its month.
    ['SUSE Linux Enterprise Server 15 SP1 64bit', '2024-06-30', 'extended'],
    ['SUSE Linux Enterprise Server 15 SP1 64bit', '2024-07-01', 'ended'],
    // "Ended".
    ['Windows Server 2008 R2 Enterprise 64bit', '2010-01-01', 'ended'],
    // "Unknown" and relative dates, whenever.
    ['Debian GNU/Linux 12.4.0 64bit', '2099-01-01', 'unknown'],
    ['SUSE Linux Enterprise Server 15 SP4 64bit', '2099-01-01', 'unknown'],
    ['FreeBSD 13.0', '2099-01-01', 'unknown'],
    // Not in the plan.
    ['Windows 10 64bit', '2099-01-01', 'unknown'],
    ['AlmaLinux 8.4 64bit', '2099-01-01', 'unknown'],
    ['Fedora 26 64bit', '2099-01-01', 'unknown'],
    ['SUSE Linux Enterprise Server 11 SP4 64bit', '2099-01-01', 'unknown'],
    ['Oracle Linux Server release 7.6 64bit', '2099-01-01', 'unknown'],
  ] as const)('%s on %s is %s (OS-01, OS-04, OS-05)', (name, day, state) => expect(stateOn(name, day)).toBe(state));

  it.each([
    ['Debian GNU/Linux 12.4.0 64bit', 'Unknown', null],
    ['Ubuntu 20.04 Server 64bit', '2025-04', '2025-04-30'],
    ['FreeBSD 13.0', 'Three months after the release of FreeBSD 13.1', null],
    ['Windows Server 2008 R2 Standard 64bit', 'Ended', null],
    ['EulerOS 2.10 64bit', '2026-12-31', '2026-12-31'],
  ])('shows the date of %s as printed: %s, computed: %s (OS-04)', (name, printed, effective) =>
    expect(osSupport(name, new Date(0))?.end).toEqual({ printed, effective }),
  );

  it('shows the impossible day of SLES 15 SP1 as printed, and the last real one as computed (OS-04)', () =>
    expect(osSupport('SUSE Linux Enterprise Server 15 SP1 64bit', new Date(0))?.extendedEnd).toEqual({
      printed: '2024-06-31',
      effective: '2024-06-30',
    }));

  it.each([
    ['EulerOS 2.5 64bit', 'platform'],
    ['Huawei Cloud EulerOS 2.0 Standard 64bit', 'platform'],
    ['CentOS 7.6 64bit', 'vendor'],
    ['openEuler 20.03 64bit', 'vendor'],
  ])('%s is supported by its %s (OS-03)', (name, by) => expect(osSupport(name, new Date(0))?.supportedBy).toBe(by));

  it('knows nothing of a system of no family', () =>
    expect(stateOn('Other_Linux (64_bit)', '2026-01-01')).toBeUndefined());

  it('reads each of the 75 lines of 13 families, each under its own name (OS-02)', () => {
    const families = Object.entries(plan.os);
    expect(families).toHaveLength(13);
    const lines = families.flatMap(([, { versions }]) => versions.map(({ version }) => version));
    expect(lines).toHaveLength(75);
    for (const line of lines) expect(osSupport(line, new Date(0))?.line).toBe(line);
  });

  it('has two dates exactly for the families with two columns (OS-05)', () => {
    const two = Object.entries(plan.os).flatMap(([family, { columns, versions }]) =>
      versions.map(({ version }) => [
        family,
        columns.length === 2,
        osSupport(version, new Date(0))?.extendedEnd !== null,
      ]),
    );
    for (const [family, expected, found] of two) expect([family, found]).toEqual([family, expected]);
    expect(new Set(two.flatMap(([family, is]) => (is === true ? [family] : [])))).toEqual(
      new Set(['CentOS', 'SUSE Linux', 'Windows Server']),
    );
  });
});

describe(supportWarning.name, () => {
  it.each([
    ['CentOS 7.6 64bit', /support of CentOS 7 has ended \(2024-06-30\): it stays usable/],
    [
      'Windows Server 2019 Standard 64bit',
      /full support of Windows Server 2019 has ended \(2024-01-09\); .* 2029-01-09/,
    ],
    ['Huawei Cloud EulerOS 2.0 64bit', undefined],
    ['Debian GNU/Linux 12.4.0 64bit', undefined],
    [undefined, undefined],
  ])('of %s', (name, warning) => {
    const said = supportWarning(name, new Date('2026-11-24'));
    if (warning === undefined) expect(said).toBeUndefined();
    else expect(said).toMatch(warning);
  });
});
