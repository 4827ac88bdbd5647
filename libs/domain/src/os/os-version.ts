import apiNames from '../tables/api-os-version.json';
import overviewNames from '../tables/external-image-os.json';
import uefiNames from '../tables/uefi-os.json';
import { isSameRelease, readOsRelease } from './os-release';

export type Architecture = 'x86' | 'arm';
export type OsType = 'Linux' | 'Windows' | 'Other';

/** An operating system name that an image may carry. */
export interface OsVersion {
  /** The exact string on the wire (ims-api 16.1). */
  name: string;
  /** `__platform` (ims-api 16.2). */
  platform: string;
  osType: OsType;
  osBit: '32' | '64';
  architecture: Architecture;
}

/** CRE-28: a 32-bit system addresses 4 GB. */
export const MAX_RAM_OF_32_BIT_MIB = 4096;

/** Families of the tables whose name on the wire is another one (ims-api 16.2). */
const PLATFORM_NAMES: Readonly<Record<string, string>> = {
  'Red Hat': 'RedHat',
  openSUSE: 'OpenSUSE',
  KylinSec: 'Kylinsec',
};

const ARCHITECTURES = ['x86', 'arm'] as const;

/** What an unknown system is registered as (CRE-32), on either architecture. */
const FALLBACKS: readonly OsVersion[] = (['Windows', 'Linux'] as const).flatMap((osType) =>
  (['64', '32'] as const).flatMap((osBit) =>
    ARCHITECTURES.map((architecture) => ({
      name: overviewNames.fallback[osType][osBit],
      platform: osType === 'Windows' ? 'Windows' : 'Other',
      osType,
      osBit,
      architecture,
    })),
  ),
);

/** Bits as the end of the name tells; names without one (CoreOS) are 64-bit systems. */
const bitOf = (name: string): '32' | '64' => (/32[ _]?bit\)?$/.test(name) ? '32' : '64');

function versionsOf(families: Readonly<Record<string, readonly string[]>>, architecture: Architecture): OsVersion[] {
  return Object.entries(families).flatMap(([family, names]) =>
    names.map((name) => ({
      name,
      platform: PLATFORM_NAMES[family] ?? family,
      osType: family === 'Windows' ? ('Windows' as const) : ('Linux' as const),
      osBit: bitOf(name),
      architecture,
    })),
  );
}

const namesOf = (families: Readonly<Record<string, readonly { name: string }[]>>): Record<string, string[]> =>
  Object.fromEntries(Object.entries(families).map(([family, entries]) => [family, entries.map((entry) => entry.name)]));

/** Tables 7-7 and 7-8 of the overview first, then the API reference's spellings, then the fallbacks; each name once. */
const ALL: Readonly<Record<Architecture, ReadonlyMap<string, OsVersion>>> = {
  x86: index([
    ...versionsOf(namesOf(overviewNames.x86), 'x86'),
    ...versionsOf(apiNames.x86, 'x86'),
    ...fallbacksOf('x86'),
  ]),
  arm: index([...versionsOf(namesOf(overviewNames.arm), 'arm'), ...fallbacksOf('arm')]),
};

function fallbacksOf(architecture: Architecture): OsVersion[] {
  return FALLBACKS.filter((version) => version.architecture === architecture);
}

function index(versions: readonly OsVersion[]): ReadonlyMap<string, OsVersion> {
  const byName = new Map<string, OsVersion>();
  for (const version of versions) if (!byName.has(version.name)) byName.set(version.name, version);
  return byName;
}

/**
 * Every name that an image of this architecture may carry (OS-15, OS-16, ims-api 16.1), in the order of the tables.
 *
 * @example osVersions('arm').map((version) => version.name)
 */
export function osVersions(architecture: Architecture): OsVersion[] {
  return [...ALL[architecture].values()];
}

/** The names of the overview's tables 7-7 and 7-8 alone: what the console offers for an external file (CRE-31). */
export function externalFileOsVersions(architecture: Architecture): OsVersion[] {
  const listed = new Set(Object.values(namesOf(overviewNames[architecture])).flat());
  return osVersions(architecture).filter((version) => listed.has(version.name));
}

/** The listed name, exactly as written (blanks and case count); `undefined` for every other text. */
export function findOsVersion(name: string, architecture: Architecture): OsVersion | undefined {
  return ALL[architecture].get(name);
}

/** The listed name on whichever architecture has it, x86 first. */
export const findAnyOsVersion = (name: string): OsVersion | undefined =>
  findOsVersion(name, 'x86') ?? findOsVersion(name, 'arm');

/** `__platform` of a name: that of the lists, else that of the family it names (ims-api 16.1, derivation), else `Other`. */
export function platformOf(name: string): string {
  const listed = findAnyOsVersion(name)?.platform;
  const family = listed === undefined ? readOsRelease(name)?.family : undefined;
  return listed ?? (family === undefined ? 'Other' : (PLATFORM_NAMES[family] ?? family));
}

/** `__os_type` of a name; an unlisted one is told by its first word (ims-api 16.1, derivation). */
export const osTypeOf = (name: string): OsType =>
  findAnyOsVersion(name)?.osType ?? (/^(Other_)?Windows\b/.test(name) ? 'Windows' : 'Linux');

/** `__os_bit` of a name, read off its end; 64 where it says nothing. */
export const osBitOf = (name: string): '32' | '64' => findAnyOsVersion(name)?.osBit ?? bitOf(name);

/** The name for a system that no table knows (CRE-32). */
export const fallbackOsVersion = (osType: 'Linux' | 'Windows', osBit: '32' | '64'): string =>
  overviewNames.fallback[osType][osBit];

const UEFI = Object.values(namesOf(uefiNames.uefi))
  .flat()
  .flatMap((name) => readOsRelease(name) ?? []);

/** Whether a name is in table 7-9, however it is spelled (OS-18, OS-19): the systems that can boot UEFI. */
export function canBootUefi(name: string): boolean {
  const release = readOsRelease(name);
  return release !== undefined && UEFI.some((listed) => isSameRelease(release, listed));
}
