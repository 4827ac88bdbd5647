import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { Command, Option } from 'commander';
import Table from 'cli-table3';
import { type CloudImage, cloudImageList } from '@ims/contract';
import { CliError } from '../cli-error';
import { GatewayClient } from '../gateway-client';
import { output } from '../output';
import { positive } from './jobs';

interface ListOptions {
  data?: string;
  output: 'table' | 'json';
  public: boolean;
  name?: string;
  status?: string;
  tag: string[];
  osType?: string;
  platform?: string;
  flavor?: string;
  enterpriseProject?: string;
  hidden: boolean;
  limit: number;
  csv: boolean;
  directory?: string;
}

// The largest page that the service gives.
const PAGE = 1000;

/** The filters that the options mean (ims-api 4.1). */
export function queryOf(options: Omit<ListOptions, 'data' | 'output' | 'limit' | 'csv'>): URLSearchParams {
  const query = new URLSearchParams();
  const wanted = {
    ...(options.public ? { __imagetype: 'gold', visibility: 'public' } : {}),
    name: options.name,
    status: options.status,
    __os_type: options.osType,
    __platform: options.platform,
    flavor_id: options.flavor,
    enterprise_project_id: options.enterpriseProject,
    os_hidden: options.hidden ? 'true' : undefined,
  };
  for (const [name, value] of Object.entries(wanted)) if (value !== undefined) query.set(name, value);
  for (const tag of options.tag) query.append('tag', tag);
  return query;
}

/** `ims images list`: newest first; with `--csv` the whole list as a file. */
export async function listImages(options: ListOptions): Promise<void> {
  const gateway = await GatewayClient.connect(options.data === undefined ? {} : { data: options.data });
  const query = queryOf(options);
  if (options.csv) return saveCsv(gateway, query, options.directory);
  const images: CloudImage[] = [];
  for (;;) {
    const size = Math.min(PAGE, options.limit - images.length);
    const page = new URLSearchParams(query);
    page.set('limit', String(size));
    const last = images.at(-1);
    if (last !== undefined) page.set('marker', last.id);
    const answer = await gateway.json(cloudImageList, 'GET', `/v2/cloudimages?${page.toString()}`);
    images.push(...answer.images);
    if (answer.images.length < size || images.length >= options.limit) break;
  }
  if (options.output === 'json') {
    output.data(JSON.stringify(images, null, 2));
    return;
  }
  const table = new Table({
    head: ['image', 'name', 'status', 'system', 'disk', 'created', 'tags'],
    style: { head: [], border: [] },
  });
  for (const image of images)
    table.push([
      image.id,
      image.name,
      image.status,
      systemOf(image),
      `${image.min_disk} GB`,
      image.created_at,
      image.tags.join(' '),
    ]);
  output.data(table.toString());
}

/** The system, and that its support has ended or goes on as extended alone, with the date as the plan has it (OS-01). */
export function systemOf(image: CloudImage): string {
  const system = String(image['__os_version'] ?? image.__os_type);
  const { __os_support: support, __os_eos: end = '', __os_eos_extended: extendedEnd } = image;
  switch (support) {
    case 'ended':
      return `${system} (support ended ${extendedEnd ?? end})`;
    case 'extended':
      return `${system} (extended support until ${extendedEnd ?? end})`;
    case 'full':
    case 'unknown':
    case undefined:
      return system;
    default:
      return support satisfies never;
  }
}

/** As it comes, however long it is: to standard output, or under the service's name for it in the directory. */
async function saveCsv(gateway: GatewayClient, query: URLSearchParams, directory: string | undefined): Promise<void> {
  const answer = await gateway.call('GET', `/v2/cloudimages/csv?${query.toString()}`);
  if (answer.body === null) throw new CliError('list images: the answer has no file', 'Try again.');
  // The same stream under two names: that of the platform, and that of Node's types.
  const file = Readable.fromWeb(answer.body as ReadableStream<Uint8Array>);
  if (directory === undefined) return pipeline(file, process.stdout, { end: false });
  const [, name] = /filename="([\w.-]+)"/.exec(answer.headers.get('content-disposition') ?? '') ?? [];
  if (name === undefined) throw new CliError('list images: the file has no name', 'Leave --directory out.');
  await pipeline(file, createWriteStream(join(directory, name), { flags: 'wx' }));
  output.data(join(directory, name));
}

const collected = (text: string, earlier: readonly string[]): string[] => [...earlier, text];

export const imageListCommand = (): Command =>
  new Command('list')
    .description('images, newest first')
    .option('--public', 'public images; those that can be seen when left out', false)
    .option('--name <name>', 'of this name')
    .option('--status <status>', 'in this state')
    .option('--tag <key=value>', 'with this tag, or a tag of this key; may be repeated', collected, [])
    .option('--os-type <type>', 'Linux, Windows or Other')
    .option('--platform <name>', 'of this family of systems')
    .option('--flavor <name>', 'public images usable with this flavour, such as s6.large.2')
    .option('--enterprise-project <id>', 'in this enterprise project')
    .option('--hidden', 'hidden images alone', false)
    .option('-n, --limit <count>', 'how many', positive, 100)
    .option('--csv', 'the whole list as a CSV file, on standard output', false)
    .option('--directory <dir>', 'where the CSV file goes, under the name that the service gives it')
    .addOption(new Option('--data <dir>', 'directory of the instance; else the environment says which service'))
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table'))
    .action(listImages);
