import type { NtfsFileSystem } from './ntfs-file-system';
import { RegistryHive } from './registry-hive';

/** What the registry of a Windows says of it. */
export interface WindowsFinding {
  /** As written there: `Windows Server 2019 Datacenter`. */
  product: string;
  build: string | undefined;
  edition: string | undefined;
  bits: '32' | '64' | undefined;
  architecture: 'x86' | 'arm' | undefined;
  /** Names under which the tables may list it, best first. */
  candidates: string[];
  isDirty: boolean;
}

const HIVE = 'Windows/System32/config/SOFTWARE';
const KEY = 'Microsoft/Windows NT/CurrentVersion';
/** Windows 11 calls itself Windows 10 in the registry; this is its first build. */
const FIRST_BUILD_OF_11 = 22_000;
/** Longer texts are nobody's product name. */
const TEXT_LIMIT = 80;

/** Kinds of builds as BuildLabEx names them, such as `17763.1.amd64fre.rs5_release.180914-1434`. */
const BUILDS: Readonly<Record<string, Pick<WindowsFinding, 'bits' | 'architecture'>>> = {
  amd64fre: { bits: '64', architecture: 'x86' },
  x86fre: { bits: '32', architecture: 'x86' },
  arm64fre: { bits: '64', architecture: 'arm' },
};

/** The release that the registry names (key `SOFTWARE/Microsoft/Windows NT/CurrentVersion`); `undefined` without one. Throws `UnreadableError`. */
export async function findWindows(files: NtfsFileSystem): Promise<WindowsFinding | undefined> {
  const file = await files.openFile(HIVE);
  if (file === undefined) return undefined;
  const hive = await RegistryHive.open(file);
  const values = await hive.values(KEY, [
    'ProductName',
    'CurrentBuild',
    'CurrentBuildNumber',
    'EditionID',
    'BuildLabEx',
    'BuildLab',
  ]);
  const text = (name: string): string | undefined => values.get(name)?.slice(0, TEXT_LIMIT);
  const product = text('ProductName');
  if (product === undefined) return undefined;
  const build = text('CurrentBuild') ?? text('CurrentBuildNumber');
  const lab = (text('BuildLabEx') ?? text('BuildLab') ?? '').split('.').find((part) => Object.hasOwn(BUILDS, part));
  const known = lab === undefined ? undefined : BUILDS[lab];
  // Only 64-bit systems keep a folder of programs with 32 bits.
  const is64 = known === undefined && (await files.has('Program Files (x86)'));
  return {
    product,
    build,
    edition: text('EditionID'),
    bits: known?.bits ?? (is64 ? '64' : undefined),
    architecture: known?.architecture,
    candidates: candidatesOf(product, Number(build)),
    isDirty: hive.isDirty,
  };
}

/** Names of the tables have no marks of trial versions; they have one Windows 10, whatever its edition. */
export function candidatesOf(product: string, build: number): string[] {
  const name = product
    .replace(/\(R\)|\u00ae|\u2122/g, '')
    .replace(/ (Evaluation|without Hyper-V|\(Core\)|\(Full\))/gi, '')
    .replace(/\s+/g, ' ')
    .trim();
  const client = /^Windows 1[01]\b/.exec(name)?.[0];
  if (client === undefined) return [name];
  return [build >= FIRST_BUILD_OF_11 ? 'Windows 11' : client];
}

/** Such as `Windows Server 2019 Datacenter, build 17763, ServerDatacenter`, for the evidence. */
export const describeWindows = ({ product, build, edition }: WindowsFinding): string =>
  [product, ...(build === undefined ? [] : [`build ${build}`]), ...(edition === undefined ? [] : [edition])].join(', ');
