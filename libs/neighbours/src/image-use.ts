import { CONTENT, deviceOfPart, DISK_PART, imageAttributes } from '@ims/contract';
import {
  type Database,
  ImageLineageRepository,
  type ImagePartRow,
  type ImageRow,
  ImagesRepository,
  type SeenImage,
} from '@ims/db';
import { isEncrypted, type UsableImage } from '@ims/domain';
import type { Kysely } from 'kysely';

/** A stored disk of an image. */
export interface StoredDisk {
  part: string;
  domainId: string;
  manifestHash: string;
  virtualSizeBytes: number;
}

/**
 * An image that a project may make servers and disks from, with every disk it has stored; `undefined` where there is none of that id for it.
 * Whose images a project may use is decided here alone: those it sees, also one that it has not accepted or has rejected (ims-api 9.3), but an image of
 * a whole server that is shared with it only once it has accepted it, because then a vault is named that pays for it (BIL-04).
 */
export async function findUsableImage(
  db: Kysely<Database>,
  projectId: string,
  imageId: string,
): Promise<{ image: UsableImage; disks: StoredDisk[] } | undefined> {
  const images = new ImagesRepository(db);
  const row = await images.find(projectId, imageId);
  if (row === undefined || !mayUse(row)) return undefined;
  const parts = await images.parts(imageId);
  const disks = [...contentOf(row), ...parts.map(partOf)];
  const revoked = await new ImageLineageRepository(db).revoked(imageId);
  if (revoked === undefined) return { image: usableImageOf(row, disks), disks };
  // Of an image that the user may not see the reason is told, not which one it is.
  const isKnown = revoked.projectId === projectId || (await images.find(projectId, revoked.id)) !== undefined;
  return {
    image: {
      ...usableImageOf(row, disks),
      revoked: { imageId: isKnown ? revoked.id : null, reason: revoked.revokeReason ?? '' },
    },
    disks,
  };
}

const mayUse = (row: SeenImage): boolean => {
  if (row.seen_as !== 'member' || row.member_status === 'accepted') return true;
  return imageAttributes.parse(row.attributes)['__whole_image'] !== 'true';
};

function contentOf(row: ImageRow): StoredDisk[] {
  if (row.domain_id === null || row.manifest_hash === null || row.virtual_size_bytes === null) return [];
  // The disk in a file is a part of its own, once somebody has looked into the file; before that nobody gets near its bytes.
  if (row.form === 'file') return [];
  return [
    {
      part: CONTENT,
      domainId: row.domain_id,
      manifestHash: row.manifest_hash,
      virtualSizeBytes: row.virtual_size_bytes,
    },
  ];
}

const partOf = (row: ImagePartRow): StoredDisk => ({
  part: row.part,
  domainId: row.domain_id,
  manifestHash: row.manifest_hash,
  virtualSizeBytes: row.virtual_size_bytes,
});

function usableImageOf(row: ImageRow, disks: readonly StoredDisk[]): UsableImage {
  const all = imageAttributes.parse(row.attributes);
  const text = (name: string): string | undefined => {
    const value = all[name];
    return value === undefined || value === null || value === '' ? undefined : String(value);
  };
  const maxRamMib = Number(text('max_ram') ?? 0);
  const disk = disks.find(({ part }) => part === DISK_PART) ?? disks.find(({ part }) => part === CONTENT);
  return {
    id: row.id,
    name: row.name,
    isActive: row.status === 'active',
    virtualEnvType: text('virtual_env_type') ?? 'FusionCompute',
    imageType: row.image_type,
    architecture: text('__support_arm') === 'true' ? 'arm' : 'x86',
    osBit: text('__os_bit') === '32' ? '32' : '64',
    osType: text('__os_type') ?? 'Other',
    osVersion: text('__os_version'),
    firmware: text('hw_firmware_type') === 'uefi' ? 'uefi' : 'bios',
    minDiskGib: row.min_disk_gib,
    minRamMib: row.min_ram_mib,
    maxRamMib: maxRamMib > 0 ? maxRamMib : undefined,
    productCode: text('__productcode'),
    isEncrypted: isEncrypted(all),
    ...(row.deprecated_at === null
      ? {}
      : { deprecation: { at: row.deprecated_at, replacementImageId: row.replacement_id } }),
    disk:
      disk === undefined
        ? diskInFile(row)
        : { part: disk.part, virtualSizeBytes: disk.virtualSizeBytes, isDerived: true },
    dataDisks: disks.flatMap(({ part, virtualSizeBytes }) => {
      const device = deviceOfPart(part);
      return device === undefined ? [] : [{ device, part, virtualSizeBytes }];
    }),
  };
}

/** The disk that a file will show once it is derived. How large it is is known before only where the file itself is the disk. */
function diskInFile(row: ImageRow): UsableImage['disk'] {
  if (row.form !== 'file' || row.manifest_hash === null) return undefined;
  const isDisk = row.disk_format === 'raw' || row.disk_format === 'iso';
  return { part: DISK_PART, virtualSizeBytes: isDisk ? (row.virtual_size_bytes ?? 1) : 1, isDerived: false };
}
