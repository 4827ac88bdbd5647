import { Command, InvalidArgumentError, Option } from 'commander';
import Table from 'cli-table3';
import {
  type ImageLineageAnswer,
  imageLineageAnswer,
  legalHold,
  type LineageNode,
  recycleBin,
  revocation,
} from '@ims/contract';
import { GatewayClient } from '../gateway-client';
import { sizeText } from '../jobs/job-lines';
import { output } from '../output';

interface Target {
  data?: string;
  output?: 'table' | 'json';
}

const connect = ({ data }: Target): Promise<GatewayClient> => GatewayClient.connect(data === undefined ? {} : { data });
const of = (id: string, what: string): string => `/v1/cloudimages/${encodeURIComponent(id)}/${what}`;
/** @throws InvalidArgumentError unless the text is a number of days or `default` */
function days(text: string): number | 'default' {
  if (text === 'default') return text;
  if (/^\d{1,3}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a number of days, or "default".');
}

const BIN = '/v1/cloudimages/recycle-bin';

async function showBin({ keep, ...target }: Target & { keep?: number | 'default' }): Promise<void> {
  const gateway = await connect(target);
  if (keep !== undefined)
    await gateway.call('PUT', BIN, { body: { retention_days: keep === 'default' ? null : keep } });
  let bin = await gateway.json(recycleBin, 'GET', BIN);
  const images = [...bin.images];
  while (bin.next_marker !== undefined) {
    bin = await gateway.json(recycleBin, 'GET', BIN, { query: { marker: bin.next_marker } });
    images.push(...bin.images);
  }
  const { retention_days: retention, is_own_choice: isOwn } = bin;
  if (target.output === 'json') {
    output.data(JSON.stringify({ retention_days: retention, is_own_choice: isOwn, images }, null, 2));
    return;
  }
  const table = new Table({ head: ['image', 'name', 'keeps', 'deleted', 'purged'], style: { head: [], border: [] } });
  for (const { id, name, stored_bytes: bytes, deleted_at: at, purge_after: until, legal_hold: hold } of images)
    table.push([id, name, sizeText(bytes), at, hold === undefined ? until : `not before its hold ends: ${hold}`]);
  output.data(table.toString());
  const who = isOwn ? 'the project has chosen' : 'the installation says';
  output.progress(
    retention === 0 ? `deleted images are gone at once (${who})` : `deleted images stay for ${retention} days (${who})`,
  );
}

async function change(method: 'POST' | 'PUT' | 'DELETE', path: string, target: Target, body?: object): Promise<void> {
  const gateway = await connect(target);
  await gateway.call(method, path, body === undefined ? {} : { body });
}

async function hold(id: string, { reason, ...target }: Target & { reason: string }): Promise<void> {
  const gateway = await connect(target);
  const held = await gateway.json(legalHold, 'PUT', of(id, 'legal-hold'), { body: { reason } });
  output.progress(`${held.image_id} is held since ${held.held_at} by ${held.held_by}: ${held.reason}`);
}

async function revoke(id: string, { reason, ...target }: Target & { reason: string }): Promise<void> {
  const gateway = await connect(target);
  const revoked = await gateway.json(revocation, 'PUT', of(id, 'revocation'), { body: { reason } });
  output.progress(`${revoked.image_id} and what comes from it makes no servers any more: ${revoked.reason}`);
}

async function lineage(id: string, target: Target): Promise<void> {
  const gateway = await connect(target);
  const answer = await gateway.json(imageLineageAnswer, 'GET', of(id, 'lineage'));
  output.data(target.output === 'json' ? JSON.stringify(answer, null, 2) : linesOf(answer).join('\n'));
  if (answer.truncated) output.progress('there is more than is shown');
}

/** The line as a tree: what the image was made from above it, what was made of it below, indented by generation. */
export function linesOf({ image, ancestors, descendants, replicas, servers }: ImageLineageAnswer): string[] {
  const lines: string[] = [];
  const say = (depth: number, text: string): number => lines.push(`${'  '.repeat(depth)}${text}`);
  const above = [...ancestors].reverse();
  above.forEach((node, depth) => say(depth, textOf(node)));
  const children = Map.groupBy(descendants, ({ parent_ref: parent }) => parent);
  const tell = (node: LineageNode, depth: number): void => {
    say(depth, node === image ? `${textOf(node)}  <` : textOf(node));
    for (const { region, image_id: id } of replicas.filter(({ source_ref: ref }) => ref === node.ref))
      say(depth + 1, `copy in ${region}: ${id}`);
    for (const server of servers.filter(({ image_ref: ref }) => ref === node.ref))
      say(depth + 1, `server ${server.id} ${server.name}`);
    for (const child of children.get(node.ref) ?? []) tell(child, depth + 1);
  };
  tell(image, above.length);
  return lines;
}

function textOf({ id, name, status, revoked, origin }: LineageNode): string {
  const known = id === null ? 'an image of somebody else' : `${id} ${name ?? ''} (${status ?? ''})`;
  const from = origin === null || origin.kind === 'image' ? '' : ` from ${origin.kind} ${origin.reference}`;
  return `${known}${from}${revoked === null ? '' : `, revoked: ${revoked.reason}`}`;
}

const withTarget = (command: Command): Command =>
  command.addOption(new Option('--data <dir>', 'directory of the instance; else the environment says which service'));
const onImage = (name: string, description: string): Command =>
  withTarget(new Command(name).description(description)).argument('<image>', 'id of the image');
const format = (): Option =>
  new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table');

/** The commands by which owners decide what becomes of their images, each beside its way back. */
export function imageStateCommands(): Command[] {
  return [
    withTarget(new Command('bin').description('deleted images that can be restored, and for how long they stay'))
      .option('--keep <days>', 'for how long from now on: 0 for not at all, or "default"', days)
      .addOption(format())
      .action(showBin),
    onImage('restore', 'take an image out of the recycle bin').action((id: string, target: Target) =>
      change('POST', of(id, 'restore'), target),
    ),
    onImage('purge', 'remove an image from the recycle bin for good').action((id: string, target: Target) =>
      change('DELETE', `${BIN}/${encodeURIComponent(id)}`, target),
    ),
    onImage('hold', 'let nothing delete an image').requiredOption('--reason <text>', 'why').action(hold),
    onImage('release', 'release a hold')
      .option('--reason <text>', 'why')
      .action((id: string, { reason, ...target }: Target & { reason?: string }) =>
        change('DELETE', of(id, 'legal-hold'), target, { reason: reason ?? null }),
      ),
    onImage('deactivate', 'take an image out of use').action((id: string, target: Target) =>
      change('POST', `/v2/images/${encodeURIComponent(id)}/actions/deactivate`, target),
    ),
    onImage('reactivate', 'put it back into use').action((id: string, target: Target) =>
      change('POST', `/v2/images/${encodeURIComponent(id)}/actions/reactivate`, target),
    ),
    onImage('deprecate', 'tell users of an image to use another one')
      .option('--from <time>', 'from when on (RFC 3339); now when left out')
      .option('--use <image>', 'the one to use instead')
      .action((id: string, { from, use, ...target }: Target & { from?: string; use?: string }) =>
        change('PUT', of(id, 'deprecation'), target, {
          deprecated_at: from ?? null,
          replacement_image_id: use ?? null,
        }),
      ),
    onImage('undeprecate', 'take a deprecation back').action((id: string, target: Target) =>
      change('DELETE', of(id, 'deprecation'), target),
    ),
    onImage('revoke', 'let nothing be made of an image and of what comes from it')
      .requiredOption('--reason <text>', 'why')
      .action(revoke),
    onImage('reinstate', 'take a revocation back')
      .option('--reason <text>', 'why')
      .action((id: string, { reason, ...target }: Target & { reason?: string }) =>
        change('DELETE', of(id, 'revocation'), target, { reason: reason ?? null }),
      ),
    onImage('lineage', 'what an image was made from, and what was made of it').addOption(format()).action(lineage),
  ];
}
