import { type DerivedDisk, DISK_PART } from '@ims/contract';

/** A row of the projection `image` or `image_part`, as far as it names what is stored. */
interface StoredRow {
  domain_id: string | null;
  manifest_hash: string | null;
  content_root: string | null;
  virtual_size_bytes: number | null;
  stored_bytes: number | null;
}

/**
 * The disk that a server gets of an image: its content where that is a disk, the disk in its file where somebody has derived it. `undefined`:
 * the image is a file whose disk has to be derived first (step `derive-disk`), or it has no bytes.
 *
 * @example const disk = diskOf(image, await images.parts(image.id));
 */
export function diskOf(
  image: StoredRow & { form: string },
  parts: readonly (StoredRow & { part: string })[],
): DerivedDisk | undefined {
  const row = image.form === 'disk' ? image : parts.find(({ part }) => part === DISK_PART);
  if (
    row === undefined ||
    row.domain_id === null ||
    row.manifest_hash === null ||
    row.content_root === null ||
    row.virtual_size_bytes === null ||
    row.stored_bytes === null
  )
    return undefined;
  return {
    domainId: row.domain_id,
    manifestHash: row.manifest_hash,
    contentRoot: row.content_root,
    virtualSizeBytes: row.virtual_size_bytes,
    storedBytes: row.stored_bytes,
  };
}
