import { DISK_IMAGE_CREATE_STEPS } from '@ims/contract';
import { outcomeOf, type Workload } from '../support/fault-bench';

const MIB = 2 ** 20;
const DATA_MIB = 64;

/** An image of a running server's system disk, by a snapshot that must not stay. */
export const imageCreateServer: Workload = {
  name: 'image-create of a server',
  steps: [...DISK_IMAGE_CREATE_STEPS],
  begin: async (bench, name) => {
    const { region } = bench;
    const { source, server } = await bench.once('a server', async () => {
      const disk = await region.putNoise('server.raw', DATA_MIB);
      return { source: disk, server: await bench.aServer(disk.key, (DATA_MIB + 1) * MIB) };
    });
    const id = await bench.accepted('/v2/cloudimages/action', { name, instance_id: server.id });
    return {
      jobIds: [id],
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        // Behind the bytes of the file the disk is empty.
        if ((await region.guestSha256(id, source.dataBytes + MIB)) !== source.sha256)
          wrong.push(`job ${id}: its image has other bytes than the disk`);
        const snapshots = await region.db.selectFrom('cloud.snapshot').select('id').execute();
        return [...wrong, ...snapshots.map((row) => `job ${id}: snapshot ${row.id} is left`)];
      },
      tidy: async () => bench.deleteImage(await bench.imageOf(id)),
    };
  },
};
