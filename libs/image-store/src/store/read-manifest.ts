import { ManifestNotFoundError, StoredBytesDamagedError } from '../errors';
import { Manifest, manifestName } from '../layout/manifest';
import type { AzStore } from '../placement/az-store.port';
import type { Domains } from './domains';

/**
 * The manifest of a stored disk, opened where its domain is an encrypted one. Throws `ManifestNotFoundError`, `StoredBytesDamagedError`, and what the
 * key service throws.
 */
export async function readManifest(
  { az, domains }: { az: AzStore; domains: Domains },
  domainId: string,
  manifestHash: string,
): Promise<Manifest> {
  const bytes = await az.readManifest(domainId, manifestHash);
  if (bytes === undefined) throw new ManifestNotFoundError(domainId, manifestHash);
  const name = manifestName(bytes);
  if (name !== manifestHash)
    throw new StoredBytesDamagedError(`manifest ${manifestHash}: its bytes have the hash ${name}`);
  const { seal } = await domains.open(domainId);
  return Manifest.decode(seal?.openManifest(bytes) ?? bytes, name);
}
