import { DISK_VARIANTS, type DiskVariant } from '@ims/testing';
import type { Source } from './source';

const GIB = 1024 ** 3;
const CREATE = '/v2/cloudimages/action';
const DATA_IMAGE = '/v1/cloudimages/dataimages/action';
const QUICK_IMPORT = '/v2/cloudimages/quickimport/action';
const UBUNTU = 'Ubuntu 18.04 Server 64bit';

/** An external file in each format that can be imported (CRE-09, FMT-01). */
const systemFiles: Source[] = DISK_VARIANTS.map(({ variant }) => ({
  name: `a file in ${variant}`,
  cites: 'CRE-09, FMT-01, IMG-20',
  prepare: async (bench) => {
    const image_url = await bench.putAs(variant);
    return {
      submit: () => bench.accepted(CREATE, { name: variant, image_url, min_disk: 1 }),
      images: [
        {
          raw: bench.raw,
          fields: {
            disk_format: 'zvhd2',
            virtual_env_type: 'FusionCompute',
            __root_origin: 'file',
            __data_origin: `file,${image_url}`,
            __os_type: 'Linux',
          },
        },
      ],
    };
  },
}));

const dataFile: Source = {
  name: 'a data disk file',
  cites: 'CRE-14, CRE-15, IMG-10',
  prepare: async (bench) => {
    const image_url = await bench.putAs('qcow2-v3', bench.otherRaw);
    return {
      submit: () => bench.accepted(DATA_IMAGE, { name: 'data', image_url, min_disk: 40, os_type: 'Windows' }),
      images: [
        {
          raw: bench.otherRaw,
          fields: {
            virtual_env_type: 'DataImage',
            min_disk: 40,
            __os_type: 'Windows',
            __data_origin: `file,${image_url}`,
          },
        },
      ],
    };
  },
  refusals: [
    ...[39, 2049].map((min_disk) => ({
      what: `a data disk of ${min_disk} GB (CRE-15)`,
      code: 'IMG.0055',
      call: async (bench: Parameters<Source['prepare']>[0]) =>
        bench.post(DATA_IMAGE, { name: 'data', image_url: await bench.putAs('raw', bench.otherRaw), min_disk }),
    })),
    {
      what: 'a data disk below the disk in the file (CRE-15)',
      code: 'IMG.0055',
      call: async (bench) =>
        bench.post(DATA_IMAGE, {
          name: 'data',
          image_url: await bench.putHole('larger-data.raw', 40 * GIB + 512),
          min_disk: 40,
        }),
    },
    {
      what: 'a file that is not there (CRE-10)',
      code: 'IMG.0057',
      call: (bench) => bench.post(DATA_IMAGE, { name: 'data', image_url: 'images:nothing.raw', min_disk: 40 }),
    },
  ],
};

const quick = (variant: DiskVariant, type: string, min_disk: number, fields: Record<string, unknown>): Source => ({
  name: `a quick import of ${variant} as ${type}`,
  cites: 'FMT-03',
  prepare: async (bench) => {
    const image_url = await bench.putAs(variant);
    const body = { name: 'quick', image_url, type, min_disk, ...(type === 'DataImage' ? {} : { os_version: UBUNTU }) };
    return {
      submit: () => bench.accepted(QUICK_IMPORT, body),
      images: [{ raw: bench.raw, fields: { ...fields, __data_origin: `file,${image_url}` } }],
    };
  },
  refusals: (['zvhd', 'vhd-fixed', 'qcow2-v3'] as const).map((other) => ({
    what: `a quick import of ${other} as ${type} (FMT-05, FMT-09)`,
    code: 'IMG.0158',
    call: async (bench) =>
      bench.post(QUICK_IMPORT, {
        name: 'quick',
        image_url: await bench.putAs(other),
        min_disk,
        type,
        os_version: UBUNTU,
      }),
  })),
});

export const FILES: readonly Source[] = [
  ...systemFiles,
  dataFile,
  quick('zvhd2', 'ECS', 1, { virtual_env_type: 'FusionCompute' }),
  quick('raw', 'DataImage', 40, { virtual_env_type: 'DataImage', __os_type: 'Linux' }),
];
