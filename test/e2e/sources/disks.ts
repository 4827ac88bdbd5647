import { randomUUID } from 'node:crypto';
import type { NewServer, Server } from '@ims/neighbours';
import type { Source, SourceBench } from './source';

const CREATE = '/v2/cloudimages/action';
const DEBIAN = 'Debian GNU/Linux 10.0.0 64bit';

const dataDiskOf = ({ volumes }: Server): string => volumes.find(({ bootIndex }) => bootIndex === null)?.volumeId ?? '';

/** A disk of no server. */
async function aFreeDisk(bench: SourceBench, sizeGib = 10): Promise<string> {
  const { id } = await bench.cloud.volumes.create({
    id: randomUUID(),
    projectId: bench.projectId,
    sizeGib,
    use: 'data',
    origin: { from: 'file', path: bench.raw },
  });
  return id;
}

const systemFromDisk = (volume_id: string) => ({ name: 'of-disk', volume_id, os_version: DEBIAN });

const volume: Source = {
  name: 'a disk by its id',
  cites: 'CRE-06, CRE-08',
  prepare: async (bench) => {
    const id = await aFreeDisk(bench);
    return {
      submit: () => bench.accepted(CREATE, systemFromDisk(id)),
      images: [
        {
          raw: bench.raw,
          fields: {
            virtual_env_type: 'FusionCompute',
            __data_origin: `volume,${id}`,
            __os_type: 'Linux',
            min_disk: 10,
          },
        },
      ],
    };
  },
  refusals: [
    {
      what: 'an unknown disk (CRE-06)',
      code: 'IMG.0120',
      call: (bench) => bench.post(CREATE, systemFromDisk(randomUUID())),
    },
    {
      what: 'a disk over 1 TB (CRE-08)',
      code: 'IMG.0120',
      call: async (bench) => bench.post(CREATE, systemFromDisk(await aFreeDisk(bench, 1025))),
    },
  ],
};

/** A server with two data disks: one of other bytes, one like its system disk. */
export const twoDataDisks = (bench: SourceBench): Pick<NewServer, 'volumes'> => ({
  volumes: [
    {
      id: randomUUID(),
      create: { sizeGib: 1, use: 'system', origin: { from: 'file', path: bench.raw } },
      bootIndex: 0,
    },
    ...[bench.otherRaw, bench.raw].map((path) => ({
      id: randomUUID(),
      create: { sizeGib: 10, use: 'data' as const, origin: { from: 'file' as const, path } },
      bootIndex: null,
    })),
  ],
});

const ofDisks = (ids: readonly string[]) => ({
  data_images: ids.map((volume_id, i) => ({ name: `data-${i}`, volume_id })),
});

const dataDisks: Source = {
  name: 'two data disks of a server',
  cites: 'CRE-06, CRE-24, IMG-10',
  prepare: async (bench) => {
    const server = await bench.aServer(twoDataDisks(bench));
    const ids = server.volumes.filter(({ bootIndex }) => bootIndex === null).map(({ volumeId }) => volumeId);
    return {
      submit: () => bench.accepted(CREATE, ofDisks(ids)),
      images: [bench.otherRaw, bench.raw].map((raw, i) => ({
        raw,
        fields: { name: `data-${i}`, virtual_env_type: 'DataImage', __data_origin: `volume,${ids[i]}` },
      })),
    };
  },
  refusals: [
    {
      what: 'disks of two servers (CRE-06)',
      code: 'IMG.0140',
      call: async (bench) =>
        bench.post(CREATE, ofDisks([dataDiskOf(await bench.aServer()), dataDiskOf(await bench.aServer())])),
    },
    {
      what: 'a disk of no server (CRE-06)',
      code: 'IMG.0120',
      call: async (bench) => bench.post(CREATE, ofDisks([await aFreeDisk(bench)])),
    },
    {
      what: 'a data disk over 1 TB (CRE-08)',
      code: 'IMG.0120',
      call: async (bench) => {
        const [system] = twoDataDisks(bench).volumes;
        const large = {
          id: randomUUID(),
          create: { sizeGib: 1025, origin: { from: 'blank' as const } },
          bootIndex: null,
        };
        const server = await bench.aServer({ volumes: [...(system === undefined ? [] : [system]), large] });
        return bench.post(CREATE, ofDisks([dataDiskOf(server)]));
      },
    },
  ],
};

const systemWithData: Source = {
  name: 'a system disk file with a data disk file',
  cites: 'CRE-09, CRE-14',
  prepare: async (bench) => {
    const image_url = await bench.putAs('qcow2-v3');
    const data_url = await bench.putAs('vmdk-stream', bench.otherRaw);
    const body = {
      name: 'with-data',
      image_url,
      min_disk: 1,
      data_images: [{ name: 'its-data', image_url: data_url, min_disk: 1 }],
    };
    return {
      submit: () => bench.accepted(CREATE, body),
      images: [
        { raw: bench.raw, fields: { virtual_env_type: 'FusionCompute', __data_origin: `file,${image_url}` } },
        { raw: bench.otherRaw, fields: { virtual_env_type: 'DataImage', __data_origin: `file,${data_url}` } },
      ],
    };
  },
  refusals: [
    {
      what: 'the same file twice',
      code: 'IMG.0123',
      call: async (bench) => {
        const image_url = await bench.putAs('qcow2-v3');
        const data_images = [{ name: 'twice', image_url, min_disk: 1 }];
        return bench.post(CREATE, { name: 'with-data', image_url, min_disk: 1, data_images });
      },
    },
  ],
};

export const DISKS: readonly Source[] = [volume, dataDisks, systemWithData];
