import { Command, InvalidArgumentError, Option } from 'commander';
import { type TrailEvent, type TrailEventsAnswer, trailEventsAnswer, trailStateAnswer } from '@ims/contract';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { GatewayClient } from '../gateway-client';
import { output } from '../output';

type Format = 'table' | 'json';

interface Target {
  data?: string;
  output: Format;
}

interface ReplayOptions extends Target {
  job?: string;
  image?: string;
  quota?: string;
  at?: string;
  index?: number;
}

// The largest page that the service gives (cts-api 8.5).
const PAGE = 1000;

/** `ims audit show JOB`: everything that is recorded about a job, in the order in which it happened. */
export async function showTrail(job: string, options: Target): Promise<void> {
  const gateway = await GatewayClient.connect(options);
  const events: TrailEvent[] = [];
  let from: number | null = 0;
  while (from !== null) {
    const page: TrailEventsAnswer = await gateway.json(trailEventsAnswer, 'GET', `/v1/${gateway.projectId}/events`, {
      query: { job_id: job, from_index: from, limit: PAGE },
    });
    events.push(...page.events);
    from = page.next_index;
  }
  if (events.length === 0)
    throw new CliError(`nothing is recorded about job ${job}`, 'Is it a job of this project?', EXIT.notFound);
  if (options.output === 'json') output.data(JSON.stringify(events, null, 2));
  else
    table(
      ['INDEX', 'TIME', 'EVENT', 'STEP', 'ACTOR', 'BYTES'],
      events.map((event) => [
        String(event.log_index),
        event.occurred_at,
        event.type,
        event.step ?? textIn(event.data, 'step') ?? '',
        textIn(event.actor, 'userName') ?? textIn(event.actor, 'kind') ?? '',
        bytesOf(event.data)?.toLocaleString('en') ?? '',
      ]),
    );
}

/** `ims audit replay`: a job, an image or a quota as it was at a moment, made of its events alone. */
export async function replay({ job, image, quota, at, index, ...target }: ReplayOptions): Promise<void> {
  const gateway = await GatewayClient.connect(target);
  const query = { job_id: job, image_id: image, quota, at_time: at, at_index: index };
  const answer = await gateway.json(trailStateAnswer, 'GET', `/v1/${gateway.projectId}/events/state`, { query });
  if (target.output === 'json') {
    output.data(JSON.stringify(answer, null, 2));
    return;
  }
  output.progress(`as of event ${answer.at_index}, made of ${answer.events_applied} events`);
  output.facts(
    Object.entries(answer.state).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );
}

/** The commands about the audit trail, with their options. */
export function auditCommand(): Command {
  const audit = new Command('audit').description('what happened, as it is recorded');
  const data = () => new Option('--data <dir>', 'directory of the instance; else the environment says which service');
  const form = () =>
    new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table');
  audit
    .command('show')
    .description('everything that is recorded about a job')
    .argument('<job>', 'id of the job')
    .addOption(data())
    .addOption(form())
    .action(showTrail);
  audit
    .command('replay')
    .description('a job, an image or a quota as it was')
    .addOption(new Option('--job <id>', 'the job').conflicts(['image', 'quota']))
    .addOption(new Option('--image <id>', 'the image').conflicts(['job', 'quota']))
    .addOption(new Option('--quota <name>', 'the quota of the project').choices(['image', 'create_task']))
    .addOption(new Option('--at <time>', 'at this time (RFC 3339)').conflicts('index'))
    .addOption(new Option('--index <number>', 'at this event').argParser(wholeNumber))
    .addOption(data())
    .addOption(form())
    .action(async (options: ReplayOptions, command: Command) => {
      if (options.job === undefined && options.image === undefined && options.quota === undefined)
        command.error('error: name one of --job, --image and --quota');
      await replay(options);
    });
  return audit;
}

function wholeNumber(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number.');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  // Numbers of bytes are compared by eye: they end at the same place.
  const last = head.length - 1;
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === last ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd();
  for (const row of [head, ...rows]) output.data(line(row));
}

const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? { ...value } : {};

function textIn(value: unknown, name: string): string | undefined {
  const found = fieldsOf(value)[name];
  return typeof found === 'string' ? found : undefined;
}

/** The bytes that an event is about: what a step has stored, what an image takes, what is charged. */
function bytesOf(data: unknown): number | undefined {
  const fields = { ...fieldsOf(data), ...fieldsOf(fieldsOf(data)['output']) };
  return ['storedBytes', 'quantityBytes', 'sizeBytes', 'bytesStored', 'virtualSizeBytes']
    .map((name) => fields[name])
    .find((value) => typeof value === 'number');
}
