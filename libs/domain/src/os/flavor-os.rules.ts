import flavorTable from '../tables/os-support-by-flavor.json';
import { compareVersions, coveredVersions, type OsFamily, type OsRelease, readOsRelease } from './os-release';
import { osVersions } from './os-version';

/** What the tables 7-1 to 7-6 say of a system on a series of flavours; `no-claim` where they do not speak of it at all. */
export type FlavorOffer = 'offered' | 'not-offered' | 'no-claim';

interface Cell {
  family: OsFamily;
  bits: '32' | '64' | undefined;
  matches(release: OsRelease): boolean;
}

interface Note {
  family: OsFamily;
  concerns(release: OsRelease): boolean;
  isBroken(series: string, region: string, release: OsRelease): boolean;
  /** Nothing but what the note names is on these series (OS-11). */
  excludesOthersOn: readonly string[];
}

interface VersionRule {
  exact?: string;
  major?: string;
  prefix?: string;
  range?: string[];
}

/** Regions as the tables name them, by their ids (OS-07). */
const REGION_IDS: Readonly<Record<string, string>> = { 'AP-Singapore': 'ap-southeast-3' };

/** Families of tables 7-1 to 7-6 whose column has another name than the family. */
const COLUMNS: Readonly<Record<string, OsFamily>> = {
  'SUSE Linux Enterprise': 'SUSE',
  UnionTechOS: 'UnionTech',
};
const familyOf = (column: string): OsFamily => {
  const family = COLUMNS[column] ?? readOsRelease(column)?.family;
  if (family === undefined) throw new TypeError(`no family ${column}`);
  return family;
};

interface RawCell {
  bits?: number | null;
  product?: string;
  editions?: string[];
  versions?: VersionRule[];
}

function cellOf(column: string, cell: RawCell): Cell {
  const family = familyOf(column);
  const bits = cell.bits === 32 ? ('32' as const) : ('64' as const);
  if (cell.product !== undefined) {
    const product = readOsRelease(cell.product);
    const editions = (cell.editions ?? []).map((edition) => edition.toLowerCase());
    return {
      family,
      bits,
      matches: ({ version, edition }) =>
        version === product?.version &&
        (editions.length === 0 || (edition !== undefined && editions.includes(edition))),
    };
  }
  const rules = cell.versions ?? [];
  return { family, bits, matches: (release) => rules.some((rule) => matchesRule(rule, family, release)) };
}

function matchesRule(rule: VersionRule, family: OsFamily, release: OsRelease): boolean {
  const versions = coveredVersions(release);
  if (rule.exact !== undefined) {
    const wanted = readOsRelease(rule.exact) ?? readOsRelease(`${family} ${rule.exact}`);
    if (wanted === undefined) return false;
    const isPoint =
      // A point release of Ubuntu is the release with its updates.
      family === 'Ubuntu' && /^\d+\.\d+$/.test(wanted.version) && release.version.startsWith(`${wanted.version}.`);
    return (
      (isPoint || versions.includes(wanted.version)) &&
      (wanted.edition === undefined || release.edition === undefined || wanted.edition === release.edition)
    );
  }
  if (rule.major !== undefined) return release.version.split(/[. ]/)[0] === rule.major;
  // "2x" of the tables: a two-digit number that begins so.
  if (rule.prefix !== undefined) return /^\d\d$/.test(release.version) && release.version.startsWith(rule.prefix);
  const [from, to] = rule.range ?? [];
  return (
    from !== undefined &&
    to !== undefined &&
    /^[\d.]+$/.test(release.version) &&
    compareVersions(release.version, from) >= 0 &&
    compareVersions(release.version, to) <= 0
  );
}

interface RawNote {
  os: string;
  versions?: string;
  series?: string[];
  only_series?: string[];
  not_series?: string[];
  only_regions?: string[];
  only_versions?: string[];
  excludes_all_other_os?: boolean;
}

function noteOf(note: RawNote): Note {
  const version = /^[\d.]+/.exec(note.versions ?? '')?.[0];
  return {
    family: familyOf(note.os),
    concerns: (release) => version === undefined || release.version === version,
    isBroken: (series, region, release) =>
      note.only_series?.includes(series) === false ||
      note.not_series?.includes(series) === true ||
      (note.only_regions !== undefined && !note.only_regions.some((name) => REGION_IDS[name] === region)) ||
      (note.only_versions !== undefined &&
        note.series?.includes(series) === true &&
        !note.only_versions.includes(release.version)),
    excludesOthersOn: note.excludes_all_other_os === true ? (note.series ?? []) : [],
  };
}

interface OsTable {
  cells: readonly Cell[];
  notes: readonly Note[];
}

// The file is typed by its content, in which no two cells have the same fields; this is what they have in common.
const RAW_TABLES = flavorTable.tables as Readonly<Record<string, { os: Record<string, RawCell[]>; notes: RawNote[] }>>;

const TABLES: ReadonlyMap<string, OsTable> = new Map(
  Object.entries(RAW_TABLES).map(([name, { os, notes }]) => [
    name,
    {
      cells: Object.entries(os).flatMap(([column, cells]) => cells.map((cell) => cellOf(column, cell))),
      notes: notes.map(noteOf),
    },
  ]),
);

/** Series of flavours beside the tables, each with the few systems that it runs (OS-14): kI1 and kAI1s. */
const BESIDE: readonly { series: string[]; only: { os: string; versions: string[]; edition?: string }[] }[] =
  flavorTable.outside_tables.flatMap(({ series, only }) =>
    Array.isArray(series) && only !== null ? [{ series, only }] : [],
  );

/** Tables of each series; C6 and C6s stand in two (OS-08). */
const TABLES_OF: ReadonlyMap<string, OsTable[]> = flavorTable.series.reduce((tables, { table, series }) => {
  const found = TABLES.get(table);
  for (const name of series) if (found !== undefined) tables.set(name, [...(tables.get(name) ?? []), found]);
  return tables;
}, new Map<string, OsTable[]>());

/** Series of flavours that run on Kunpeng beside those of table 7-6, as their names in flavours have it. */
export const SERIES_BESIDE_TABLES: readonly string[] = BESIDE.flatMap(({ series }) => series);

/**
 * Whether a system is offered on a series of flavours in a region: tables 7-1 to 7-6 with their notes (OS-06 to OS-11, OS-14). `not-offered` where
 * the tables of the series list the family but not this release of it, where a note excludes it, and for everything else on a series that runs but a
 * few systems. `no-claim` for a family that they do not list, a series that no table has, such as those of GPU-accelerated servers (OS-12), and a
 * name of no family, such as `Other_Linux (64_bit)`: what runs there cannot be told. A series in two tables offers what either lists (OS-08).
 *
 * @example flavorOffer('Debian GNU/Linux 9.0.0 64bit', 'IR3', 'region-1') // 'not-offered' (OS-10)
 */
export function flavorOffer(osVersion: string | undefined, series: string, region: string): FlavorOffer {
  const release = osVersion === undefined ? undefined : readOsRelease(osVersion);
  return release === undefined ? 'no-claim' : offerOf(release, series, region);
}

/**
 * Whether a server of the series may not be made from an image of this system: its family is listed there, but not this release. Bits do not count:
 * the tables list 64-bit systems alone, and a 32-bit one has its own rule, the memory (CRE-28).
 */
export function isExcludedOnSeries(osVersion: string | undefined, series: string, region: string): boolean {
  const release = osVersion === undefined ? undefined : readOsRelease(osVersion);
  return release !== undefined && offerOf({ ...release, bits: undefined }, series, region) === 'not-offered';
}

function offerOf(release: OsRelease, series: string, region: string): FlavorOffer {
  const only = BESIDE.find((entry) => entry.series.includes(series))?.only;
  if (only !== undefined) {
    const isListed = only.some(
      ({ os, versions }) =>
        familyOf(os) === release.family &&
        release.bits !== '32' &&
        versions.some((exact) => matchesRule({ exact }, release.family, release)),
    );
    return isListed ? 'offered' : 'not-offered';
  }
  const tables = TABLES_OF.get(series) ?? [];
  if (tables.some((table) => offers(table, release, series, region))) return 'offered';
  const isSpokenOf = tables.some(
    ({ cells, notes }) =>
      cells.some(({ family }) => family === release.family) ||
      notes.some(({ excludesOthersOn }) => excludesOthersOn.includes(series)),
  );
  return isSpokenOf ? 'not-offered' : 'no-claim';
}

function offers({ cells, notes }: OsTable, release: OsRelease, series: string, region: string): boolean {
  const isListed = cells.some(
    (cell) =>
      cell.family === release.family &&
      cell.matches(release) &&
      (release.bits === undefined || release.bits === cell.bits),
  );
  if (!isListed) return false;
  return notes.every((note) =>
    note.family === release.family
      ? !note.concerns(release) || !note.isBroken(series, region, release)
      : !note.excludesOthersOn.includes(series),
  );
}

/** Names of the tables 7-1 to 7-6 that no other list has: what public images of the platform are called. */
const OWN_NAMES: readonly string[] = Object.values(RAW_TABLES).flatMap(({ os }) =>
  Object.entries(os).flatMap(([column, cells]) =>
    cells.flatMap(({ product, editions = [], versions = [] }) => {
      if (product !== undefined)
        return editions.length === 0 ? [`${product} 64bit`] : editions.map((edition) => `${product} ${edition} 64bit`);
      return versions.flatMap(({ exact }) => (exact === undefined ? [] : spellings(column, exact)));
    }),
  ),
);

function spellings(column: string, exact: string): string[] {
  switch (column) {
    case 'Ubuntu':
      return [`Ubuntu ${exact} Server 64bit`, `Ubuntu ${exact} server 64bit`];
    case 'Debian':
      return [`Debian GNU/Linux ${exact} 64bit`];
    case 'Red Hat':
      return [`Red Hat Linux Enterprise ${exact} 64bit`, `Redhat Linux Enterprise ${exact} 64bit`];
    case 'SUSE Linux Enterprise':
      return [`SUSE Linux Enterprise Server ${exact} 64bit`];
    case 'Huawei Cloud EulerOS':
      // The edition is left out by some.
      return [`${column} ${exact} 64bit`, `${column} ${exact.split(' ')[0] ?? exact} 64bit`];
    case 'Kylin':
      return [`${exact} 64bit`];
    default:
      return [`${column} ${exact} 64bit`, ...(column === 'CoreOS' ? [`${column} ${exact}`] : [])];
  }
}

/** Every name of a system that any table has, as it may stand in an image; each once. */
const KNOWN_NAMES: readonly string[] = [
  ...new Set([
    ...(['x86', 'arm'] as const).flatMap((architecture) => osVersions(architecture)).map(({ name }) => name),
    ...OWN_NAMES,
  ]),
];

/**
 * Names of the systems that a series of flavours offers in a region, over all tables and spellings, in no order that means anything; `undefined`
 * where no table speaks of the series (OS-12): then its images are not filtered by system.
 */
export function osNamesOnSeries(series: string, region: string): string[] | undefined {
  if (!TABLES_OF.has(series) && !SERIES_BESIDE_TABLES.includes(series)) return undefined;
  return KNOWN_NAMES.filter((name) => flavorOffer(name, series, region) === 'offered');
}
