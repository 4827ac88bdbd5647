import { Command, InvalidArgumentError, Option } from 'commander';
import { cloudImage, type ImagePatchOperation, type ImageTag } from '@ims/contract';
import { GatewayClient } from '../gateway-client';
import { output } from '../output';

interface Target {
  data?: string;
  output: 'table' | 'json';
}

export interface UpdateOptions {
  name?: string;
  description?: string;
  minRam?: string;
  maxRam?: string;
  minDisk?: string;
  multiQueue?: 'on' | 'off';
  srIov?: 'on' | 'off';
  protect?: 'on' | 'off';
  hide?: 'on' | 'off';
  enterpriseProject?: string;
  set: readonly string[];
  unset: readonly string[];
}

const add = (path: string, value: string): ImagePatchOperation => ({ op: 'add', path: `/${path}`, value });
const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1');

/** The patch that the options mean (ims-api 5): `add` sets whether or not there was something. */
export function patchOf(options: UpdateOptions): ImagePatchOperation[] {
  const { multiQueue, srIov, protect, hide } = options;
  const truth = (value: 'on' | 'off' | undefined) => (value === undefined ? undefined : String(value === 'on'));
  const wanted: [path: string, value: string | undefined][] = [
    ['name', options.name],
    ['__description', options.description],
    ['min_ram', options.minRam],
    ['max_ram', options.maxRam],
    ['min_disk', options.minDisk],
    ['hw_vif_multiqueue_enabled', truth(multiQueue)],
    ['protected', truth(protect)],
    ['os_hidden', truth(hide)],
    ['enterprise_project_id', options.enterpriseProject],
    ['__support_kvm_hi1822_hisriov', srIov === 'on' ? 'true' : undefined],
  ];
  return [
    ...wanted.flatMap(([path, value]) => (value === undefined ? [] : [add(path, value)])),
    // There or not there: it cannot be off.
    ...(srIov === 'off' ? [{ op: 'remove' as const, path: '/__support_kvm_hi1822_hisriov', value: '' }] : []),
    ...options.set.map((pair) => add(escaped(keyIn(pair)), pair.slice(keyIn(pair).length + 1))),
    ...options.unset.map((name) => ({ op: 'remove' as const, path: `/${escaped(name)}`, value: '' })),
  ];
}

const keyIn = (pair: string): string => pair.split('=')[0] ?? '';

/** `key=value`, or a key alone. */
export function tagIn(text: string): ImageTag {
  const key = keyIn(text);
  return { key, value: text.slice(key.length + 1) };
}

/** @throws InvalidArgumentError unless the text is `key=value` */
export function pair(text: string, earlier: readonly string[] = []): string[] {
  if (!/^[^=]+=/.test(text)) throw new InvalidArgumentError('It must be key=value.');
  return [...earlier, text];
}

const collected = (text: string, earlier: readonly string[] = []): string[] => [...earlier, text];

async function update(id: string, { data, output: form, ...options }: UpdateOptions & Target): Promise<void> {
  const gateway = await GatewayClient.connect(data === undefined ? {} : { data });
  const body = patchOf(options);
  const image = await gateway.json(cloudImage, 'PATCH', `/v2/cloudimages/${encodeURIComponent(id)}`, { body });
  if (form === 'json') output.data(JSON.stringify(image, null, 2));
  else output.progress(`${image.name} (${image.id}) is as you want it`);
}

/** Sets or removes all of the tags, or none. */
async function changeTags(id: string, action: 'create' | 'delete', tags: ImageTag[], data?: string): Promise<void> {
  const gateway = await GatewayClient.connect(data === undefined ? {} : { data });
  const path = `/v2/${gateway.projectId}/images/${encodeURIComponent(id)}/tags/action`;
  await gateway.call('POST', path, { body: { action, tags } });
}

const withTarget = (command: Command): Command =>
  command.addOption(new Option('--data <dir>', 'directory of the instance; else the environment says which service'));
const onOff = (flags: string, description: string): Option => new Option(flags, description).choices(['on', 'off']);

/** The commands by which owners change their images. */
export function imageChangeCommands(): Command[] {
  return [
    withTarget(new Command('update').description('change what an image says of itself'))
      .argument('<image>', 'id of the image')
      .option('--name <name>', 'its name')
      .option('--description <text>', 'shown with the image')
      .option('--min-ram <mb>', 'memory that a server of it needs')
      .option('--max-ram <mb>', 'memory that a server of it can have; 0 for no limit')
      .option('--min-disk <gb>', 'disk that a server of it needs')
      .addOption(onOff('--multi-queue <on|off>', 'several queues for each network interface'))
      .addOption(onOff('--sr-iov <on|off>', 'driver for network interfaces by SR-IOV'))
      .addOption(onOff('--protect <on|off>', 'it cannot be deleted'))
      .addOption(onOff('--hide <on|off>', 'lists leave it out'))
      .option('--enterprise-project <id>', 'enterprise project that it moves to')
      .option('--set <key=value>', 'any attribute; may be repeated', pair, [])
      .option('--unset <key>', 'attribute that goes; may be repeated', collected, [])
      .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table'))
      .action(update),
    withTarget(new Command('tag').description('set tags of an image'))
      .argument('<image>', 'id of the image')
      .argument('<tags...>', 'key=value, or a key alone')
      .action((id: string, tags: string[], { data }: Partial<Target>) =>
        changeTags(id, 'create', tags.map(tagIn), data),
      ),
    withTarget(new Command('untag').description('remove tags of an image'))
      .argument('<image>', 'id of the image')
      .argument('<keys...>', 'keys of the tags')
      .action((id: string, keys: string[], { data }: Partial<Target>) =>
        changeTags(
          id,
          'delete',
          keys.map((key) => ({ key, value: '' })),
          data,
        ),
      ),
  ];
}
