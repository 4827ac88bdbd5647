import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DISK_IMAGE_CREATE_STEPS } from '@ims/contract';
import { outcomeOf, type Workload } from '../support/fault-bench';

const MIB = 2 ** 20;
const DATA_MIB = 48;

/** A system image of a disk that belongs to no server. */
export const imageCreateVolume: Workload = {
  name: 'image-create of a disk',
  steps: [...DISK_IMAGE_CREATE_STEPS],
  begin: async (bench, name) => {
    const { region, cloud } = bench;
    const { source, volume } = await bench.once('a disk', async () => {
      const disk = await region.putNoise('disk.raw', DATA_MIB);
      const path = join(region.stack.bucketDirectory, disk.key);
      const projectId = region.stack.identity.projectId;
      const origin = { from: 'file', path } as const;
      return {
        source: disk,
        volume: await cloud.volumes.create({ id: randomUUID(), projectId, sizeGib: 1, use: 'system', origin }),
      };
    });
    const body = { name, volume_id: volume.id, os_version: 'Ubuntu 18.04 Server 64bit' };
    const id = await bench.accepted('/v2/cloudimages/action', body);
    return {
      jobIds: [id],
      dataBytes: source.dataBytes,
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        // Behind the bytes of the file the disk is empty.
        const sha256 = await region.guestSha256(id, source.dataBytes + MIB);
        return sha256 === source.sha256 ? [] : [`job ${id}: its image has other bytes than the disk`];
      },
      tidy: async () => bench.deleteImage(await bench.imageOf(id)),
    };
  },
};
