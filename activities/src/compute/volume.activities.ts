import {
  type CreatedVolumes,
  createdVolumes,
  type PlannedOrigin,
  type PlannedVolume,
  type UsedDisk,
} from '@ims/contract';
import type { VolumeOrigin } from '@ims/neighbours';
import type { ActivityPorts } from '../step/ports';
import { runStep, runUndo } from '../step/run-step';
import { asking, type SharedStepInput, undoingEach } from './cloud-job';
import { diskOf } from './image-use.activities';

export interface CreateVolumesInput extends SharedStepInput {
  availabilityZone: string;
  volumes: readonly PlannedVolume[];
  disks: readonly UsedDisk[];
}
export interface DeleteVolumesInput extends SharedStepInput {
  volumes: readonly Pick<PlannedVolume, 'id'>[];
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'volumes'>;

/** Disks, each under an id that follows from its job. Nothing is copied: what stands on an image reads it when it is first asked. */
export function createVolumeActivities(ports: Ports) {
  return {
    createVolumes: (input: CreateVolumesInput): Promise<CreatedVolumes> =>
      runStep(ports, {
        name: 'create-volumes',
        saga: input.saga,
        input,
        parse: (output) => createdVolumes.parse(output),
        effect: async () => {
          const { projectId, availabilityZone, disks } = input;
          for (const { id, name, sizeGib, volumeType, use, origin, shareable } of input.volumes) {
            await asking('disk', () =>
              ports.volumes.create({
                id,
                projectId,
                availabilityZone,
                sizeGib,
                volumeType,
                use,
                shareable,
                origin: originOf(origin, disks),
                ...(name === '' ? {} : { name }),
              }),
            );
          }
          return { volumeIds: input.volumes.map(({ id }) => id) };
        },
      }),

    deleteVolumes: (input: DeleteVolumesInput): Promise<void> =>
      runUndo(ports, {
        name: 'create-volumes',
        saga: input.saga,
        input,
        effect: () => {
          const ids = input.volumes.map(({ id }) => id);
          return undoingEach('disk', ids, (id) => ports.volumes.delete(input.projectId, id));
        },
      }),
  };
}

function originOf(origin: PlannedOrigin, disks: readonly UsedDisk[]): VolumeOrigin {
  if (origin.from !== 'image') return origin;
  const { imageId, domainId, manifestHash } = diskOf(disks, origin.imageId, origin.part);
  return { from: 'image', image: { imageId, domainId, manifestHash }, role: origin.role };
}
