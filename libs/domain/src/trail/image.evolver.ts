import {
  type CatalogueFacts,
  dataDiskPart,
  DISK_PART,
  type EventData,
  type Listing,
  type MemberStatus,
  type MemberType,
} from '@ims/contract';
import { EvolutionError, type PastEvent, subjectOf } from './evolve';

type Attributes = Record<string, string | number | boolean>;

/** What an image is, as far as events say; named as its row is, which says the same (invariant I5). Times are RFC 3339. */
export interface ImageState {
  id: string;
  project_id: string;
  name: string;
  status: 'queued' | 'uploading' | 'saving' | 'active' | 'deactivated' | 'killed' | 'deleted';
  image_type: string;
  form: 'disk' | 'file';
  disk_format: string;
  min_disk_gib: number;
  min_ram_mib: number;
  tags: string[];
  attributes: Attributes;
  protected: boolean;
  hidden: boolean;
  parent_id: string | null;
  public_platform: string | null;
  product_code: string | null;
  catalogue_key: string | null;
  catalogue: CatalogueFacts | null;
  retired_at: string | null;
  listing: Listing | null;
  domain_id: string | null;
  manifest_hash: string | null;
  content_root: string | null;
  virtual_size_bytes: number | null;
  stored_bytes: number | null;
  file_bytes: number | null;
  md5: string | null;
  sha512: string | null;
  created_at: string;
  updated_at: string;
  active_at: string | null;
  deleted_at: string | null;
  binned_at: string | null;
  purge_after: string | null;
  purges_backup: boolean;
  held_at: string | null;
  hold_reason: string | null;
  held_by: string | null;
  deprecated_at: string | null;
  replacement_id: string | null;
  revoked_at: string | null;
  revoke_reason: string | null;
  /** The further disks that belong to it, by their name within it. */
  parts: Record<string, ImagePartState>;
  /** Whom it is shared with, and what projects have answered, by their ids. */
  members: Record<string, ImageMemberState>;
}

export interface ImageMemberState {
  member_type: MemberType;
  urn: string | null;
  via: string | null;
  status: MemberStatus;
  vault_id: string | null;
  created_at: string;
  updated_at: string;
}

export interface ImagePartState {
  domain_id: string;
  manifest_hash: string;
  content_root: string;
  virtual_size_bytes: number;
  stored_bytes: number;
}

const WITHOUT_BYTES = {
  md5: null,
  sha512: null,
  domain_id: null,
  manifest_hash: null,
  content_root: null,
  virtual_size_bytes: null,
  stored_bytes: null,
  file_bytes: null,
  active_at: null,
} as const;

const NOT_IN_BIN = { binned_at: null, purge_after: null, purges_backup: false } as const;
const NOT_HELD = { held_at: null, hold_reason: null, held_by: null } as const;
const NOT_DEPRECATED = { deprecated_at: null, replacement_id: null } as const;
const NOT_REVOKED = { revoked_at: null, revoke_reason: null } as const;

/**
 * An image after one more event of its stream, as `evolveJob` for jobs. Events of other streams change nothing.
 *
 * @throws EvolutionError an event that cannot follow
 */
export function evolveImage(state: ImageState | undefined, event: PastEvent): ImageState | undefined {
  const at = event.occurredAt.toISOString();
  const live = (...statuses: ImageState['status'][]): ImageState => {
    if (state === undefined || state.deleted_at !== null) throw new EvolutionError(event, 'the image is not there');
    if (statuses.length > 0 && !statuses.includes(state.status))
      throw new EvolutionError(event, `the image is ${state.status}`);
    return state;
  };
  const known = (): ImageState => {
    if (state === undefined) throw new EvolutionError(event, 'the image is not there');
    return state;
  };
  const deletable = (): ImageState => {
    const image = live();
    if (image.held_at !== null) throw new EvolutionError(event, 'it is under a legal hold');
    return image;
  };
  switch (event.type) {
    case 'image.queued': {
      if (state !== undefined) throw new EvolutionError(event, 'it was queued before');
      const { data } = event;
      return {
        id: subjectOf(event.streamId),
        project_id: event.projectId,
        name: data.name,
        status: 'queued',
        image_type: data.imageType ?? 'private',
        form: 'disk',
        disk_format: data.diskFormat,
        min_disk_gib: data.minDiskGib,
        min_ram_mib: data.minRamMib,
        tags: data.tags,
        attributes: merged({}, data.attributes),
        protected: data.protected ?? false,
        hidden: false,
        parent_id: data.lineage?.parentImageId ?? null,
        public_platform: data.lineage?.publicPlatform ?? null,
        product_code: data.lineage?.productCode ?? null,
        catalogue_key: data.catalogue?.key ?? null,
        catalogue: data.catalogue ?? null,
        retired_at: null,
        listing: null,
        ...WITHOUT_BYTES,
        created_at: at,
        updated_at: at,
        deleted_at: null,
        ...NOT_IN_BIN,
        ...NOT_HELD,
        ...NOT_DEPRECATED,
        ...NOT_REVOKED,
        parts: {},
        members: {},
      };
    }
    case 'image.uploading':
      return { ...live('queued'), status: 'uploading', updated_at: at };
    case 'image.saving':
      return { ...live('queued', 'uploading'), status: 'saving', updated_at: at };
    case 'image.published': {
      const { data } = event;
      const image = live('queued', 'saving');
      const parts = (data.dataDisks ?? []).map(({ device, ...disk }) => [dataDiskPart(device), partOf(disk)] as const);
      return {
        ...image,
        status: 'active',
        domain_id: data.domainId,
        manifest_hash: data.manifestHash,
        content_root: data.contentRoot,
        virtual_size_bytes: data.virtualSizeBytes,
        stored_bytes: data.storedBytes,
        file_bytes: data.fileBytes,
        form: data.form ?? 'disk',
        disk_format: data.diskFormat ?? image.disk_format,
        attributes: merged(image.attributes, data.attributes),
        active_at: at,
        updated_at: at,
        parts: { ...image.parts, ...Object.fromEntries(parts) },
      };
    }
    case 'image.disk-derived': {
      if (state === undefined) throw new EvolutionError(event, 'the image is not there');
      return { ...state, parts: { ...state.parts, [DISK_PART]: partOf(event.data) } };
    }
    case 'image.requeued': {
      const image = live();
      return {
        ...image,
        ...WITHOUT_BYTES,
        status: 'queued',
        form: 'disk',
        disk_format: event.data.diskFormat ?? image.disk_format,
        updated_at: at,
        parts: {},
      };
    }
    case 'image.withdrawn':
      return { ...deletable(), status: 'killed', updated_at: at, deleted_at: at, members: {} };
    case 'image.digested': {
      const { md5, sha512, sizeBytes } = event.data;
      return { ...live('active', 'deactivated'), md5, sha512, file_bytes: sizeBytes, updated_at: at };
    }
    case 'image.updated': {
      const image = live();
      const { after } = event.data;
      return {
        ...image,
        name: after.name ?? image.name,
        min_disk_gib: after.minDiskGib ?? image.min_disk_gib,
        min_ram_mib: after.minRamMib ?? image.min_ram_mib,
        protected: after.protected ?? image.protected,
        hidden: after.hidden ?? image.hidden,
        tags: after.tags ?? image.tags,
        attributes: merged(image.attributes, after.attributes ?? {}),
        updated_at: at,
      };
    }
    case 'image.tagged':
    case 'image.untagged':
      return { ...live(), tags: event.data.after, updated_at: at };
    case 'image.catalogued': {
      const { name, minDiskGib, minRamMib, attributes, catalogue } = event.data;
      const image = live();
      return {
        ...image,
        name,
        min_disk_gib: minDiskGib,
        min_ram_mib: minRamMib,
        attributes: merged(image.attributes, attributes),
        catalogue_key: catalogue.key,
        catalogue,
        retired_at: null,
        hidden: image.hidden && image.retired_at === null,
        updated_at: at,
      };
    }
    case 'image.retired':
      return { ...live(), retired_at: at, hidden: true, updated_at: at };
    case 'image.listing-requested': {
      const { round, productCode } = event.data;
      const listing: Listing = { round, status: 'requested', productCode, approvedBy: [], reason: null };
      return { ...live('active'), listing, updated_at: at };
    }
    case 'image.listing-approved': {
      const image = live();
      const listing = listingOf(image, event);
      return {
        ...image,
        listing: { ...listing, approvedBy: [...listing.approvedBy, event.data.by] },
        updated_at: at,
      };
    }
    case 'image.listed': {
      const image = live();
      return {
        ...image,
        image_type: 'market',
        attributes: merged(image.attributes, { __productcode: event.data.productCode }),
        listing: { ...listingOf(image, event), status: 'listed' },
        updated_at: at,
      };
    }
    case 'image.listing-refused': {
      const image = live();
      return {
        ...image,
        listing: { ...listingOf(image, event), status: 'refused', reason: event.data.reason },
        updated_at: at,
      };
    }
    case 'image.delisted': {
      const image = live();
      return {
        ...image,
        image_type: 'private',
        attributes: merged(image.attributes, { __productcode: image.product_code }),
        listing: { ...listingOf(image, event), status: 'withdrawn', reason: event.data.reason },
        updated_at: at,
      };
    }
    case 'image.binned': {
      const image = deletable();
      if (image.binned_at !== null) throw new EvolutionError(event, 'it is in the recycle bin already');
      const { purgeAfter, isBackupDeleted } = event.data;
      return {
        ...image,
        binned_at: at,
        purge_after: timeOf(purgeAfter),
        purges_backup: isBackupDeleted,
        updated_at: at,
      };
    }
    case 'image.restored': {
      const image = live();
      if (image.binned_at === null) throw new EvolutionError(event, 'it is not in the recycle bin');
      return { ...image, ...NOT_IN_BIN, updated_at: at };
    }
    case 'image.held': {
      const { reason, by } = event.data;
      return { ...deletable(), held_at: at, hold_reason: reason, held_by: by, updated_at: at };
    }
    case 'image.hold-released': {
      const image = live();
      if (image.held_at === null) throw new EvolutionError(event, 'nothing holds it');
      return { ...image, ...NOT_HELD, updated_at: at };
    }
    case 'image.deactivated':
      return { ...live('active'), status: 'deactivated', updated_at: at };
    case 'image.reactivated':
      return { ...live('deactivated'), status: 'active', updated_at: at };
    case 'image.deprecated': {
      const { deprecatedAt, replacementImageId } = event.data;
      return { ...live(), deprecated_at: timeOf(deprecatedAt), replacement_id: replacementImageId, updated_at: at };
    }
    case 'image.deprecation-ended':
      return { ...live(), ...NOT_DEPRECATED, updated_at: at };
    case 'image.revoked': {
      const image = known();
      if (image.revoked_at !== null) throw new EvolutionError(event, 'it is revoked already');
      return { ...image, revoked_at: at, revoke_reason: event.data.reason, updated_at: at };
    }
    case 'image.reinstated': {
      const image = known();
      if (image.revoked_at === null) throw new EvolutionError(event, 'it is not revoked');
      return { ...image, ...NOT_REVOKED, updated_at: at };
    }
    case 'image.deleted':
      return { ...deletable(), status: 'deleted', updated_at: at, deleted_at: at, members: {} };
    case 'image.member-added':
    case 'image.member-accepted':
    case 'image.member-rejected':
    case 'image.member-reopened':
    case 'image.member-removed':
    case 'image.member-left': {
      const image = live();
      return { ...image, members: membersAfter(image.members, event, at) };
    }
    default:
      return state;
  }
}

function listingOf(image: ImageState, event: PastEvent): Listing {
  if (image.listing === null) throw new EvolutionError(event, 'its listing was never asked for');
  return image.listing;
}

/** A time in its one spelling, as the rows have it. */
const timeOf = (text: string): string => new Date(text).toISOString();

type MemberEvent = Extract<PastEvent, { type: `image.member-${string}` }>;

/** An answer to a share with an account or an organization is the project's that gave it, and goes with that share. */
function membersAfter(members: ImageState['members'], event: MemberEvent, at: string): ImageState['members'] {
  const { memberId } = event.data;
  const before = members[memberId];
  const set = (change: Omit<ImageMemberState, 'created_at' | 'updated_at'>): ImageState['members'] => ({
    ...members,
    [memberId]: { ...change, created_at: before?.created_at ?? at, updated_at: at },
  });
  const answer = (status: MemberStatus, via: string | undefined, vaultId: string | null): ImageState['members'] => {
    if (via !== undefined) return set({ member_type: 'project', urn: null, via, status, vault_id: vaultId });
    if (before === undefined) throw new EvolutionError(event, 'it is no member');
    return set({ ...before, status, vault_id: vaultId });
  };
  switch (event.type) {
    case 'image.member-added': {
      const { memberType, urn = null } = event.data;
      return set({ member_type: memberType, urn, via: null, status: 'pending', vault_id: null });
    }
    case 'image.member-accepted':
      return answer('accepted', event.data.via, event.data.vaultId ?? null);
    case 'image.member-rejected':
      return answer('rejected', event.data.via, null);
    case 'image.member-reopened':
      return answer('pending', event.data.via, null);
    case 'image.member-removed':
    case 'image.member-left':
      return Object.fromEntries(Object.entries(members).filter(([id, { via }]) => id !== memberId && via !== memberId));
    default:
      return event satisfies never;
  }
}

const partOf = (disk: EventData<'image.disk-derived'>): ImagePartState => ({
  domain_id: disk.domainId,
  manifest_hash: disk.manifestHash,
  content_root: disk.contentRoot,
  virtual_size_bytes: disk.virtualSizeBytes,
  stored_bytes: disk.storedBytes,
});

/** A null takes an attribute away. */
function merged(attributes: Attributes, changes: EventData<'image.queued'>['attributes']): Attributes {
  const kept = { ...attributes };
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete kept[name];
    else kept[name] = value;
  }
  return kept;
}
