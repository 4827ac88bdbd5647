import { ImsError } from '@ims/contract';
import { osNamesOnSeries } from '../os/flavor-os.rules';
import flavorTable from '../tables/os-support-by-flavor.json';
import { type Architecture, MAX_RAM_OF_32_BIT_MIB } from '../os/os-version';

/** What a server is made of. Names are the vendor's: `s6.large.2`, `kc1.large.2`, `physical.s4.medium`. */
export interface ServerFlavor {
  id: string;
  vcpus: number;
  ramMib: number;
  architecture: Architecture;
  series: string;
  kind: 'ecs' | 'bms';
}

// An ECS flavour such as `s6.large.2`; names of other services have other shapes.
const FLAVOR_NAME = /^[a-z][a-z0-9]{0,15}(\.[a-z0-9]{1,15}){1,4}$/i;
const MIB_PER_GIB = 1024;
// The last part of a name is GiB of memory for each vCPU.
const RATIOS: readonly string[] = ['1', '2', '4', '8'];
const LARGEST_MULTIPLE = 32;
const VCPUS_OF_XLARGE = 4;

/** Series of tables 7-1 to 7-6 and those beside them (OS-14), by their name in a flavour's. */
const SERIES: ReadonlyMap<string, { name: string; architecture: Architecture }> = new Map(
  [...flavorTable.series, ...flavorTable.outside_tables].flatMap(({ architecture, series }) =>
    (Array.isArray(series) ? series : []).map((name) => [
      name.toLowerCase(),
      { name, architecture: architecture === 'kunpeng' ? ('arm' as const) : ('x86' as const) },
    ]),
  ),
);

/** GPU-accelerated series have no table (OS-12): graphics (G) and computing (P, Pi) by their generation. */
const GPU_SERIES = /^(?:g|p|pi)\d[a-z]{0,2}$/;

/** Bare metal of the embedded cloud. The overview has no table of it; sizes are ours, names in the vendor's way (backends E6). */
const PHYSICAL: Readonly<Record<string, { vcpus: number; ramMib: number }>> = {
  small: { vcpus: 8, ramMib: 32 * MIB_PER_GIB },
  medium: { vcpus: 16, ramMib: 64 * MIB_PER_GIB },
  large: { vcpus: 32, ramMib: 128 * MIB_PER_GIB },
};

/**
 * The flavour of that name, or `undefined` where there is none.
 *
 * @example findFlavor('s6.large.2') // { vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6', kind: 'ecs', … }
 */
export function findFlavor(id: string): ServerFlavor | undefined {
  const [first = '', size = '', ratio = '', ...more] = id.split('.');
  if (more.length > 0) return undefined;
  if (first === 'physical') return findPhysical(id, size, ratio);
  const series =
    SERIES.get(first) ??
    (GPU_SERIES.test(first) ? { name: first.toUpperCase(), architecture: 'x86' as const } : undefined);
  const vcpus = vcpusOf(size);
  if (series === undefined || vcpus === undefined || !RATIOS.includes(ratio)) return undefined;
  return {
    id,
    vcpus,
    ramMib: vcpus * Number(ratio) * MIB_PER_GIB,
    architecture: series.architecture,
    series: series.name,
    kind: 'ecs',
  };
}

function findPhysical(id: string, series: string, size: string): ServerFlavor | undefined {
  const machine = Object.hasOwn(PHYSICAL, size) ? PHYSICAL[size] : undefined;
  if (machine === undefined || !/^k?[a-z]{1,2}\d$/.test(series)) return undefined;
  return { id, ...machine, architecture: series.startsWith('k') ? 'arm' : 'x86', series, kind: 'bms' };
}

function vcpusOf(size: string): number | undefined {
  switch (size) {
    case 'small':
    case 'medium':
      return 1;
    case 'large':
      return 2;
    case 'xlarge':
      return VCPUS_OF_XLARGE;
    default: {
      const multiple = Number(/^([1-9]\d?)xlarge$/.exec(size)?.[1]);
      return multiple >= 2 && multiple <= LARGEST_MULTIPLE ? multiple * VCPUS_OF_XLARGE : undefined;
    }
  }
}

/** What of an image decides whether it is usable with a flavour. */
export interface FlavorFilter {
  architecture: Architecture;
  ramMib: number;
  /** CRE-28. */
  without32Bit: boolean;
  /** Names of the systems that run there; absent where no table speaks of the series (OS-12). */
  osVersions?: readonly string[];
}

/**
 * Which images a list shows for `flavor_id` (ims-api 4.1; OS-06 to OS-14, CRE-26, CRE-28).
 *
 * @throws ImsError IMG.0192 for what is no name of an ECS flavour, those of bare metal among it; IMG.0191 where no flavour has that name
 */
export function flavorFilter(id: string, region: string): FlavorFilter {
  if (!FLAVOR_NAME.test(id) || id.startsWith('physical.')) throw new ImsError('IMG.0192');
  const flavor = findFlavor(id.toLowerCase());
  if (flavor === undefined) throw new ImsError('IMG.0191', `there is no flavor ${id}`);
  const names = osNamesOnSeries(flavor.series, region);
  return {
    architecture: flavor.architecture,
    ramMib: flavor.ramMib,
    without32Bit: flavor.ramMib > MAX_RAM_OF_32_BIT_MIB,
    ...(names === undefined ? {} : { osVersions: names }),
  };
}
