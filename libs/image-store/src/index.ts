export {
  AzIdentityError,
  CollectorBusyError,
  DomainNotFoundError,
  ManifestNotFoundError,
  NotHeldError,
  StaleAttemptError,
  StoredBytesDamagedError,
} from './errors';
export type {
  ByteRange,
  CollectedBytes,
  CollectOptions,
  DiskFile,
  ImageReferences,
  ImageStore,
  IngestBase,
  IngestProgress,
  IngestRequest,
} from './image-store.port';
export { createImageStore, type ImageStoreOptions } from './store/image-store';
