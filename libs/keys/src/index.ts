export { asImageRefusal, domainDataKeys } from './domain-data-keys';
export { EmbeddedKeys, type EmbeddedKeysOptions } from './embedded-keys';
export {
  type CreateKeyRequest,
  type EncryptionContext,
  KEY_STATES,
  type KeyInfo,
  type KeyService,
  type KeyState,
  type ListKeysRequest,
} from './keys.port';
