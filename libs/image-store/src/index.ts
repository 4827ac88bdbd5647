export {
  AzIdentityError,
  CollectorBusyError,
  DomainNotFoundError,
  ExchangeError,
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
  ReceiveRequest,
  RemoteDisk,
} from './image-store.port';
export { createImageStore, type ImageStoreOptions } from './store/image-store';
