import {
  type BootCheckOutput,
  bootCheckResult,
  dedupDomainId as toDomain,
  type IngestedDisk,
  type StepInput,
} from '@ims/contract';
import { diskReaderOf } from '../conversion/disk-reader-of';
import type { ActivityPorts } from '../step/ports';
import { runStep } from '../step/run-step';
import { BOOT_TIMEOUT_MS, expectedOnConsole } from './boot-marks';

export interface BootCheckImageInput extends StepInput {
  disk: IngestedDisk;
  /** What the console must print; `null` for the marks of usual systems. */
  expect: string | null;
  architecture: 'x86' | 'arm';
  firmware: 'bios' | 'uefi';
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'store' | 'bootChecks'>;

export function createBootCheckActivities(ports: Ports) {
  return {
    /**
     * Starts a machine from the stored, verified disk and watches its serial console. What the machine writes is thrown away, so the bytes stay what
     * they are. A verdict is a finding, not a failure: a system may boot and be silent.
     */
    bootCheckImage: (input: BootCheckImageInput): Promise<BootCheckOutput> =>
      runStep(ports, {
        name: 'boot-check',
        saga: 'image-create',
        input,
        parse: (output) => bootCheckResult.parse(output),
        effect: async ({ signal }) => {
          const { disk, expect, architecture, firmware } = input;
          if (architecture !== 'x86')
            return { verdict: 'not-checked', evidence: `no machine of architecture ${architecture} can run here` };
          const file = await ports.store.open(
            { domainId: toDomain(disk.domainId), manifestHash: disk.manifestHash },
            'raw',
          );
          return ports.bootChecks.bootCheck({
            disk: diskReaderOf(file, signal),
            firmware,
            timeoutMs: BOOT_TIMEOUT_MS,
            expect: expectedOnConsole(expect),
            signal,
          });
        },
      }),
  };
}
