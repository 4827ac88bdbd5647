import uefiNames from '../tables/uefi-os.json';
import { isSameRelease, readOsRelease } from './os-release';
import { type Architecture, findAnyOsVersion, type OsVersion, osVersions, platformOf } from './os-version';

/** By what the list of systems can be narrowed (ims-api 4.4). */
export const OS_TAGS = ['bms', 'uefi', 'arm', 'x86', 'kvm'] as const;
export type OsTag = (typeof OS_TAGS)[number];

/** Systems of one platform, in the order of the tables. */
export interface OsPlatform {
  platform: string;
  versions: OsVersion[];
}

/** Table 7-9, as printed (OS-18). */
const UEFI_NAMES: ReadonlySet<string> = new Set(
  Object.values(uefiNames.uefi).flatMap((entries) => entries.map(({ name }) => name)),
);

/**
 * Whether a system has a tag. `x86`, `arm`: an image for that architecture may carry the name. `uefi`: exactly the names of table 7-9. `bms`: 64-bit
 * systems, since no bare metal server has so little memory that a 32-bit one fits (CRE-28). `kvm`: every one, since all servers here run on it.
 */
function hasTag({ name, osBit }: OsVersion, tag: OsTag, architectures: ReadonlySet<string>): boolean {
  switch (tag) {
    case 'x86':
    case 'arm':
      return architectures.has(tag);
    case 'uefi':
      return UEFI_NAMES.has(name);
    case 'bms':
      return osBit === '64';
    case 'kvm':
      return true;
    default:
      return tag satisfies never;
  }
}

/**
 * Systems that an image may be registered as, each name once, by platform (OS-15, OS-16, OS-18, ims-api 4.4); several tags have to hold together.
 *
 * @example osPlatforms(['uefi']).flatMap(({ versions }) => versions).length // 43
 */
export function osPlatforms(tags: readonly OsTag[]): OsPlatform[] {
  const architectures = new Map<string, Set<string>>();
  for (const architecture of ['x86', 'arm'] as const) {
    for (const { name } of osVersions(architecture))
      architectures.set(name, (architectures.get(name) ?? new Set()).add(architecture));
  }
  const platforms = new Map<string, OsVersion[]>();
  for (const [name, its] of architectures) {
    const version = findAnyOsVersion(name);
    if (version === undefined || !tags.every((tag) => hasTag(version, tag, its))) continue;
    const platform = platformOf(name);
    platforms.set(platform, [...(platforms.get(platform) ?? []), version]);
  }
  return [...platforms].map(([platform, versions]) => ({ platform, versions }));
}

/**
 * The name under which the lists of an architecture have this very release, however it is spelled (OS-19), the overview's spelling first; `undefined`
 * where they have it not.
 *
 * @example findSameRelease('Windows Server 2012 Essentials R2', '64', 'x86')?.name // 'Windows Server 2012 R2 Essentials 64bit'
 */
export function findSameRelease(name: string, bits: '32' | '64', architecture: Architecture): OsVersion | undefined {
  const release = readOsRelease(name);
  if (release === undefined) return undefined;
  return osVersions(architecture).find((version) => {
    const listed = version.osBit === bits ? readOsRelease(version.name) : undefined;
    return listed !== undefined && isSameRelease({ ...release, bits }, listed);
  });
}
