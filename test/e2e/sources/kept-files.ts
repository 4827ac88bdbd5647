import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { convertDisk, isoLikeFile } from '@ims/testing';
import type { Source, SourceBench } from './source';

const CREATE = '/v2/cloudimages/action';
const CENTOS = 'CentOS 7.6 64bit';
// No whole number of sectors: a file that is kept is no disk.
const ISO_BYTES = 2 * 2 ** 20 + 777;

/** Puts an installation medium into the bucket. */
export async function putIso(bench: SourceBench): Promise<{ image_url: string; path: string }> {
  const path = join(bench.work, 'el7.iso');
  await writeFile(path, isoLikeFile(ISO_BYTES));
  return { image_url: await bench.put(path), path };
}

const iso: Source = {
  name: 'an ISO file',
  cites: 'CRE-11, CRE-12, IMG-11',
  prepare: async (bench) => {
    const { image_url, path } = await putIso(bench);
    const body = { name: 'el7', image_url, type: 'IsoImage', os_version: CENTOS, min_disk: 40 };
    return {
      submit: () => bench.accepted(CREATE, body),
      images: [
        {
          raw: path,
          file: path,
          fields: { disk_format: 'iso', virtual_env_type: 'IsoImage', __data_origin: `file,${image_url}` },
        },
      ],
    };
  },
  refusals: [
    {
      what: 'a missing system (CRE-11)',
      code: 'IMG.0166',
      call: async (bench) =>
        bench.post(CREATE, { name: 'el7', type: 'IsoImage', min_disk: 40, ...(await imageUrlOf(bench)) }),
    },
    {
      what: 'a key (CRE-12)',
      code: 'IMG.0105',
      call: async (bench) =>
        bench.post(CREATE, {
          name: 'el7',
          type: 'IsoImage',
          min_disk: 40,
          os_version: CENTOS,
          cmk_id: 'c2f2a0c8-3a44-4f0d-a5c4-3c8d1e0f7a21',
          ...(await imageUrlOf(bench)),
        }),
    },
    {
      what: 'a file that is no ISO (CRE-11)',
      code: 'IMG.0057',
      call: async (bench) =>
        bench.post(CREATE, {
          name: 'el7',
          type: 'IsoImage',
          min_disk: 40,
          os_version: CENTOS,
          image_url: await bench.putAs('raw'),
        }),
    },
  ],
};

const imageUrlOf = async (bench: SourceBench) => ({ image_url: (await putIso(bench)).image_url });

/** An image without bytes. */
export async function queue(bench: SourceBench, disk_format: string): Promise<string> {
  const answer = await bench.post('/v2/images', { name: 'first', disk_format, min_disk: 1 });
  if (answer.status !== 201) throw new Error(`POST /v2/images: ${answer.status} ${answer.text}`);
  // The image of the contract.
  return (answer.json as { id: string }).id;
}

const registered: Source = {
  name: 'metadata first and a file of a bucket later',
  cites: 'CRE-09, ims-api 6.6',
  prepare: async (bench) => {
    const image_url = await bench.putAs('qcow2-zlib');
    return {
      submit: async () => {
        const id = await queue(bench, 'qcow2');
        const answer = await bench.stack.call('PUT', `/v1/cloudimages/${id}/upload`, { image_url });
        if (answer.status !== 200) throw new Error(`register: ${answer.status} ${answer.text}`);
        // JobAccepted of the contract.
        return (answer.json as { job_id: string }).job_id;
      },
      images: [{ raw: bench.raw, fields: { __data_origin: `file,${image_url}`, __root_origin: 'file' } }],
    };
  },
  refusals: [
    {
      what: 'a file that is not there (CRE-10)',
      code: 'IMG.0057',
      call: async (bench) =>
        bench.stack.call('PUT', `/v1/cloudimages/${await queue(bench, 'raw')}/upload`, {
          image_url: 'images:none.raw',
        }),
    },
    {
      what: 'an image that has its bytes',
      code: 'IMG.0046',
      call: async (bench) => {
        const image_url = await bench.putAs('raw');
        const id = await queue(bench, 'raw');
        await bench.stack.upload(id, await readFile(bench.raw));
        return bench.stack.call('PUT', `/v1/cloudimages/${id}/upload`, { image_url });
      },
    },
  ],
};

const uploaded: Source = {
  name: 'an uploaded file',
  cites: 'CRE-09, ims-api 12.7',
  prepare: async (bench) => {
    const path = await convertDisk(bench.otherRaw, 'raw', join(bench.work, 'uploaded.raw'));
    const file = await readFile(path);
    return {
      submit: async () => {
        const id = await queue(bench, 'raw');
        // Answered when the job has ended.
        bench.stack.upload(id, file).catch(() => undefined);
        return bench.jobOf(id);
      },
      images: [{ raw: path, file: path, fields: { disk_format: 'raw', __root_origin: 'file' } }],
    };
  },
  refusals: [
    {
      what: 'content of another format',
      code: 'IMG.0057',
      call: async (bench) => {
        const id = await queue(bench, 'vhd');
        const file = await readFile(await convertDisk(bench.raw, 'qcow2-v3'));
        const { status, text } = await bench.stack.upload(id, file);
        // The OpenStack dialect says its errors in a page.
        return { status, text, json: { error: { code: /IMG\.\d{4}/.exec(text)?.[0] ?? text } } };
      },
    },
  ],
};

export const KEPT_FILES: readonly Source[] = [iso, registered, uploaded];
