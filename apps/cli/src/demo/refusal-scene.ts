import { execFile } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import picocolors from 'picocolors';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { output } from '../output';
import type { DemoClient } from './demo-client';
import { heading } from './show';
import { tellStory } from './story';

const run = promisify(execFile);

/** A file that would have a converter read the host's own files is refused before one has seen it, and leaves nothing. */
export async function refuseHostileFile(client: DemoClient, work: string): Promise<void> {
  heading('A hostile file: a qcow2 whose backing file is /etc/passwd');
  const path = join(work, 'hostile.qcow2');
  await run('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw', path, '1G']);
  await copyFile(path, join(client.state.bucketDir, 'images', 'hostile.qcow2'));
  const before = await client.countImages();
  const job = await client.runJob('/v2/cloudimages/action', {
    name: 'hostile',
    image_url: 'images:hostile.qcow2',
    min_disk: 1,
  });
  if (job.status !== 'FAIL' || (await client.countImages()) !== before) {
    throw new CliError('the hostile file was not refused', 'This is a defect: please report it.', EXIT.verifyFailed);
  }
  output.data(`  ${picocolors.bold('Refused:')} ${job.error_code ?? ''}  ${job.fail_reason ?? ''}`);
  await tellStory(client, job.job_id);
  output.data(picocolors.green('  No image, no quota, no bytes of it remain.'));
}
