import { listOsVersionsQuery, osVersionList } from '@ims/contract';
import { canBootUefi } from '@ims/domain';
import { osVersionsOf } from './os-versions';

const answer = (query: Record<string, unknown> = {}) => osVersionsOf(listOsVersionsQuery.parse(query));
const names = (query: Record<string, unknown> = {}): string[] =>
  answer(query).flatMap(({ version_list }) => version_list.map(({ os_version }) => os_version));

describe(osVersionsOf.name, () => {
  it('is a bare array of the documented shape (ims-api 4.4)', () => {
    const all = answer();
    expect(osVersionList.parse(all)).toEqual(all);
    expect(all.find(({ platform }) => platform === 'CentOS')?.version_list).toContainEqual({
      platform: 'CentOS',
      os_version_key: 'CentOS 7.6 64bit',
      os_version: 'CentOS 7.6 64bit',
      os_bit: 64,
      os_type: 'Linux',
    });
    expect(all.find(({ platform }) => platform === 'Other')?.version_list).toContainEqual({
      platform: 'Other',
      os_version_key: 'Other(32 bit)',
      os_version: 'Other(32 bit)',
      os_bit: 32,
      os_type: 'Linux',
    });
    expect(new Set(names()).size).toBe(names().length);
    expect(new Set(all.map(({ platform }) => platform)).size).toBe(all.length);
  });

  it('answers tag=uefi with exactly the 43 names of table 7-9 (OS-18)', () => {
    const uefi = names({ tag: 'uefi' });
    expect(uefi).toHaveLength(43);
    for (const name of uefi) expect(canBootUefi(name)).toBe(true);
  });

  it('combines tags with AND', () => {
    const [arm, uefiToo] = [names({ tag: 'arm' }), names({ tag: 'uefi' })];
    expect(names({ tag: ['arm', 'uefi'] }).sort()).toEqual(arm.filter((name) => uefiToo.includes(name)).sort());
    expect(names({ tag: ['kvm', 'x86'] })).toEqual(names({ tag: 'x86' }));
    expect(names({ tag: ['x86', 'arm'] })).toContain('CentOS 7.6 64bit');
    expect(names({ tag: ['x86', 'arm'] })).not.toContain('CentOS 7.7 64bit');
    expect(arm).not.toContain('Windows 10 64bit');
  });

  it('leaves 32-bit systems out for bare metal servers, which have more memory (CRE-28)', () => {
    expect(names({ tag: 'bms' })).toContain('CentOS 6.9 64bit');
    expect(names({ tag: 'bms' }).filter((name) => /32[ _]?bit/.test(name))).toEqual([]);
  });

  it.each([['xen'], [''], ['UEFI'], [['uefi', 'xen']], [Array.from({ length: 11 }, () => 'kvm')]])(
    'refuses tag=%j with IMG.0001',
    (tag) => expect(listOsVersionsQuery.safeParse({ tag }).success).toBe(false),
  );
});
