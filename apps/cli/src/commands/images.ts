import { Command, Option } from 'commander';
import { type DryRunAnswer, dryRunAnswer, jobAccepted } from '@ims/contract';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { GatewayClient } from '../gateway-client';
import { sizeText } from '../jobs/job-lines';
import { checkSucceeded, watchJob } from '../jobs/watch-job';
import { output } from '../output';
import { imageChangeCommands } from './image-changes';
import { imageListCommand } from './image-list';
import { imageStateCommands } from './image-states';
import { positive } from './jobs';

interface StartOptions {
  data?: string;
  output: 'table' | 'json';
  dryRun: boolean;
  wait: boolean;
  timeout?: number;
}

interface ImportOptions extends StartOptions {
  url: string;
  name: string;
  minDisk: number;
  osVersion?: string;
  description?: string;
}

interface CopyOptions extends StartOptions {
  name: string;
  key?: string;
  description?: string;
}

interface ExportOptions extends StartOptions {
  to: string;
  format?: string;
  quick: boolean;
}

interface ReplicateOptions extends StartOptions {
  region: string;
  name: string;
  agency: string;
  project?: string;
  description?: string;
}

/** Starts a job by one call, or says what it would do; with `--wait` ends with the job. */
async function start(path: string, body: object, { dryRun, wait, timeout, ...target }: StartOptions): Promise<void> {
  const gateway = await GatewayClient.connect(target);
  if (dryRun) {
    tellPlan(await gateway.json(dryRunAnswer, 'POST', path, { body, headers: { 'x-dry-run': 'true' } }), target.output);
    return;
  }
  const accepted = await gateway.json(jobAccepted, 'POST', path, { body });
  if (!wait) {
    output.data(target.output === 'json' ? JSON.stringify(accepted) : accepted.job_id);
    output.progress(`follow it with "npm run ims -- jobs watch ${accepted.job_id}"`);
    return;
  }
  output.progress(`job ${accepted.job_id}`);
  const job = await watchJob(gateway, accepted.job_id, timeout === undefined ? {} : { timeoutSeconds: timeout });
  if (target.output === 'json') output.data(JSON.stringify(job, null, 2));
  checkSucceeded(job);
  if (target.output === 'table') output.data(job.entities.image_id ?? job.job_id);
}

/** @throws CliError when the call would be refused, so that a script can ask */
function tellPlan(plan: DryRunAnswer, form: StartOptions['output']): void {
  if (form === 'json') output.data(JSON.stringify(plan, null, 2));
  const [refusal] = plan.refusals;
  if (refusal !== undefined) {
    throw new CliError(
      `it would be refused: ${refusal.error_code} ${refusal.error_msg}`,
      'Nothing was started, and nothing is kept of it.',
      EXIT.failed,
    );
  }
  if (form === 'json') return;
  const { bytes, cost, steps } = plan;
  output.facts([
    ['Would start', plan.job_type ?? ''],
    ['Steps', steps.join(', ')],
    ['Reads', bytes.source === null ? 'known to the work alone' : sizeText(bytes.source)],
    ...(cost?.lines ?? []).map(({ meter, explanation }): [string, string] => [meter, explanation]),
  ]);
  output.progress('nothing was started, and nothing is kept of it');
}

/** The commands about images, with their options. */
export function imagesCommand(): Command {
  const images = new Command('images').description('bring images in, look after them, and send them out and elsewhere');
  for (const command of [imageListCommand(), ...imageChangeCommands(), ...imageStateCommands()])
    images.addCommand(command);
  images.addCommand(
    starting('import', 'make an image of a file in a bucket')
      .requiredOption('--url <bucket:object>', 'the file')
      .requiredOption('--name <name>', 'name of the image')
      .requiredOption('--min-disk <gib>', 'size of the disk that a server of it needs', positive)
      .option('--os-version <name>', 'operating system; found out when left out')
      .option('--description <text>', 'shown with the image')
      .action(({ url, name, minDisk, osVersion, description, ...options }: ImportOptions) =>
        start(
          '/v2/cloudimages/action',
          { image_url: url, name, min_disk: minDisk, os_version: osVersion, description },
          options,
        ),
      ),
  );
  images.addCommand(
    starting('export', 'write an image into a bucket')
      .argument('<image>', 'id of the image')
      .requiredOption('--to <bucket:object>', 'the file that is written')
      .addOption(
        new Option('--format <format>', 'form of the file')
          .choices(['qcow2', 'vhd', 'zvhd', 'vmdk'])
          .conflicts('quick'),
      )
      .option('--quick', 'as it is stored (ZVHD2), for large images', false)
      .action((image: string, { to, format, quick, ...options }: ExportOptions) =>
        start(
          `/v1/cloudimages/${encodeURIComponent(image)}/file`,
          { bucket_url: to, ...(quick ? { is_quick_export: true } : { file_format: format ?? 'qcow2' }) },
          options,
        ),
      ),
  );
  images.addCommand(
    starting('copy', 'copy an image in its region, under another key or none')
      .argument('<image>', 'id of the image')
      .requiredOption('--name <name>', 'name of the copy')
      .option('--key <id>', 'key that the copy is kept under; none when left out')
      .option('--description <text>', 'shown with the copy')
      .action((image: string, { name, key, description, ...options }: CopyOptions) =>
        start(`/v1/cloudimages/${encodeURIComponent(image)}/copy`, { name, cmk_id: key, description }, options),
      ),
  );
  images.addCommand(
    starting('replicate', 'copy an image into another region')
      .argument('<image>', 'id of the image')
      .requiredOption('--region <name>', 'where it goes')
      .requiredOption('--name <name>', 'name of the copy')
      .requiredOption('--agency <name>', 'agency that lets the service act in both regions')
      .option('--project <name>', 'project there; the one that is named as the region when left out')
      .option('--description <text>', 'shown with the copy')
      .action((image: string, { region, name, agency, project, description, ...options }: ReplicateOptions) =>
        start(
          `/v1/cloudimages/${encodeURIComponent(image)}/cross_region_copy`,
          { region, name, agency_name: agency, project_name: project ?? region, description },
          options,
        ),
      ),
  );
  return images;
}

/** A command that starts a job, with what all of them take. */
const starting = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .option('--dry-run', 'say what would be done and what it costs, and do nothing', false)
    .option('--wait', 'end with the job, and with its exit code', false)
    .option('--timeout <seconds>', 'give up waiting after this time; the job goes on', positive)
    .addOption(new Option('--data <dir>', 'directory of the instance; else the environment says which service'))
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table'));
