import { flavorOffer } from './flavor-os.rules';
import { supportWarning } from './support-plan';

/**
 * What a caller is told who makes servers from an image of this system; nothing of it forbids them. Its support (OS-01), and that no table says whether
 * it runs on this series (OS-12, CRE-33). Empty for an image whose system is not named.
 */
export function osWarnings(
  osVersion: string | undefined,
  flavor: { series: string; kind: 'ecs' | 'bms' },
  { region, now }: { region: string; now: Date },
): string[] {
  if (osVersion === undefined) return [];
  const support = supportWarning(osVersion, now);
  const hasNoClaim = flavor.kind === 'ecs' && flavorOffer(osVersion, flavor.series, region) === 'no-claim';
  return [
    ...(support === undefined ? [] : [support]),
    ...(hasNoClaim ? [`no table says whether ${osVersion} runs on series ${flavor.series}`] : []),
  ];
}
