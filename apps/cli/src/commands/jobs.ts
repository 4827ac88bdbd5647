import { Command, InvalidArgumentError, Option } from 'commander';
import Table from 'cli-table3';
import { jobAccepted, type JobDocument, JOB_FILTERS, jobList } from '@ims/contract';
import { GatewayClient } from '../gateway-client';
import { paceText, percentText, stateText } from '../jobs/job-lines';
import { checkSucceeded, findJob, watchJob } from '../jobs/watch-job';
import { output } from '../output';

interface Target {
  data?: string;
  output: 'table' | 'json';
}

interface ListOptions extends Target {
  status?: string;
  limit: number;
}

// The largest page that the service gives.
const PAGE = 200;

/** `ims jobs list`: newest first. */
export async function listJobs({ status, limit, ...target }: ListOptions): Promise<void> {
  const gateway = await GatewayClient.connect(target);
  const jobs: JobDocument[] = [];
  let marker: string | undefined;
  do {
    const query = { status, limit: Math.min(PAGE, limit - jobs.length), marker };
    const page = await gateway.json(jobList, 'GET', `/v1/${gateway.projectId}/jobs`, { query });
    jobs.push(...page.jobs);
    marker = page.next_marker;
  } while (marker !== undefined && jobs.length < limit);
  if (target.output === 'json') {
    output.data(JSON.stringify(jobs, null, 2));
    return;
  }
  const table = new Table({
    head: ['job', 'type', 'state', 'done', 'pace', 'began', 'image'],
    style: { head: [], border: [] },
  });
  for (const job of jobs)
    table.push([
      job.job_id,
      job.job_type,
      stateText(job),
      percentText(job),
      paceText(job),
      job.begin_time,
      job.entities.image_name ?? '',
    ]);
  output.data(table.toString());
}

export async function showJob(id: string, target: Target): Promise<void> {
  const gateway = await GatewayClient.connect(target);
  tellJob(await findJob(gateway, id), target.output);
}

/** `ims jobs watch`: ends with the job; exit code 3 when it failed, 7 when it took too long. */
export async function watch(id: string, { timeout, ...target }: Target & { timeout?: number }): Promise<void> {
  const gateway = await GatewayClient.connect(target);
  const job = await watchJob(gateway, id, timeout === undefined ? {} : { timeoutSeconds: timeout });
  tellJob(job, target.output);
  checkSucceeded(job);
}

/** What a person wants to know of one job. */
function tellJob(job: JobDocument, form: Target['output']): void {
  if (form === 'json') {
    output.data(JSON.stringify(job, null, 2));
    return;
  }
  const { entities } = job;
  const facts: [string, string | undefined | null][] = [
    ['Job', job.job_id],
    ['Type', job.job_type],
    ['State', stateText(job)],
    ['Paused since', job.paused_at],
    ['Task', entities.current_task],
    ['Done', percentText(job)],
    ['Pace', paceText(job)],
    ['Began', job.begin_time],
    ['Ended', job.end_time],
    ['Image', entities.image_id],
    ['Name', entities.image_name],
    ['Server', entities.server_id],
    ['Disk', entities.volume_id],
    ['Parts', entities.sub_jobs_list?.join(' ')],
    ['Error', job.error_code],
    ['Reason', job.fail_reason],
    ['Watch at', job.temporal_url],
  ];
  output.facts(
    facts.flatMap(([name, value]) => (value === undefined || value === null || value === '' ? [] : [[name, value]])),
  );
}

const STEERING = {
  pause: 'let its steps wait; what it has done stays',
  resume: 'let a paused job go on',
  cancel: 'stop it and undo what it has done',
} as const;

/** The commands about jobs, with their options. */
export function jobsCommand(): Command {
  const jobs = new Command('jobs').description('what the service is doing: list, show, watch, pause, resume, cancel');
  const data = () => new Option('--data <dir>', 'directory of the instance; else the environment says which service');
  const form = () =>
    new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table');
  jobs
    .command('list', { isDefault: true })
    .description('jobs of the project, newest first')
    .addOption(new Option('--status <state>', 'those in this state alone').choices(JOB_FILTERS))
    .option('--limit <count>', 'how many', positive, 20)
    .addOption(data())
    .addOption(form())
    .action(listJobs);
  jobs
    .command('show')
    .description('one job')
    .argument('<job>', 'id of the job')
    .addOption(data())
    .addOption(form())
    .action(showJob);
  jobs
    .command('watch')
    .description('follow a job to its end')
    .argument('<job>', 'id of the job')
    .option('--timeout <seconds>', 'give up watching after this time; the job goes on', positive)
    .addOption(data())
    .addOption(form())
    .action(watch);
  for (const [verb, description] of Object.entries(STEERING))
    jobs
      .command(verb)
      .description(description)
      .argument('<job>', 'id of the job')
      .addOption(data())
      .addOption(form())
      .action(async (id: string, target: Target) => {
        const gateway = await GatewayClient.connect(target);
        const path = `/v1/${gateway.projectId}/jobs/${encodeURIComponent(id)}/${verb}`;
        const accepted = await gateway.json(jobAccepted, 'POST', path);
        output.data(
          target.output === 'json' ? JSON.stringify(accepted) : `${verb} of job ${accepted.job_id} is recorded`,
        );
      });
  return jobs;
}

/** A whole number of at least 1. */
export function positive(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1 to 9999999.');
}
