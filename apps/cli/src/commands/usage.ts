import Table from 'cli-table3';
import { Command, Option } from 'commander';
import { type UsageLineDocument, usageList, type UsageSummary, usageSummary } from '@ims/contract';
import { GatewayClient } from '../gateway-client';
import { output } from '../output';

interface UsageOptions {
  data?: string;
  from?: string;
  to?: string;
  image?: string;
  meter?: string;
  lines: boolean;
  output: 'table' | 'json';
}

// The largest page that the service gives.
const PAGE = 1000;

/** `ims usage`: what the project used and what it costs; with `--lines` hour by hour, each with its reason. */
export async function usage({ from, to, image, meter, lines, ...target }: UsageOptions): Promise<void> {
  const gateway = await GatewayClient.connect(target);
  const query = { from, to, image_id: image, meter };
  const path = `/v1/${gateway.projectId}/usage`;
  const summary = await gateway.json(usageSummary, 'GET', `${path}/summary`, { query });
  const found = lines ? await everyLine(gateway, path, query) : undefined;
  if (target.output === 'json') {
    output.data(JSON.stringify({ ...summary, ...(found === undefined ? {} : { usage: found }) }, null, 2));
    return;
  }
  for (const line of found ?? []) output.data(`${line.begin_time}  ${line.explanation}`);
  output.progress(`from ${summary.from} to ${summary.to}`);
  output.data(sums(summary));
}

async function everyLine(
  gateway: GatewayClient,
  path: string,
  query: Record<string, string | undefined>,
): Promise<UsageLineDocument[]> {
  const found: UsageLineDocument[] = [];
  let marker: string | undefined;
  do {
    const page = await gateway.json(usageList, 'GET', path, { query: { ...query, limit: PAGE, marker } });
    found.push(...page.usage);
    marker = page.next_marker;
  } while (marker !== undefined);
  return found;
}

function sums({ meters, total, currency, is_complete }: UsageSummary): string {
  const amountOf = (amount: string | null): string => (amount === null ? 'no price' : `${amount} ${currency ?? ''}`);
  const table = new Table({ head: ['meter', 'product', 'quantity', 'amount'], style: { head: [], border: [] } });
  for (const { meter, product_code, quantity, unit, amount } of meters)
    table.push([meter, product_code ?? '', `${quantity} ${unit}`, amountOf(amount)]);
  if (total !== null) table.push(['total', '', '', `${total} ${currency ?? ''}${is_complete ? '' : ', not complete'}`]);
  return table.toString();
}

/** The command with its options. */
export const usageCommand = (): Command =>
  new Command('usage')
    .description('what the project used, what it costs, and why')
    .addOption(new Option('--data <dir>', 'directory of the instance; else the environment says which service'))
    .option('--from <time>', 'a day or a whole hour (UTC); the begin of this month when left out')
    .option('--to <time>', 'the same; now when left out')
    .option('--image <id>', 'of this image alone')
    .option('--meter <name>', 'of this meter alone')
    .option('--lines', 'every line with its reason', false)
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table'))
    .action(usage);
