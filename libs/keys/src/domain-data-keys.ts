import { ImsError, type ErrorCode } from '@ims/contract';
import type { EncryptionContext, KeyService } from './keys.port';

/** A part of the image store whose bytes lie under one data key. */
interface Domain {
  id: string;
  projectId: string;
  keyId: string;
}

// AES-256.
const DATA_KEY_BYTES = 32;

const IMAGE_CODE: Partial<Record<ErrorCode, ErrorCode>> = {
  'KMS.0205': 'IMG.0095',
  'KMS.0209': 'IMG.0097',
  'KMS.0210': 'IMG.0097',
  'KMS.0327': 'IMG.0099',
};

/** What the refusal of a key means for the image that needs it (backends C3): IMG.0095, IMG.0097 or IMG.0099; anything else stays what it is. */
export function asImageRefusal(error: unknown): unknown {
  if (!(error instanceof ImsError)) return error;
  const code = IMAGE_CODE[error.code];
  return code === undefined ? error : new ImsError(code, error.detail);
}

/**
 * Data keys of the image store's encrypted domains, by a key service: one key per domain, bound to it by its context. Both calls fail with IMG.0095
 * (no such key), IMG.0097 (disabled, or its deletion is scheduled) or IMG.0099.
 *
 * @example createImageStore({ db, directory, threads, dataKeys: domainDataKeys(keys, region) })
 */
export function domainDataKeys(keys: KeyService, region: string) {
  const contextOf = ({ id, projectId }: Domain): EncryptionContext => ({
    'ims:domain': id,
    'ims:project': projectId,
    'ims:region': region,
  });
  const refused = (error: unknown): never => {
    throw asImageRefusal(error);
  };
  return {
    create: async (domain: Domain): Promise<{ key: Buffer; wrapped: Buffer }> => {
      const { plaintext, wrapped } = await keys
        .createDataKey(domain.projectId, domain.keyId, { lengthBytes: DATA_KEY_BYTES, context: contextOf(domain) })
        .catch(refused);
      return { key: plaintext, wrapped };
    },
    open: (domain: Domain, wrapped: Uint8Array): Promise<Buffer> =>
      keys.decryptDataKey(domain.projectId, domain.keyId, { wrapped, context: contextOf(domain) }).catch(refused),
  };
}
