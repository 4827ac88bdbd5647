import plan from '../tables/eos-plan.json';
import { isSameRelease, type OsRelease, plannedAs, readOsRelease } from './os-release';

/** How far a system is supported: fully, in its extended phase, no longer, or nobody knows (OS-04, OS-05). */
export type SupportState = 'full' | 'extended' | 'ended' | 'unknown';

/** A date of the plan: as printed, and what can be computed from it. */
export interface SupportDate {
  /** The cell, unchanged: `2027-04`, `2024-06-31`, `Unknown`, `Ended`, `Three months after …`. */
  printed: string;
  /** Last day of support, `yyyy-MM-dd`; `null` where it cannot be computed. */
  effective: string | null;
}

/** What the plan of section 6 says of a system on a day. */
export interface OsSupport {
  state: SupportState;
  /** The line of the plan, as printed; `null` for a system that the plan has not. */
  line: string | null;
  /** Until when support is full; the only date of families with one column. */
  end: SupportDate | null;
  /** Until when extended support lasts; families with two columns. */
  extendedEnd: SupportDate | null;
  /** OS-03: `platform` for its own systems, `vendor` for those of others. */
  supportedBy: 'platform' | 'vendor';
}

interface RawDate {
  value: string;
  kind: string;
  effective: string | null;
}

interface Line {
  version: string;
  release: OsRelease;
  end: RawDate;
  extendedEnd: RawDate | undefined;
}

interface RawLine {
  version: string;
  eos?: RawDate;
  mainstream_end?: RawDate;
  extended_end?: RawDate;
}

// As for the other tables: what all lines have in common.
const FAMILIES = plan.os as Readonly<Record<string, { columns: string[]; versions: RawLine[] }>>;

const LINES: readonly Line[] = Object.values(FAMILIES).flatMap(({ versions }) =>
  versions.map((line) => {
    const release = readOsRelease(line.version);
    const end = line.eos ?? line.mainstream_end;
    if (release === undefined || end === undefined)
      throw new TypeError(`the plan's line ${line.version} cannot be read`);
    return { version: line.version, release, end, extendedEnd: line.extended_end };
  }),
);

/** Families whose systems are the platform's own (OS-03). */
const OWN_FAMILIES = new Set(plan.rule.platform_os.map((name) => readOsRelease(name)?.family));

/** `ended` of the table is a word, not a day. */
const dateOf = ({ value, kind, effective }: RawDate): SupportDate => ({
  printed: value,
  effective: kind === 'ended' ? null : effective,
});

/** Families whose lines are whole major releases: a point release is on its major's line. */
const BY_MAJOR: ReadonlySet<string> = new Set(['CentOS', 'Debian', 'Red Hat']);

function lineOf(release: OsRelease): Line | undefined {
  const planned = plannedAs(release);
  return LINES.find((line) => {
    if (line.release.family !== planned.family) return false;
    switch (planned.family) {
      case 'Ubuntu':
        return planned.version === line.release.version || planned.version.startsWith(`${line.release.version}.`);
      case 'Windows':
      case 'Huawei Cloud EulerOS':
        // The plan has no editions.
        return planned.version === line.release.version;
      default:
        return BY_MAJOR.has(planned.family)
          ? planned.version.split('.')[0] === line.release.version
          : isSameRelease({ ...planned, bits: undefined }, line.release);
    }
  });
}

function stateOf(line: Line, day: string): SupportState {
  const isPast = ({ kind, effective }: RawDate): boolean | undefined =>
    kind === 'ended' ? true : effective === null ? undefined : day > effective;
  const isEnded = isPast(line.end);
  if (line.extendedEnd === undefined) return isEnded === undefined ? 'unknown' : isEnded ? 'ended' : 'full';
  const isExtendedEnded = isPast(line.extendedEnd);
  if (isExtendedEnded === true) return 'ended';
  if (isEnded === undefined) return 'unknown';
  if (!isEnded) return 'full';
  return isExtendedEnded === undefined ? 'unknown' : 'extended';
}

/**
 * What the plan of section 6 says of a system at a moment (OS-01 to OS-05). The last day of a phase belongs to it; days are UTC. Nothing is guessed:
 * a system that the plan has not, and one whose date is not computable, is `unknown`. `undefined` for a name of no family of the tables.
 *
 * @example osSupport('CentOS 7.6 64bit', new Date('2026-11-24')) // { state: 'ended', line: 'CentOS 7', … }
 */
export function osSupport(osVersion: string, at: Date): OsSupport | undefined {
  const release = readOsRelease(osVersion);
  if (release === undefined) return undefined;
  const line = lineOf(release);
  return {
    state: line === undefined ? 'unknown' : stateOf(line, at.toISOString().slice(0, 10)),
    line: line?.version ?? null,
    end: line === undefined ? null : dateOf(line.end),
    extendedEnd: line?.extendedEnd === undefined ? null : dateOf(line.extendedEnd),
    supportedBy: OWN_FAMILIES.has(release.family) ? 'platform' : 'vendor',
  };
}

/**
 * A warning for who makes something from an image of this system: that its support has ended, or only goes on as extended (OS-01: the image stays
 * usable). `undefined` where there is nothing to say.
 */
export function supportWarning(osVersion: string | undefined, at: Date): string | undefined {
  const support = osVersion === undefined ? undefined : osSupport(osVersion, at);
  if (support === undefined) return undefined;
  const { state, line, end, extendedEnd } = support;
  switch (state) {
    case 'ended':
      return `support of ${line} has ended (${(extendedEnd ?? end)?.printed}): it stays usable, but problems of it are no longer looked into`;
    case 'extended':
      return `full support of ${line} has ended (${end?.printed}); extended support ends ${extendedEnd?.printed}`;
    case 'full':
    case 'unknown':
      return undefined;
    default:
      return state satisfies never;
  }
}
