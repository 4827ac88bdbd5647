import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import picocolors from 'picocolors';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { output } from '../output';
import { type DemoClient, resultOf } from './demo-client';
import type { DemoImage } from './import-scene';
import { heading, step } from './show';
import { tellStory } from './story';

const run = promisify(execFile);

/** An image becomes a file in a bucket again, which another program than ours reads. */
export async function exportImage(client: DemoClient, image: DemoImage, work: string): Promise<void> {
  heading('An export into a bucket, as QCOW2');
  const began = performance.now();
  const key = 'debian-demo.qcow2';
  const job = await client.runJob(`/v1/cloudimages/${image.id}/file`, {
    bucket_url: `images:${key}`,
    file_format: 'qcow2',
  });
  resultOf(client, job);
  step('SUCCESS', `images:${key}`, performance.now() - began);
  await tellStory(client, job.job_id);
  const file = join(client.state.bucketDir, 'images', key);
  const raw = join(work, 'exported.raw');
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', file, raw]);
  const sha256 = await sha256Of(raw);
  output.data(`  sha256 beside it:                             ${(await readFile(`${file}.sha256`, 'utf8')).trim()}`);
  output.data(`  sha256 of its raw content (qemu-img convert): ${sha256}`);
  if (sha256 !== image.rawSha256)
    throw new CliError('the exported disk differs', 'This is a defect: please report it.', EXIT.verifyFailed);
  output.data(picocolors.green('  It is the disk that was imported.'));
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
