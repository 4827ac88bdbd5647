import {
  type BootCheckOutput,
  bootCheckResult,
  type NamedServers,
  namedServers,
  type ServerCreateInput,
  type StepInput,
  type UsedDisk,
} from '@ims/contract';
import type { ActivityPorts } from '../step/ports';
import { runStep, runUndo } from '../step/run-step';
import { BOOT_TIMEOUT_MS, expectedOnConsole } from './boot-marks';
import { asking, undoingEach } from './cloud-job';

export interface CreateServersInput extends ServerCreateInput {
  disks: readonly UsedDisk[];
}
export interface ServersOfJob extends StepInput {
  projectId: string;
  servers: readonly { id: string }[];
}
export interface BootCheckInput extends ServersOfJob {
  /** What the console must print; `null` for the marks of usual systems. */
  expect: string | null;
}

const SAGA = 'server-create';

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'servers'>;

/** Servers, each under an id that follows from its job. */
export function createServerActivities(ports: Ports) {
  const idsOf = ({ servers }: { servers: readonly { id: string }[] }): string[] => servers.map(({ id }) => id);

  return {
    /** Stopped: they are started only when all are there. */
    createServers: (input: CreateServersInput): Promise<NamedServers> =>
      runStep(ports, {
        name: 'create-servers',
        saga: SAGA,
        input,
        parse: (output) => namedServers.parse(output),
        effect: async () => {
          const { projectId, kind, flavor, availabilityZone, guest, metadata } = input;
          const [disk] = input.disks.filter(({ imageId }) => imageId === guest.imageId);
          if (disk === undefined) throw new TypeError(`the job holds no disk of image ${guest.imageId}`);
          const { domainId, manifestHash } = disk;
          const { imageId, architecture, osBit, minDiskGib } = guest;
          for (const { id, name, volumes } of input.servers) {
            await asking('server', () =>
              ports.servers.create({
                id,
                projectId,
                name,
                kind,
                flavor,
                availabilityZone,
                image: { imageId, domainId, manifestHash, architecture, osBit, minDiskGib, role: 'system' },
                volumes: volumes.map(({ id: volumeId, device, bootIndex, deleteOnTermination }) => ({
                  id: volumeId,
                  bootIndex,
                  deleteOnTermination,
                  ...(device === undefined ? {} : { device }),
                })),
                metadata,
                initialStatus: 'SHUTOFF',
              }),
            );
          }
          return { serverIds: idsOf(input) };
        },
      }),

    deleteServers: (input: ServersOfJob): Promise<void> =>
      runUndo(ports, {
        name: 'create-servers',
        saga: SAGA,
        input,
        effect: () => undoingEach('server', idsOf(input), (id) => ports.servers.delete(input.projectId, id)),
      }),

    startServers: (input: ServersOfJob): Promise<NamedServers> =>
      runStep(ports, {
        name: 'start',
        saga: SAGA,
        input,
        parse: (output) => namedServers.parse(output),
        effect: async () => {
          for (const id of idsOf(input)) await asking('server', () => ports.servers.start(input.projectId, id));
          return { serverIds: idsOf(input) };
        },
      }),

    stopServers: (input: ServersOfJob): Promise<void> =>
      runUndo(ports, {
        name: 'start',
        saga: SAGA,
        input,
        effect: () => undoingEach('server', idsOf(input), (id) => ports.servers.stop(input.projectId, id)),
      }),

    /** What the serial consoles say. A verdict is a finding, not a failure: a system may boot and be silent. */
    bootCheckServers: (input: BootCheckInput): Promise<BootCheckOutput> =>
      runStep(ports, {
        name: 'boot-check',
        saga: SAGA,
        input,
        parse: (output) => bootCheckResult.parse(output),
        effect: async ({ signal }) => {
          const watch = { expect: expectedOnConsole(input.expect), timeoutMs: BOOT_TIMEOUT_MS, signal };
          const results = await Promise.all(
            idsOf(input).map((id) => asking('server', () => ports.servers.bootCheck(input.projectId, id, watch))),
          );
          const worst =
            results.find(({ verdict }) => verdict === 'does-not-boot') ??
            results.find(({ verdict }) => verdict === 'not-checked') ??
            results[0];
          if (worst === undefined) throw new TypeError('a job of no servers');
          return worst;
        },
      }),
  };
}
