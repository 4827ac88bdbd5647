import table from '../tables/os-support-by-flavor.json';
import { flavorOffer, isExcludedOnSeries, osNamesOnSeries } from './flavor-os.rules';

const HOME = 'region-1';
const SINGAPORE = 'ap-southeast-3';

describe(flavorOffer.name, () => {
  it.each([
    ['OS-06: table 7-1', 'CentOS 7.9 64bit', 'S6', 'offered'],
    ['OS-06: a release beside it', 'CentOS 8.4 64bit', 'S6', 'not-offered'],
    ['OS-06: the first of a range', 'Debian GNU/Linux 8.0.0 64bit', 'M2', 'offered'],
    ['OS-06: within a range', 'Debian GNU/Linux 8.8.0 64bit', 'M2', 'offered'],
    ['OS-06: the last of a range', 'Debian GNU/Linux 8.10.0 64bit', 'M2', 'offered'],
    ['OS-06: behind a range', 'Debian GNU/Linux 8.11.0 64bit', 'M2', 'not-offered'],
    ['OS-06: before a range', 'Debian GNU/Linux 7.11.0 64bit', 'M2', 'not-offered'],
    ['OS-06: between two entries', 'Debian GNU/Linux 9.1.0 64bit', 'M2', 'not-offered'],
    ['OS-06: a range of one number', 'Fedora 22 64bit', 'T6', 'offered'],
    ['OS-06: its end', 'Fedora 32 64bit', 'T6', 'offered'],
    ['OS-06: beyond', 'Fedora 33 64bit', 'T6', 'not-offered'],
    ['OS-06: an edition', 'Windows Server 2012 Standard 64bit', 'D3', 'offered'],
    ['OS-06: another edition', 'Windows Server 2012 R2 Essentials 64bit', 'D3', 'not-offered'],
    ['OS-06: without editions', 'Windows Server Core Version 1709', 'D3', 'offered'],
    ['OS-06: a point release of Ubuntu', 'Ubuntu 18.04.2 server 64bit', 'HC2', 'offered'],
    ['OS-06: a 32-bit system', 'CentOS 6.9 32bit', 'S6', 'not-offered'],
    ['OS-06: a family that the tables have not', 'Oracle Linux Server release 7.6 64bit', 'S6', 'no-claim'],
    ['OS-06: a family of another table', 'NeoKylin 7.6 64bit', 'S6', 'no-claim'],
    ['OS-06: a service pack', 'SUSE Linux Enterprise Server 12 SP4 64bit', 'S6', 'offered'],
    ['OS-06: a service pack beside it', 'SUSE Linux Enterprise Server 12 SP5 64bit', 'S6', 'not-offered'],
    ['OS-08: C6 by table 7-1', 'CentOS 8.3 64bit', 'C6', 'offered'],
    ['OS-08: C6 by table 7-2 alone', 'SUSE Linux Enterprise Server 12 SP5 64bit', 'C6', 'offered'],
    ['OS-08: C6h stands in 7-1 alone', 'SUSE Linux Enterprise Server 12 SP5 64bit', 'C6h', 'not-offered'],
    ['OS-08: C3ne stands in 7-2 alone', 'Debian GNU/Linux 10.2.0 64bit', 'C3ne', 'not-offered'],
    ['OS-08: every minor release', 'CentOS 8.99 64bit', 'C3ne', 'offered'],
    ['OS-08: 2x', 'Fedora 29 64bit', 'C3ne', 'offered'],
    ['OS-08: no 3x', 'Fedora 30 64bit', 'C3ne', 'not-offered'],
    ['OS-09: HCE on E6', 'Huawei Cloud EulerOS 2.0 Standard 64bit', 'E6', 'offered'],
    ['OS-09: none on E3', 'Huawei Cloud EulerOS 2.0 Standard 64bit', 'E3', 'not-offered'],
    ['OS-09: none on E7', 'Huawei Cloud EulerOS 2.0 Standard 64bit', 'E7', 'not-offered'],
    ['OS-09: other systems on E7', 'Fedora 30 64bit', 'E7', 'offered'],
    ['OS-10: Debian on I3', 'Debian GNU/Linux 9.0.0 64bit', 'I3', 'offered'],
    ['OS-10: none on IR3', 'Debian GNU/Linux 9.0.0 64bit', 'IR3', 'not-offered'],
    ['OS-10: CentOS on IR3', 'CentOS 7.6 64bit', 'IR3', 'offered'],
    ['OS-11: CentOS 7.4 on I7', 'CentOS 7.4 64bit', 'I7', 'offered'],
    ['OS-11: CentOS 8.1 on I7', 'CentOS 8.1 64bit', 'I7', 'offered'],
    ['OS-11: CentOS 7.5 on I7', 'CentOS 7.5 64bit', 'I7', 'not-offered'],
    ['OS-11: nothing else on I7', 'Debian GNU/Linux 10.0.0 64bit', 'I7', 'not-offered'],
    ['OS-11: not even what the table has not', 'AlmaLinux 8.4 64bit', 'I7', 'not-offered'],
    ['OS-11: IR7 by the table', 'Debian GNU/Linux 10.0.0 64bit', 'IR7', 'offered'],
    ['OS-11: CentOS 7.5 on IR7', 'CentOS 7.5 64bit', 'IR7', 'offered'],
    ['OS-11: point releases of Ubuntu', 'Ubuntu 16.04.3 Server 64bit', 'IR7', 'offered'],
    ['OS-11: a point release beside them', 'Ubuntu 16.04.2 Server 64bit', 'IR7', 'not-offered'],
    ['OS-12: GPU-accelerated', 'CentOS 7.6 64bit', 'P2V', 'no-claim'],
    ['OS-14: kC1', 'EulerOS 2.8 64bit', 'kC1', 'offered'],
    ['OS-14: kM1', 'Debian GNU/Linux 10.2.0 64bit', 'kM1', 'offered'],
    ['OS-14: a release beside it', 'CentOS 7.7 64bit', 'kC1', 'not-offered'],
    ['OS-14: Kylin without its service pack', 'Kylin V10 64bit', 'kC1', 'offered'],
    ['OS-14: UOS by its short name', 'UOS 20 64bit', 'kC1', 'offered'],
    ['OS-14: CentOS 7.6 on kI1', 'CentOS 7.6 64bit', 'kI1', 'offered'],
    ['OS-14: CentOS 7.5 on kI1', 'CentOS 7.5 64bit', 'kI1', 'not-offered'],
    ['OS-14: Ubuntu on kI1', 'Ubuntu 18.04 Server 64bit', 'kI1', 'not-offered'],
    ['OS-14: CentOS 7.6 on kAI1s', 'CentOS 7.6 64bit', 'kAI1s', 'offered'],
    ['OS-14: Ubuntu 18.04 on kAI1s', 'Ubuntu 18.04 Server 64bit', 'kAI1s', 'offered'],
    ['OS-14: Ubuntu 20.04 on kAI1s', 'Ubuntu 20.04 Server 64bit', 'kAI1s', 'not-offered'],
    ['CRE-32: a system nobody knows', 'Other_Linux (64_bit)', 'S6', 'no-claim'],
    ['CRE-32: nor on a series with few systems', 'Other_Linux (64_bit)', 'I7', 'no-claim'],
  ] as const)('%s', (_, name, series, offer) => expect(flavorOffer(name, series, HOME)).toBe(offer));

  it('says nothing of an image without a system', () => expect(flavorOffer(undefined, 'S6', HOME)).toBe('no-claim'));

  const HCE_20 = ['S7', 'S6', 'C7', 'C6s', 'C6', 'M7', 'M6', 'D6'];
  const HCE_11 = ['S6', 'C6s', 'C6', 'M6', 'D6'];
  const in71 = table.series.flatMap(({ table: name, series }) => (name === '7-1' ? series : []));
  it.each(in71)('OS-07: editions of Huawei Cloud EulerOS on %s', (series) => {
    const offered = (name: string, region: string) => flavorOffer(name, series, region) === 'offered';
    expect(offered('Huawei Cloud EulerOS 2.0 Standard 64bit', HOME)).toBe(HCE_20.includes(series));
    expect(offered('Huawei Cloud EulerOS 1.1 for CentOS 64bit', SINGAPORE)).toBe(HCE_11.includes(series));
    expect(offered('Huawei Cloud EulerOS 1.1 for CentOS 64bit', HOME)).toBe(false);
  });
});

describe(isExcludedOnSeries.name, () => {
  it.each([
    ['a listed release', 'CentOS 7.6 64bit', 'S6', false],
    ['its 32-bit brother, whose memory is what counts (CRE-28)', 'CentOS 6.9 32bit', 'S6', false],
    ['a release that the series has not (OS-06)', 'CentOS 8.4 64bit', 'S6', true],
    ['a family of which nothing is said', 'Windows 3.11', 'kC1', false],
    ['a system nobody knows (CRE-32)', 'Other_Linux (64_bit)', 'I7', false],
  ])('%s', (_, name, series, is) => expect(isExcludedOnSeries(name, series, HOME)).toBe(is));
});

describe(osNamesOnSeries.name, () => {
  it('has every system of the cells of a series under a name of some list (OS-06 to OS-11, OS-14)', () => {
    for (const [name, { os }] of Object.entries(table.tables)) {
      const names = table.series.flatMap((row) => (row.table === name ? row.series : []));
      const offered = names.flatMap((series) => osNamesOnSeries(series, SINGAPORE) ?? []);
      for (const family of Object.keys(os)) {
        const start = family.replace('SUSE Linux Enterprise', 'SUSE').replace('UnionTechOS', 'U').split(' ')[0] ?? '';
        expect([name, family, offered.some((each) => each.toLowerCase().startsWith(start.toLowerCase()))]).toEqual([
          name,
          family,
          true,
        ]);
      }
    }
  });

  it('hides HCE 1.1 outside of AP-Singapore and on C7 (OS-07)', () => {
    const hce11 = (series: string, region: string) =>
      osNamesOnSeries(series, region)?.filter((name) => name.startsWith('Huawei Cloud EulerOS 1.1')).length;
    expect(hce11('S6', SINGAPORE)).toBeGreaterThan(0);
    expect(hce11('S6', HOME)).toBe(0);
    expect(hce11('C7', SINGAPORE)).toBe(0);
  });

  it('is two systems on I7, in their spellings (OS-11)', () =>
    expect(osNamesOnSeries('I7', HOME)).toEqual(['CentOS 8.1 64bit', 'CentOS 7.4 64bit']));
  it('claims nothing for GPU-accelerated servers (OS-12)', () => expect(osNamesOnSeries('P2V', HOME)).toBeUndefined());
  it('tells the issue of the document that the tables are from (OS-20)', () =>
    expect(table.$about.document).toContain('issue 24'));
});
