export {
  AzIdentityError,
  DomainNotFoundError,
  ManifestNotFoundError,
  NotHeldError,
  StaleAttemptError,
  StoredBytesDamagedError,
} from './errors';
export type {
  ByteRange,
  DiskFile,
  ImageReferences,
  ImageStore,
  IngestProgress,
  IngestRequest,
} from './image-store.port';
export { createImageStore, type ImageStoreOptions } from './store/image-store';
