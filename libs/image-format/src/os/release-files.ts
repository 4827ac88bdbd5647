/** Fields of os-release (freedesktop.org, os-release(5)); only assignments that a shell would read the same way. */
export function parseOsRelease(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(line.trim()) ?? [];
    if (name === undefined || value === undefined) continue;
    const [, quoted] = /^(?:"((?:[^"\\]|\\.)*)"|'[^']*')$/.exec(value) ?? [];
    if (quoted !== undefined) fields.set(name, quoted.replace(/\\(.)/g, '$1'));
    else fields.set(name, value.replace(/^'(.*)'$/, '$1'));
  }
  return fields;
}

/** What the files of a Linux system say about it, by path; absent ones are left out. */
export type ReleaseFiles = ReadonlyMap<string, string>;

/** Files that are looked at; the first two are the same one on most systems. The others tell the minor release, which os-release leaves out there. */
export const RELEASE_PATHS = [
  'etc/os-release',
  'usr/lib/os-release',
  'etc/debian_version',
  'etc/centos-release',
  'etc/oracle-release',
  'etc/redhat-release',
] as const;

/** Listed names begin so, or are exactly so when `bits` is empty; the first that is listed counts. */
export interface ReleaseFinding {
  /** Such as `debian 10.2`, for the evidence. */
  described: string;
  /** Listed names without their bits, best first. */
  candidates: string[];
}

/**
 * What a Linux system calls itself, and the names under which the tables 7-7 and 7-8 may list that very release. Releases are never
 * rounded: a Debian 10.13 is not a 10.7. `undefined` when no file says anything.
 */
export function findRelease(files: ReleaseFiles): ReleaseFinding | undefined {
  const text = files.get('etc/os-release') ?? files.get('usr/lib/os-release');
  if (text !== undefined) {
    const fields = parseOsRelease(text);
    const id = fields.get('ID') ?? '';
    const version = fields.get('VERSION_ID') ?? '';
    const exact = exactRelease(id, version, files);
    if (id !== '') return { described: `${id} ${exact}`.trim(), candidates: namesOf(id, version, exact, fields) };
  }
  // Systems older than os-release say it in one line.
  const line = (
    files.get('etc/oracle-release') ??
    files.get('etc/centos-release') ??
    files.get('etc/redhat-release')
  )?.split('\n')[0];
  if (line === undefined || line.trim() === '') return undefined;
  const release = minor(line) ?? '';
  const described = line.trim().slice(0, 80);
  if (/^CentOS/.test(line)) return { described, candidates: [`CentOS ${release}`] };
  if (/^Oracle/.test(line)) return { described, candidates: [`Oracle Linux Server release ${release}`] };
  if (/^Red Hat/.test(line)) return { described, candidates: [`Red Hat Linux Enterprise ${release}`] };
  return { described, candidates: [] };
}

/** `7.9` out of `CentOS Linux release 7.9.2009 (Core)`. */
const minor = (line: string | undefined): string | undefined => /release (\d+\.\d+)/.exec(line ?? '')?.[1];

function exactRelease(id: string, version: string, files: ReleaseFiles): string {
  switch (id) {
    case 'debian':
      return /^\d+\.\d+/.exec(files.get('etc/debian_version')?.trim() ?? '')?.[0] ?? version;
    case 'centos':
      return minor(files.get('etc/centos-release')) ?? version;
    default:
      return version;
  }
}

function namesOf(id: string, version: string, exact: string, fields: ReadonlyMap<string, string>): string[] {
  const long = fields.get('VERSION') ?? '';
  switch (id) {
    case 'debian':
      // The tables count Debian's point releases with three numbers.
      return exact.includes('.') ? [`Debian GNU/Linux ${exact}.0`] : [];
    case 'ubuntu': {
      const point = /^\d+\.\d+\.\d+/.exec(long)?.[0];
      // A point release of Ubuntu is the same release with its updates, and the tables list the release by itself, too.
      return [...(point === undefined ? [] : [`Ubuntu ${point} Server`]), `Ubuntu ${version} Server`];
    }
    case 'centos':
      return [`CentOS ${exact}`];
    case 'rhel':
      return [`Red Hat Linux Enterprise ${version}`];
    case 'ol':
      return [`Oracle Linux Server release ${version}`];
    case 'rocky':
      return [`Rocky Linux ${version}`];
    case 'almalinux':
      return [`AlmaLinux ${version}`];
    case 'fedora':
      return [`Fedora ${version}`];
    case 'opensuse':
    case 'opensuse-leap':
      return [`openSUSE ${version}`];
    case 'sles':
    case 'sles_sap': {
      const [, main, pack] = /^(\d+)(?:\.(\d+))?$/.exec(version) ?? [];
      if (main === undefined) return [];
      return [`SUSE Linux Enterprise Server ${main}${pack === undefined || pack === '0' ? '' : ` SP${pack}`}`];
    }
    case 'euleros': {
      const [, pack] = /\(SP(\d+)/.exec(long) ?? [];
      return pack === undefined ? [] : [`EulerOS 2.${pack}`];
    }
    case 'openEuler':
      return [`openEuler ${version}`];
    case 'coreos':
      return [`CoreOS ${version}`];
    case 'kylin':
      return [`Kylin ${version}`];
    case 'neokylin':
      return [`NeoKylin ${version}`];
    case 'uos':
      return [`UOS ${version}`];
    case 'kylinsec':
      return [`KylinSec ${version}`];
    default:
      return [];
  }
}
