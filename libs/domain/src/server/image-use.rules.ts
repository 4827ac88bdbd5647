import { type ErrorCode, type GuestFacts, ImsError, type UsedImage } from '@ims/contract';
import { isExcludedOnSeries } from '../os/flavor-os.rules';
import { type Architecture, MAX_RAM_OF_32_BIT_MIB } from '../os/os-version';

/** What of an image decides what can be made from it. Attributes are already read: nothing here is a wire text. */
export interface UsableImage {
  id: string;
  name: string;
  isActive: boolean;
  virtualEnvType: string;
  imageType: string;
  architecture: Architecture;
  osBit: '32' | '64';
  osType: string;
  /** The name of its system, where it has one (ims-api 16.1). */
  osVersion: string | undefined;
  firmware: 'bios' | 'uefi';
  minDiskGib: number;
  minRamMib: number;
  /** `undefined`: no limit. */
  maxRamMib: number | undefined;
  /** Product code of a marketplace image, carried to the server (SCN-02). */
  productCode: string | undefined;
  /**
   * Its bytes as a disk: the content, or the disk inside its file, which has to be derived once before it can be read; as long as that has not been
   * done its size is the least it can be. `undefined`: it has no bytes.
   */
  disk: { part: string; virtualSizeBytes: number; isDerived: boolean } | undefined;
  /** An image that it descends from, or it itself, makes nothing any more; its id where the user may know it. */
  revoked?: { imageId: string | null; reason: string };
  /** From when on another image should be used. */
  deprecation?: { at: Date; replacementImageId: string | null };
  /** Its bytes are kept under a key, and disks of servers here are not. */
  isEncrypted: boolean;
  /** Further disks of a whole server (IMG-08), by device. */
  dataDisks: readonly { device: string; part: string; virtualSizeBytes: number }[];
}

/** Why an image does not suit a server. */
export type ImageMisfit = 'WRONG_IMAGE_ROLE' | 'WRONG_ARCHITECTURE' | 'TOO_MUCH_MEMORY' | 'WRONG_SIZE';

/**
 * Whether a server of this flavour may run this image; `undefined` means yes. WRONG_IMAGE_ROLE: a data disk image makes no server (IMG-10).
 * WRONG_ARCHITECTURE: CRE-26, CRE-27. TOO_MUCH_MEMORY: CRE-28. WRONG_SIZE: the system disk is below the image's least size.
 */
export function misfitOf(
  image: { role: 'system' | 'data'; architecture: Architecture; osBit: '32' | '64'; minDiskGib: number },
  flavor: { architecture: Architecture; ramMib: number },
  rootSizeGib: number | undefined,
): ImageMisfit | undefined {
  if (image.role !== 'system') return 'WRONG_IMAGE_ROLE';
  if (image.architecture !== flavor.architecture) return 'WRONG_ARCHITECTURE';
  if (image.osBit === '32' && flavor.ramMib > MAX_RAM_OF_32_BIT_MIB) return 'TOO_MUCH_MEMORY';
  if (rootSizeGib !== undefined && rootSizeGib < image.minDiskGib) return 'WRONG_SIZE';
  return undefined;
}

const GIB = 2 ** 30;
/** Whole GiB that hold so many bytes. */
export const gibOf = (bytes: number): number => Math.ceil(bytes / GIB);

const roleOf = (image: UsableImage): 'system' | 'data' => (image.virtualEnvType === 'DataImage' ? 'data' : 'system');

/** An image that exists, is active and can be read; what is missing is told with the code of the call. */
export function checkUsable(
  image: UsableImage | undefined,
  imageId: string,
  code: ErrorCode,
): UsableImage & { disk: NonNullable<UsableImage['disk']> } {
  if (image === undefined || !image.isActive) throw new ImsError(code, `there is no active image ${imageId}`);
  checkNotRevoked(image, code);
  const { disk } = image;
  if (disk === undefined) throw new ImsError(code, `image ${image.id} has no bytes`);
  // A disk made from it would have to be encrypted with its key too (backends C3).
  if (image.isEncrypted)
    throw new ImsError(
      code,
      `image ${image.id} is encrypted: copy it without cmk_id to make servers and disks from it`,
    );
  return { ...image, disk };
}

/** Nothing is made of an image that is revoked, or that comes from one that is, however far back. */
export function checkNotRevoked({ id, revoked }: Pick<UsableImage, 'id' | 'revoked'>, code: ErrorCode): void {
  if (revoked === undefined) return;
  const { imageId, reason } = revoked;
  const line = imageId === id ? '' : ` comes from ${imageId === null ? 'an image' : `image ${imageId}`} that`;
  throw new ImsError(code, `image ${id}${line} was revoked: ${reason}`);
}

/** What whoever makes something of these images is to know, although it is made. */
export const warningsAbout = (images: Iterable<Pick<UsableImage, 'id' | 'deprecation'>>): string[] =>
  [...images].flatMap(({ id, deprecation }) => {
    if (deprecation === undefined) return [];
    const { at, replacementImageId } = deprecation;
    const instead = replacementImageId === null ? '' : `; use image ${replacementImageId}`;
    return [`image ${id} is deprecated from ${at.toISOString()} on${instead}`];
  });

/**
 * Whether a server may be made from the image, or get it as its new operating system (CRE-26..28, IMG-10, IMG-11, OS-06..14). ECS images are for ECSs and
 * BMS images for BMSs; an ISO image makes an ECS that installs from it, and is nobody's operating system.
 *
 * @throws ImsError Ecs.0000
 */
export function checkServerImage(
  image: UsableImage,
  server: {
    kind: 'ecs' | 'bms';
    flavor: { id: string; architecture: Architecture; ramMib: number; series?: string | undefined };
    rootSizeGib: number;
    mayInstall: boolean;
    region: string;
  },
): void {
  const { kind, flavor, rootSizeGib } = server;
  const refuse = (detail: string): never => {
    throw new ImsError('Ecs.0000', `image ${image.id}: ${detail}`);
  };
  const misfit = misfitOf({ ...image, role: roleOf(image) }, flavor, rootSizeGib);
  switch (misfit) {
    case 'WRONG_IMAGE_ROLE':
      return refuse('a data disk image makes disks, not servers');
    case 'WRONG_ARCHITECTURE':
      return refuse(`it is for ${image.architecture} and flavour ${flavor.id} is ${flavor.architecture}`);
    case 'TOO_MUCH_MEMORY':
      return refuse(
        `a 32-bit operating system cannot use more than ${MAX_RAM_OF_32_BIT_MIB} MB; ${flavor.id} has more`,
      );
    case 'WRONG_SIZE':
      return refuse(`it needs a system disk of ${image.minDiskGib} GB`);
    case undefined:
      break;
    default:
      misfit satisfies never;
  }
  if (image.virtualEnvType === 'IsoImage') {
    if (!server.mayInstall || kind === 'bms') refuse('an ISO image is an installation medium, not an operating system');
  } else if ((image.virtualEnvType === 'Ironic') !== (kind === 'bms')) {
    refuse(`it is for ${kind === 'bms' ? 'ECSs' : 'BMSs'}`);
  }
  if (
    kind === 'ecs' &&
    flavor.series !== undefined &&
    isExcludedOnSeries(image.osVersion, flavor.series, server.region)
  )
    refuse(`${image.osVersion} is not offered on series ${flavor.series} (${flavor.id})`);
  if (flavor.ramMib < image.minRamMib) refuse(`it needs ${image.minRamMib} MB of memory`);
  if (image.maxRamMib !== undefined && flavor.ramMib > image.maxRamMib)
    refuse(`it can use ${image.maxRamMib} MB of memory at most`);
}

export const guestFactsOf = (image: UsableImage): GuestFacts => ({
  imageId: image.id,
  architecture: image.architecture,
  osBit: image.osBit,
  minDiskGib: image.minDiskGib,
  firmware: image.firmware,
});

/** Every disk that is used, each image once. */
export function usedImagesOf(origins: readonly { from: string; imageId?: string; part?: string }[]): UsedImage[] {
  const parts = new Map<string, Set<string>>();
  for (const { imageId, part } of origins) {
    if (imageId === undefined || part === undefined) continue;
    const known = parts.get(imageId) ?? new Set<string>();
    parts.set(imageId, known.add(part));
  }
  return [...parts].map(([imageId, known]) => ({ imageId, parts: [...known] }));
}

/** Which of the images have to be derived before they can be read. */
export function deriveOf(images: readonly UsableImage[]): { derive?: string[] } {
  const ids = new Set(images.filter(({ disk }) => disk?.isDerived === false).map(({ id }) => id));
  return ids.size === 0 ? {} : { derive: [...ids] };
}
