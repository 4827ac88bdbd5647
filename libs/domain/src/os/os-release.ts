import spelling from '../tables/os-spelling.json';

/** Families of systems, under the name that all tables are compared by. */
export type OsFamily = keyof typeof spelling.families;

/** What a name of a system says, whichever table it is printed in. */
export interface OsRelease {
  family: OsFamily;
  /** In small letters, without edition: `10.2.0`, `12 sp5`, `server 2012 r2`. Empty where the name has none. */
  version: string;
  /** In small letters: `datacenter`, `standard`, `server`. */
  edition: string | undefined;
  bits: '32' | '64' | undefined;
}

/** The longest beginning first, so that `kylinsec 3.3` is not a `kylin`. */
const BEGINNINGS: readonly { family: OsFamily; start: string }[] = Object.entries(spelling.families)
  // The keys of a literal table are its own.
  .flatMap(([family, starts]) => starts.map((start) => ({ family: family as OsFamily, start })))
  .sort((a, b) => b.start.length - a.start.length);

const WINDOWS_EDITIONS = ['standard', 'datacenter', 'enterprise', 'web', 'essentials', 'professional'] as const;
const BITS = /[\s(_-]*(32|64)[\s_-]*bit\)?$/;

/** A name as it is compared: small letters, single blanks, one spelling of each word (OS-19), bits left out. */
function comparable(name: string): string {
  let text = name.toLowerCase().replace(BITS, '').replace(/\s+/g, ' ').trim();
  for (const [from = '', to = ''] of spelling.rewrites) text = text.replaceAll(from, to);
  return text;
}

/**
 * Reads the name of a system however a table or a caller spells it (OS-19): family, version, edition and bits. `undefined` for a name of no family
 * of the tables, such as `Other_Linux (64_bit)`. Two names mean the same system when their releases are equal.
 *
 * @example readOsRelease('SUSELinux Enterprise Server 12 SP5 64bit') // { family: 'SUSE', version: '12 sp5', edition: undefined, bits: '64' }
 */
export function readOsRelease(name: string): OsRelease | undefined {
  const text = comparable(name);
  const found = BEGINNINGS.find(({ start }) => text.startsWith(start) && !/^[a-z]/.test(text.slice(start.length)));
  if (found === undefined) return undefined;
  const bits = BITS.exec(name.toLowerCase())?.[1];
  return {
    family: found.family,
    ...partsOf(found.family, text.slice(found.start.length).trim()),
    bits: bits === '32' || bits === '64' ? bits : undefined,
  };
}

function partsOf(family: OsFamily, rest: string): Pick<OsRelease, 'version' | 'edition'> {
  switch (family) {
    case 'Windows': {
      const edition = WINDOWS_EDITIONS.find((word) => rest.split(' ').includes(word));
      return {
        version: rest
          .replace(new RegExp(`\\b${edition ?? '(?!)'}\\b`), '')
          .replace(/\s+/g, ' ')
          .trim(),
        edition,
      };
    }
    case 'Ubuntu': {
      const [, version = rest, edition] = /^([\d.]+)(?: (server|lts|desktop))?/.exec(rest) ?? [];
      // "22.04 LTS" of the plan and "22.04 Server" of the lists are one release.
      return { version, edition: edition === 'lts' ? undefined : edition };
    }
    case 'EulerOS': {
      // The plan counts service packs (2.0SP5), the lists count releases (2.5).
      const [, pack] = /^2\.0 ?(?:\(?sp(\d+)\)?)/.exec(rest) ?? [];
      return { version: pack === undefined ? rest : `2.${pack}`, edition: undefined };
    }
    case 'Huawei Cloud EulerOS': {
      const [, version = rest, edition] = /^([\d.]+) ?(.*)$/.exec(rest) ?? [];
      return { version, edition: edition === '' ? undefined : edition };
    }
    default:
      return { version: rest, edition: undefined };
  }
}

/** Both names mean the same release, edition included; bits count where both have them. */
export function isSameRelease(a: OsRelease, b: OsRelease): boolean {
  return (
    a.family === b.family &&
    a.version === b.version &&
    // Ubuntu's lists say "Server" for every release that they have; its plan does not.
    (a.edition === b.edition || (a.family === 'Ubuntu' && (a.edition === undefined || b.edition === undefined))) &&
    (a.bits === b.bits || a.bits === undefined || b.bits === undefined)
  );
}

/** Versions that a less exact name may stand for, by the table of spellings; the version itself otherwise. */
export function coveredVersions({ family, version }: OsRelease): readonly string[] {
  const covers: Readonly<Record<string, readonly string[]>> = spelling.covers;
  return covers[`${family} ${version}`] ?? [version];
}

/** The release under whose line the plan of section 6 prints this one. */
export function plannedAs(release: OsRelease): OsRelease {
  const lines: Readonly<Record<string, string>> = spelling.eos_of;
  const line = lines[`${release.family} ${release.version}`];
  return line === undefined ? release : { ...release, version: line.slice(release.family.length + 1) };
}

/** Compares `9.10` and `9.9` by their numbers: negative, 0 or positive, as sorting wants it. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (let n = 0; n < Math.max(left.length, right.length); n++) {
    const difference = (left[n] ?? 0) - (right[n] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
