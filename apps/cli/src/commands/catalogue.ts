import { readFile } from 'node:fs/promises';
import Table from 'cli-table3';
import { Command, Option } from 'commander';
import { catalogueList, catalogueLoaded, type CatalogueVerification, catalogueVerification } from '@ims/contract';
import { parse } from 'yaml';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { GatewayClient } from '../gateway-client';
import { output } from '../output';

interface CatalogueOptions {
  data?: string;
  output: 'table' | 'json';
}

async function list(options: CatalogueOptions): Promise<void> {
  const gateway = await GatewayClient.connect(options);
  const { entries } = await gateway.json(catalogueList, 'GET', '/v1/catalogue');
  if (options.output === 'json') {
    output.data(JSON.stringify(entries, null, 2));
    return;
  }
  const table = new Table({
    head: ['key', 'version', 'name', 'state', 'image', 'source'],
    style: { head: [], border: [] },
  });
  for (const { key, version, name, image_id, source, homepage, ...entry } of entries)
    table.push([key, version, name, stateOf(entry), image_id, source ?? `no bytes; see ${homepage ?? 'its vendor'}`]);
  output.data(table.toString());
}

const stateOf = ({
  status,
  sha256,
  is_listed,
}: {
  status: string;
  sha256: string | null;
  is_listed: boolean;
}): string =>
  !is_listed ? 'offered no more' : sha256 === null ? 'metadata alone' : status === 'active' ? 'usable' : 'on its way';

async function load(file: string, options: CatalogueOptions): Promise<void> {
  const body = await documentIn(file);
  const gateway = await GatewayClient.connect({ ...options, asOperator: true });
  const { entries } = await gateway.json(catalogueLoaded, 'PUT', '/v1/catalogue', { body });
  if (options.output === 'json') {
    output.data(JSON.stringify(entries, null, 2));
    return;
  }
  for (const { key, version, change, image_id, job_id } of entries)
    output.data([key, version, change, image_id, job_id ?? ''].join('  ').trimEnd());
  const jobs = entries.filter(({ job_id }) => job_id !== undefined).length;
  output.progress(`${entries.length} entries; ${jobs} images are on their way`);
}

async function documentIn(file: string): Promise<unknown> {
  try {
    return parse(await readFile(file, 'utf8'), { maxAliasCount: 100 }) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliError(
      `load ${file}: ${reason}`,
      'See infra/catalogue.example.yaml for the form of a catalogue.',
      EXIT.usage,
    );
  }
}

async function verify(keys: string[], options: CatalogueOptions): Promise<void> {
  const gateway = await GatewayClient.connect({ ...options, asOperator: true });
  const { entries } = await gateway.json(catalogueList, 'GET', '/v1/catalogue');
  const unknown = keys.find((key) => !entries.some((entry) => entry.key === key));
  if (unknown !== undefined)
    throw new CliError(`verify: the catalogue has no ${unknown}`, 'See "ims catalogue list".', EXIT.notFound);
  const wanted = entries.filter(({ key, sha256, status }) =>
    keys.length === 0 ? sha256 !== null && status === 'active' : keys.includes(key),
  );
  const found: CatalogueVerification[] = [];
  for (const { image_id: id, key } of wanted) {
    const one = await gateway.json(
      catalogueVerification,
      'GET',
      `/v1/catalogue/${encodeURIComponent(id)}/verification`,
    );
    found.push(one);
    if (options.output === 'table')
      output.data(
        one.is_genuine
          ? `${key}  ${one.version}  genuine  ${one.found_sha256}`
          : `${key}  ${one.version}  CHANGED  is ${one.found_sha256}, must be ${one.expected_sha256}`,
      );
  }
  if (options.output === 'json') output.data(JSON.stringify(found, null, 2));
  const changed = found.filter(({ is_genuine }) => !is_genuine).map(({ key }) => key);
  if (changed.length > 0)
    throw new CliError(
      `not what the catalogue says: ${changed.join(', ')}`,
      'Load the catalogue with another version of it, and look into how the store was changed.',
      EXIT.verifyFailed,
    );
  output.progress(found.length === 0 ? 'no image of the catalogue has bytes' : `${found.length} images are genuine`);
}

/** The commands about the catalogue of public images. */
export function catalogueCommand(): Command {
  const catalogue = new Command('catalogue').description('the public images, their sources and digests');
  catalogue.addCommand(named('list', 'what is offered, where it came from, and what it must be').action(list));
  catalogue.addCommand(
    named('load', 'make the public images what a file says')
      .argument('<file>', 'the catalogue, YAML or JSON')
      .action(load),
  );
  catalogue.addCommand(
    named('verify', 'read what is stored and compare it with the catalogue')
      .argument('[keys...]', 'which entries; all that have bytes when left out')
      .action(verify),
  );
  return catalogue;
}

const named = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .addOption(new Option('--data <dir>', 'directory of the instance; else the environment says which service'))
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table'));
