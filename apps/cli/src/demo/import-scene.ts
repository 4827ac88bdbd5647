import { errorCode } from '@ims/embedded';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import picocolors from 'picocolors';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { output } from '../output';
import type { StackState } from '../stack/data-directory';
import { type DemoClient, type JobAnswer, resultOf } from './demo-client';
import { heading, mebibytes, step } from './show';
import { tellStory } from './story';

const run = promisify(execFile);
const MIB = 1024 ** 2;

/** An image of the demo and what its disk must read as. */
export interface DemoImage {
  id: string;
  rawSha256: string;
}

/** A disk file becomes an image: job, events, attributes, and proof that the bytes are the same. */
export async function importDisk(client: DemoClient, work: string): Promise<DemoImage> {
  heading('A disk image lands in a bucket');
  const { imageUrl, rawSha256 } = await makeSource(client.state, work);

  heading('The import');
  const began = performance.now();
  const job = await client.runJob('/v2/cloudimages/action', {
    name: 'debian-demo',
    description: 'made by the demo',
    image_url: imageUrl,
    os_version: 'Debian GNU/Linux 10.2.0 64bit',
    min_disk: 1,
    tags: ['demo'],
  });
  const id = imageOf(client, job);
  step('SUCCESS', `image ${id}`, performance.now() - began);

  heading('What happened, from the event log');
  await tellStory(client, job.job_id);

  heading('The image');
  await printImage(client, id);

  heading('Proof: the bytes that come out are the bytes that went in');
  await proveBytes(client, id, rawSha256);
  return { id, rawSha256 };
}

/** The image that a job made; fails when the job did not succeed. */
export function imageOf(client: DemoClient, job: JobAnswer): string {
  const { image_id: id } = resultOf(client, job);
  if (id === undefined) throw new CliError(`job ${job.job_id} names no image`, 'This is a defect: please report it.');
  return id;
}

export async function proveBytes(client: DemoClient, imageId: string, expected: string): Promise<void> {
  const began = performance.now();
  const { bytes, sha256 } = await client.rawDisk(imageId);
  step('GET', `/v2/images/${imageId}/file?format=raw, ${mebibytes(bytes)}`, performance.now() - began);
  output.data(`  sha256 of the download:                       ${sha256}`);
  if (sha256 !== expected) {
    throw new CliError(
      'the downloaded disk differs from the imported one',
      'This is a defect: please report it.',
      EXIT.verifyFailed,
    );
  }
  output.data(picocolors.green('  They are equal.'));
}

async function printImage(client: DemoClient, imageId: string): Promise<void> {
  const image = await client.image(imageId);
  if (!image) throw new CliError(`image ${imageId} is not in the list`, 'This is a defect: please report it.');
  for (const name of [
    'id',
    'name',
    'status',
    'disk_format',
    'min_disk',
    '__os_version',
    '__platform',
    '__os_bit',
    'tags',
    '__image_size',
  ]) {
    if (image[name] !== undefined) output.data(`  ${name.padEnd(14)} ${JSON.stringify(image[name])}`);
  }
}

async function makeSource(state: StackState, work: string): Promise<{ imageUrl: string; rawSha256: string }> {
  // Loaded only here: the makers of test disks are no part of a running service.
  const { makeDebianLikeDisk, convertDisk, sha256OfRaw } = await import('@ims/testing');
  const began = performance.now();
  // As large as the smallest system disk, so that a server's disk has the very same bytes.
  const disk = await makeDebianLikeDisk(work, { name: 'debian-10', virtualSizeBytes: 1024 * MIB, dataBytes: 64 * MIB });
  const qcow2 = await convertDisk(disk.path, 'qcow2-v3');
  // By another program than ours, from the very file that is imported: what it reads is what must come out in the end.
  const raw = join(work, 'converted.raw');
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', qcow2, raw]);
  const rawSha256 = await sha256OfRaw(raw);
  const bucket = join(state.bucketDir, 'images');
  await mkdir(bucket, { recursive: true });
  await moveInto(qcow2, join(bucket, 'debian-10.qcow2'));
  const { size } = await stat(join(bucket, 'debian-10.qcow2'));
  step(
    'qcow2',
    `images:debian-10.qcow2, ${mebibytes(size)} of a ${mebibytes(disk.virtualSizeBytes)} disk`,
    performance.now() - began,
  );
  output.data(`  sha256 of its raw content (qemu-img convert): ${rawSha256}`);
  return { imageUrl: 'images:debian-10.qcow2', rawSha256 };
}

async function moveInto(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    // Another file system: rename cannot cross it.
    if (errorCode(error) !== 'EXDEV') throw error;
    await copyFile(from, to);
  }
}
