import {
  type ImageAttributes,
  type ImageFields,
  type ImageId,
  type ImagePatchOperation,
  imageStream,
  ImsError,
  isRecordable,
  type ProjectId,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { findAnyOsVersion, MAX_RAM_OF_32_BIT_MIB } from '../os/os-version';
import {
  checkAttribute,
  checkExclusive,
  checkProperties,
  checkPropertyName,
  ECS_ONLY,
  isAboutServers,
  isChangeable,
  isReserved,
  truthOf,
  wholeNumberOf,
} from './image-attribute.rules';
import { checkEnterpriseProject, checkMinDisk, decideFirmware } from './image-create.rules';
import { checkGlanceName, checkImageName } from './image-name';
import {
  BAD_REQUEST,
  checkOwner,
  CONFLICT,
  type Dialect,
  FORBIDDEN,
  type OwnedImage,
  TOO_LARGE,
} from './image-owner.rules';
import { DEFAULT_MAX_TAGS, decideWords } from './image-tags';

export interface UpdatableImage extends OwnedImage {
  id: ImageId;
  name: string;
  diskFormat: string;
  minDiskGib: number;
  minRamMib: number;
  protected: boolean;
  hidden: boolean;
  tags: readonly string[];
  /** What is stored; an attribute that only shows its default is none of them. */
  attributes: Readonly<ImageAttributes>;
  /** Of its disk, once its bytes are there. */
  virtualSizeBytes: number | null;
}

export interface UpdateImageCommand {
  /** Project of the caller. */
  projectId: ProjectId;
  dialect: Dialect;
  operations: readonly ImagePatchOperation[];
  /** What an image shows where an attribute is unset: to OpenStack clients that is a property which is there. */
  shownDefaults: Readonly<Record<string, string>>;
  /** The call that asks for it. */
  requestId: string;
  maxTags?: number;
}

const GIB = 1024 ** 3;
const ENTERPRISE_PROJECT = 'enterprise_project_id';
/** Properties that every image has: they cannot be taken away (ims-api 12.5). */
const BASE = ['name', 'min_disk', 'min_ram', 'protected', 'os_hidden', 'tags'] as const;
type Base = (typeof BASE)[number];
const baseOf = (name: string): Base | undefined => BASE.find((known) => known === name);
/** Base properties that keep the value they have. */
const FIXED = ['visibility', 'owner', 'container_format', 'disk_format'] as const;
type Fixed = (typeof FIXED)[number];
/** What follows from the system that an image was made with, or says which machines it is for: said once, when it is made (ims-api 12.5). */
const SAID_ONCE = new Set(['__os_version', '__support_arm']);

const FIELDS = ['name', 'minDiskGib', 'minRamMib', 'protected', 'hidden'] as const;

/** The image as the operations leave it, one after the other. */
interface Draft {
  name: string;
  minDiskGib: number;
  minRamMib: number;
  protected: boolean;
  hidden: boolean;
  tags: string[];
  attributes: Map<string, ImageAttributes[string]>;
}

/** Whether a patch means to move the image to another enterprise project, which needs a right of its own (ims-api 5). */
export const movesEnterpriseProject = (operations: readonly ImagePatchOperation[]): boolean =>
  operations.some(({ path }) => path === `/${ENTERPRISE_PROJECT}`);

/**
 * Decides on changing what an image says of itself, in either dialect (MGT-01; ims-api 5, 12.5): all operations in their order, or none. One
 * `image.updated` tells what differs; nothing happens when nothing does.
 *
 * Fails as `checkOwner`; IMG.0046 for an image without its bytes (extension); IMG.0001 for what is no operation; IMG.0035 for an attribute that is
 * not set (409 to OpenStack clients) or that rules another one out; IMG.0105 for what cannot be changed, its key among it (ENC-03; 403 to them);
 * IMG.0168 for what a data disk has not. Values: IMG.0002, IMG.0003, IMG.0013 or IMG.0062 (name), IMG.0004, IMG.0054 (description), IMG.0055
 * (memory, disk), IMG.0141 (firmware), IMG.0155 (enterprise project), IMG.0115, IMG.0116 (tags).
 */
export function decideUpdateImage(image: UpdatableImage | undefined, command: UpdateImageCommand): DomainEvent[] {
  const { dialect } = command;
  const owned = checkOwner(image, command.projectId, dialect);
  if (dialect === 'extension' && owned.status !== 'active' && owned.status !== 'deactivated')
    throw new ImsError('IMG.0046', `it is ${owned.status}, not active`);
  const patch = new Patch(owned, command);
  for (const operation of command.operations) patch.apply(operation);
  const { before, after } = patch.end();
  if (Object.keys(after).length === 0) return [];
  const data = { name: after.name ?? owned.name, before, after };
  // Both states are in one event.
  if (!isRecordable(data)) throw new ImsError('IMG.0001', 'too much to change at once', TOO_LARGE);
  return [{ type: 'image.updated', stream: imageStream(owned.id), key: `updated:${command.requestId}`, data }];
}

class Patch {
  readonly #draft: Draft;

  constructor(
    private readonly image: UpdatableImage,
    private readonly command: UpdateImageCommand,
  ) {
    const { name, minDiskGib, minRamMib, hidden, tags, attributes } = image;
    const set = Object.entries(attributes).filter(([, value]) => value !== null);
    this.#draft = {
      ...{ name, minDiskGib, minRamMib, hidden, protected: image.protected },
      tags: [...tags],
      attributes: new Map(set),
    };
  }

  apply({ op, path, from, value }: ImagePatchOperation): void {
    const target = pathOf(path);
    if (op === 'move') {
      if (from === undefined) throw malformed('a moved value comes from somewhere');
      const source = pathOf(from);
      const moved = this.#valueAt(source);
      this.#remove(source);
      this.#set(target, moved, 'add');
      return;
    }
    if (op === 'remove') return this.#remove(target);
    if (value === undefined || value === null) throw malformed(`${op} needs a value`);
    this.#set(target, value, op);
  }

  /** What differs, once the image as it has become is found to be possible. */
  end(): { before: ImageFields; after: ImageFields } {
    const { image } = this;
    const draft = this.#draft;
    const before: ImageFields = {};
    const after: ImageFields = {};
    if (this.#changedAttributes().has('max_ram') || image.minRamMib !== draft.minRamMib) this.#checkMemory();
    if (image.minDiskGib !== draft.minDiskGib) this.#checkDisk();
    for (const field of FIELDS) {
      if (image[field] === draft[field]) continue;
      Object.assign(before, { [field]: image[field] });
      Object.assign(after, { [field]: draft[field] });
    }
    if (!isSame(image.tags, draft.tags)) {
      before.tags = [...image.tags];
      after.tags = decideWords(draft.tags, this.command.maxTags ?? DEFAULT_MAX_TAGS, image.tags.length);
    }
    const changed = this.#changedAttributes();
    if (changed.size > 0) {
      this.#checkAttributes(changed);
      before.attributes = pick(new Map(Object.entries(image.attributes)), changed);
      after.attributes = pick(draft.attributes, changed);
    }
    return { before, after };
  }

  #set([name, place]: Target, value: unknown, op: 'add' | 'replace'): void {
    if (place !== undefined) return this.#setTag(place, value, op);
    const base = baseOf(name);
    if (base !== undefined) return this.#setBase(base, value);
    const fixed = FIXED.find((known) => known === name);
    if (fixed !== undefined) return this.#keep(fixed, value);
    this.#checkCanChange(name);
    if (op === 'replace' && !this.#isThere(name)) throw this.#notSet(name);
    this.#draft.attributes.set(name, this.#attribute(name, value));
  }

  #remove([name, place]: Target): void {
    if (place !== undefined) {
      const at = this.#tagAt(place);
      this.#draft.tags.splice(at, 1);
      return;
    }
    if (baseOf(name) !== undefined || FIXED.some((known) => known === name) || name === ENTERPRISE_PROJECT)
      throw this.#unsupported(`${name} cannot be removed`);
    this.#checkCanChange(name);
    if (!this.#draft.attributes.delete(name)) throw this.#notSet(name);
  }

  #setBase(name: Base, value: unknown): void {
    const draft = this.#draft;
    switch (name) {
      case 'name':
        if (typeof value !== 'string') throw malformed('name must be a string');
        draft.name = this.#isExtension ? checkImageName(value) : checkGlanceName(value);
        return;
      case 'min_ram':
        this.#checkIsForServers(name);
        draft.minRamMib = wholeNumberOf(name, value);
        return;
      case 'min_disk':
        draft.minDiskGib = wholeNumberOf(name, value);
        return;
      case 'protected':
        draft.protected = truthOf(name, value);
        return;
      case 'os_hidden':
        draft.hidden = truthOf(name, value);
        return;
      case 'tags':
        if (this.#isExtension) throw this.#unsupported('tags have calls of their own');
        draft.tags = wordsIn(value);
        return;
      default:
        name satisfies never;
    }
  }

  /** A property that only takes the value it has; asking for a shared image is what comes before its first member. */
  #keep(name: Fixed, value: unknown): void {
    const { image } = this;
    const kept: Record<Fixed, readonly string[]> = {
      visibility: image.imageType === 'shared' ? ['shared'] : ['private', 'shared'],
      owner: [image.projectId],
      container_format: ['bare'],
      disk_format: [image.diskFormat],
    };
    if (!kept[name].some((known) => known === value)) throw this.#unsupported(`${name} cannot be changed`);
  }

  #attribute(name: string, value: unknown): string {
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
      throw malformed(`${name} must be a string`);
    if (name === ENTERPRISE_PROJECT) return checkEnterpriseProject(String(value));
    if (isAboutServers(name)) this.#checkIsForServers(name);
    return checkAttribute(name, String(value));
  }

  #checkCanChange(name: string): void {
    // Its images are moved by the vendor's API, which asks for a further right (ims-api 5).
    if (name === ENTERPRISE_PROJECT && this.#isExtension) return;
    if (isReserved(name) || SAID_ONCE.has(name)) throw this.#unsupported(`${name} cannot be changed`);
    if (this.#isExtension && !isChangeable(name)) {
      if (name.startsWith('__')) throw this.#unsupported(`${name} cannot be changed`);
      // ims-api 5.
      if (/\p{Lu}/u.test(name)) throw malformed('the key of an own attribute has no capitals');
    }
    checkPropertyName(name);
  }

  /** Attributes about servers say nothing of a data disk; some say nothing of what ECS does not boot. */
  #checkIsForServers(name: string): void {
    const kind = this.#virtualEnvType;
    if (kind === 'DataImage') throw new ImsError('IMG.0168', name, this.#isExtension ? BAD_REQUEST : FORBIDDEN);
    if (ECS_ONLY.has(name) && kind !== 'FusionCompute')
      throw this.#unsupported(`${name} is for images of elastic servers`);
  }

  /** CRE-28: a 32-bit system addresses 4 GB, whatever is asked for. */
  #checkMemory(): void {
    const { attributes, minRamMib } = this.#draft;
    const cap = attributes.get('__os_bit') === '32' ? MAX_RAM_OF_32_BIT_MIB : undefined;
    const wanted = Number(attributes.get('max_ram') ?? 0);
    const maxRamMib = wanted === 0 ? cap : wanted;
    if (cap !== undefined && (wanted > cap || minRamMib > cap))
      throw new ImsError('IMG.0055', `a 32-bit system has up to ${cap} MB of memory`);
    if (maxRamMib === undefined) {
      attributes.delete('max_ram');
      return;
    }
    if (minRamMib > maxRamMib) throw new ImsError('IMG.0055', 'min_ram must not exceed max_ram');
    attributes.set('max_ram', String(maxRamMib));
  }

  /** CRE-15; OpenStack's 0 leaves it open. */
  #checkDisk(): void {
    const { minDiskGib } = this.#draft;
    if (minDiskGib === 0 && !this.#isExtension) return;
    const isData = this.#virtualEnvType === 'DataImage';
    // The floor of 40 GB is the vendor's, for what comes through its API.
    checkMinDisk(minDiskGib, isData ? (this.#isExtension ? 'data' : 'beside-system') : 'system');
    const needed = Math.ceil((this.image.virtualSizeBytes ?? 0) / GIB);
    if (minDiskGib < needed) throw new ImsError('IMG.0055', `the disk of the image has ${needed} GB`);
  }

  #checkAttributes(changed: ReadonlySet<string>): void {
    const draft = Object.fromEntries(this.#draft.attributes);
    checkExclusive(draft, changed);
    if (changed.has('hw_firmware_type') && draft['hw_firmware_type'] !== undefined) {
      const osVersion = findAnyOsVersion(String(draft['__os_version'] ?? ''));
      const wanted = String(draft['hw_firmware_type']);
      const isArm = String(draft['__support_arm'] ?? '') === 'true';
      if (decideFirmware(wanted, isArm ? 'arm' : 'x86', osVersion) !== wanted)
        throw new ImsError('IMG.0141', 'an arm server boots UEFI alone');
    }
    const own = Object.entries(draft).filter(([name]) => !isReserved(name));
    checkProperties(Object.fromEntries(own));
  }

  #setTag(place: string, value: unknown, op: 'add' | 'replace'): void {
    const { tags } = this.#draft;
    const [word = ''] = wordsIn([value]);
    if (op === 'replace') tags[this.#tagAt(place)] = word;
    else tags.splice(place === '-' ? tags.length : this.#tagAt(place, tags.length), 0, word);
  }

  #tagAt(place: string, last = this.#draft.tags.length - 1): number {
    const at = /^(?:0|[1-9]\d{0,3})$/.test(place) ? Number(place) : Number.POSITIVE_INFINITY;
    if (at > last) throw this.#notSet(`tag ${place}`);
    return at;
  }

  #valueAt([name, place]: Target): unknown {
    if (place !== undefined) return this.#draft.tags[this.#tagAt(place)];
    const value = this.#draft.attributes.get(name);
    if (value === undefined) throw this.#notSet(name);
    return value;
  }

  #isThere(name: string): boolean {
    if (this.#draft.attributes.has(name)) return true;
    return !this.#isExtension && Object.hasOwn(this.command.shownDefaults, name);
  }

  #changedAttributes(): Set<string> {
    const { attributes } = this.image;
    const draft = this.#draft.attributes;
    const text = (value: ImageAttributes[string] | undefined) => (value == null ? null : String(value));
    const names = new Set([...Object.keys(attributes), ...draft.keys()]);
    return new Set(
      [...names].filter(
        (name) => text(Object.hasOwn(attributes, name) ? attributes[name] : null) !== text(draft.get(name)),
      ),
    );
  }

  get #isExtension(): boolean {
    return this.command.dialect === 'extension';
  }

  get #virtualEnvType(): string {
    return String(this.image.attributes['virtual_env_type'] ?? 'FusionCompute');
  }

  #unsupported(detail: string): ImsError {
    return new ImsError('IMG.0105', detail, this.#isExtension ? BAD_REQUEST : FORBIDDEN);
  }

  /** Terraform tries again with `add` on exactly this (ims-api 5). */
  #notSet(name: string): ImsError {
    return new ImsError('IMG.0035', `${name} is not set`, this.#isExtension ? BAD_REQUEST : CONFLICT);
  }
}

const malformed = (detail: string): ImsError => new ImsError('IMG.0001', detail);

/** The property that a pointer names; of tags also the place of one of them. */
type Target = readonly [name: string, place: string | undefined];

/** Fails with IMG.0001 for a pointer that no property of an image has. */
function pathOf(path: string): Target {
  const steps = path
    .slice(1)
    .split('/')
    .map((step) => {
      if (/~(?![01])/.test(step)) throw malformed('path: a tilde is written ~0');
      return step.replaceAll('~1', '/').replaceAll('~0', '~');
    });
  const [name = '', place, ...deeper] = steps;
  if (!path.startsWith('/') || name === '' || deeper.length > 0 || (place !== undefined && name !== 'tags'))
    throw malformed('path must name a property');
  return [name, place];
}

function wordsIn(value: unknown): string[] {
  if (!Array.isArray(value)) throw new ImsError('IMG.0115', 'tags must be a list of strings');
  return value.map((word: unknown) => {
    if (typeof word !== 'string') throw new ImsError('IMG.0115', 'tags must be strings');
    return word;
  });
}

const isSame = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every((tag, at) => tag === others[at]);

function pick(attributes: ReadonlyMap<string, ImageAttributes[string]>, names: ReadonlySet<string>): ImageAttributes {
  return Object.fromEntries([...names].map((name) => [name, attributes.get(name) ?? null]));
}
