import {
  type ChangedThings,
  changedThings,
  type CloudChange,
  type CloudChangeInput,
  type UsedDisk,
} from '@ims/contract';
import { NeighbourError } from '@ims/neighbours';
import type { ActivityPorts } from '../step/ports';
import { runStep } from '../step/run-step';
import { startJob } from '../step/start-job';
import { asking, askingIfPresent, refusalBy } from './cloud-job';
import { diskOf, succeeded } from './image-use.activities';

export interface ChangeCloudInput extends CloudChangeInput {
  disks: readonly UsedDisk[];
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'servers' | 'volumes'>;

/** What is done to servers and disks that exist. Everything here may be done twice; nothing of it can be undone, so it is the last step. */
export function createCloudChangeActivities(ports: Ports) {
  return {
    changeCloud: (input: ChangeCloudInput): Promise<ChangedThings> =>
      runStep(ports, {
        name: 'change',
        saga: 'cloud-change',
        input,
        parse: (output) => changedThings.parse(output),
        effect: async () => {
          await startJob(ports, 'change', { jobId: input.jobId, epoch: input.epoch });
          return change(ports, input, input.change);
        },
        companions: (trx) => succeeded(trx, input.jobId),
      }),
  };
}

async function change(ports: Ports, { projectId, disks }: ChangeCloudInput, what: CloudChange): Promise<ChangedThings> {
  const { servers, volumes } = ports;
  switch (what.kind) {
    case 'start-servers':
      for (const id of what.serverIds) await asking('server', () => servers.start(projectId, id));
      return { serverIds: what.serverIds, volumeIds: [] };
    case 'stop-servers':
      for (const id of what.serverIds) await asking('server', () => servers.stop(projectId, id));
      return { serverIds: what.serverIds, volumeIds: [] };
    case 'delete-servers':
      for (const id of what.serverIds) await askingIfPresent('server', () => servers.delete(projectId, id));
      for (const id of what.volumeIds) await askingIfPresent('disk', () => deleteUnlessUsed(ports, projectId, id));
      return { serverIds: what.serverIds, volumeIds: what.volumeIds };
    case 'change-os': {
      const { serverId, guest, rootVolume, stopFirst } = what;
      const [used] = disks;
      if (used === undefined) throw new TypeError(`the job holds no disk of image ${guest.imageId}`);
      const { domainId, manifestHash } = diskOf(disks, guest.imageId, used.part);
      const { imageId, architecture, osBit, minDiskGib } = guest;
      try {
        if (stopFirst) await servers.stop(projectId, serverId);
        const image = { imageId, domainId, manifestHash, architecture, osBit, minDiskGib, role: 'system' } as const;
        await servers.changeOs({ projectId, serverId, image, rootVolume });
        await servers.start(projectId, serverId);
      } catch (error) {
        // An attempt that died may have made the disk, which nobody will attach any more.
        if (error instanceof NeighbourError && error.refusal !== 'BUSY')
          await deleteUnlessUsed(ports, projectId, rootVolume.id);
        throw refusalBy('server', error);
      }
      return { serverIds: [serverId], volumeIds: [rootVolume.id] };
    }
    case 'delete-volume':
      await askingIfPresent('disk', () => volumes.delete(projectId, what.volumeId));
      return { serverIds: [], volumeIds: [what.volumeId] };
    default:
      return what satisfies never;
  }
}

/** A shareable disk that another server still has stays. */
async function deleteUnlessUsed(ports: Ports, projectId: string, volumeId: string): Promise<void> {
  try {
    await ports.volumes.delete(projectId, volumeId);
  } catch (error) {
    if (!(error instanceof NeighbourError && error.refusal === 'IN_USE')) throw error;
  }
}
