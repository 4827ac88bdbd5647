import { type ImageAttributes, ImsError } from '@ims/contract';
import { checkDescription } from './image-name';
import { TOO_LARGE } from './image-owner.rules';

const MAX_PROPERTY_NAME = 255;
// Glance's own limit of properties.
const MAX_PROPERTIES = 128;
// All properties of an image are part of one event, of at most 64 KiB together with its frame.
const MAX_PROPERTIES_BYTES = 48 * 1024;

/** Base properties that nobody sets: the service or the bytes say what they are (ims-api 12.5). */
export const READ_ONLY: ReadonlySet<string> = new Set([
  ...['created_at', 'updated_at', 'active_at', 'status', 'checksum', 'size', 'virtual_size', 'direct_url', 'id'],
  ...['self', 'file', 'schema', 'os_hash_algo', 'os_hash_value', 'location', 'locations', 'deleted', 'deleted_at'],
]);

/** Attributes of ims-api 2.2 that state how an image came to be, whose it is, or what follows from other attributes. */
const OWN_ATTRIBUTES: ReadonlySet<string> = new Set([
  ...['virtual_env_type', 'enterprise_project_id', '_sys_enterprise_project_id', '__os_type', '__os_bit', '__platform'],
  ...['__imagetype', '__isregistered', '__image_source_type', '__image_size', '__image_location', '__data_origin'],
  ...['__root_origin', '__originalimagename', '__backup_id', '__whole_image', '__sequence_num'],
  ...['__system__cmkid', '__system__encrypted'],
  ...['__deprecated_at', '__replacement_image_id'],
  ...['__lazyloading', '__productcode', '__account_code', '__is_offshelved', '__system_support_market'],
]);

/** What a caller may set neither on a new image nor later; ENC-03: its key is among it. */
export const isReserved = (name: string): boolean =>
  READ_ONLY.has(name) || OWN_ATTRIBUTES.has(name) || name.startsWith('os_glance');

/** Attributes that are there with `true` or not at all (ims-api 5). */
const MARKS: ReadonlySet<string> = new Set([
  ...['__support_kvm', '__support_xen', '__support_largememory', '__support_diskintensive'],
  ...['__support_highperformance', '__support_xen_hana', '__support_kvm_infiniband'],
  ...['__support_kvm_hi1822_hisriov', '__support_kvm_hi1822_hivirtionet'],
]);
const SWITCHES: ReadonlySet<string> = new Set([
  ...['__support_fc_inject', '__support_amd', '__is_config_init', 'hw_vif_multiqueue_enabled'],
]);
// ims-api 16.3.
const GPU_TYPES: ReadonlyMap<string, readonly string[]> = new Map([
  ['__support_xen_gpu_type', ['M60_vGPU']],
  ['__support_kvm_gpu_type', ['P4', 'M60', 'V100_vGPU', 'P2V_V100', 'P100', 'V100']],
]);
// ims-api 2.2: the time that a server has to stop by itself.
const SHUTDOWN_SECONDS = { min: 60, max: 300 };

/** Attributes of the vendor's API that a caller changes through it (ims-api 5). */
export const isChangeable = (name: string): boolean =>
  MARKS.has(name) ||
  SWITCHES.has(name) ||
  GPU_TYPES.has(name) ||
  ['__description', 'max_ram', 'hw_firmware_type', 'os_shutdown_timeout'].includes(name);

/** What of an image says which servers can be made of it: nothing to a disk that no server boots from. */
export const isAboutServers = (name: string): boolean => isChangeable(name) && name !== '__description';

/** Only for images that ECS boots from (ims-api 2.2). */
export const ECS_ONLY: ReadonlySet<string> = new Set(['os_shutdown_timeout', '__support_fc_inject']);

/** Attributes that rule each other out (ims-api 2.2). */
const EXCLUSIVE: readonly (readonly [string, string])[] = [
  ['__support_xen_gpu_type', '__support_xen'],
  ['__support_xen_gpu_type', '__support_kvm'],
  ['__support_kvm_gpu_type', '__support_xen'],
  ['__support_kvm_gpu_type', '__support_kvm'],
  ['__support_xen_hana', '__support_xen'],
  ['__support_xen_hana', '__support_kvm'],
  ['__support_kvm_infiniband', '__support_xen'],
];

const hasControls = (text: string): boolean => /[\u0000-\u001f\u007f]/.test(text);

/** The name of a property: 1 to 255 characters (ims-api 12.3); fails with IMG.0001. */
export function checkPropertyName(name: string): string {
  if (name === '' || name === '__proto__' || [...name].length > MAX_PROPERTY_NAME || hasControls(name))
    throw new ImsError('IMG.0001', `the name of a property has 1 to ${MAX_PROPERTY_NAME} characters`);
  return name;
}

/**
 * The value of an attribute, as it is kept. What the service knows nothing of is any text.
 *
 * Fails with IMG.0004 and IMG.0054 (description), IMG.0055 (memory), IMG.0141 (firmware), else IMG.0001.
 */
export function checkAttribute(name: string, text: string): string {
  if (name === '__description') return checkDescription(text);
  if (name === 'max_ram') return String(wholeNumberOf(name, text));
  if (name === 'hw_firmware_type') {
    if (text !== 'bios' && text !== 'uefi') throw new ImsError('IMG.0141');
    return text;
  }
  if (name === 'os_shutdown_timeout') {
    const { min, max } = SHUTDOWN_SECONDS;
    const seconds = /^\d{1,3}$/.test(text) ? Number(text) : 0;
    if (seconds < min || seconds > max) throw new ImsError('IMG.0001', `${name} must be ${min} to ${max} seconds`);
    return String(seconds);
  }
  if (MARKS.has(name)) {
    if (text.toLowerCase() !== 'true') throw new ImsError('IMG.0001', `${name} is true, or is not there at all`);
    return 'true';
  }
  if (SWITCHES.has(name)) return String(truthOf(name, text));
  const types = GPU_TYPES.get(name);
  if (types !== undefined && !types.includes(text))
    throw new ImsError('IMG.0001', `${name} must be one of ${types.join(', ')}`);
  return text;
}

const INT32_MAX = 2_147_483_647;

/** A size of memory or disk, given as a number or as its digits (ims-api 5); fails with IMG.0055. */
export function wholeNumberOf(name: string, value: unknown): number {
  const number = typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > INT32_MAX)
    throw new ImsError('IMG.0055', `${name} must be a whole number`);
  return number;
}

/** A boolean, or its name (ims-api 19.1 row 8); fails with IMG.0001. */
export function truthOf(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  const text = typeof value === 'string' ? value.toLowerCase() : '';
  if (text !== 'true' && text !== 'false') throw new ImsError('IMG.0001', `${name} must be true or false`);
  return text === 'true';
}

/** Fails with IMG.0035 for two attributes that rule each other out, of which one is among those that change. */
export function checkExclusive(attributes: Readonly<ImageAttributes>, changed: ReadonlySet<string>): void {
  for (const [one, other] of EXCLUSIVE) {
    if (!changed.has(one) && !changed.has(other)) continue;
    if (Object.hasOwn(attributes, one) && Object.hasOwn(attributes, other))
      throw new ImsError('IMG.0035', `${one} and ${other} rule each other out`);
  }
}

/** How many properties an image may have, and how long they may be altogether; fails with IMG.0001 (413). */
export function checkProperties(properties: Readonly<ImageAttributes>): void {
  const all = Object.entries(properties);
  if (all.length > MAX_PROPERTIES)
    throw new ImsError('IMG.0001', `an image may have ${MAX_PROPERTIES} properties`, TOO_LARGE);
  // A character takes up to three bytes of an event for each of its units.
  const bytes = all.reduce((sum, [name, value]) => sum + 3 * (name.length + String(value).length), 0);
  if (bytes > MAX_PROPERTIES_BYTES) throw new ImsError('IMG.0001', 'the properties are too long', TOO_LARGE);
}
