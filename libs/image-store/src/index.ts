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
  CopyRequest,
  DataKeys,
  DiskFile,
  ImageReferences,
  ImageStore,
  IngestBase,
  IngestProgress,
  IngestRequest,
  KeyedDomain,
  ReceiveRequest,
  RemoteDisk,
} from './image-store.port';
export { createImageStore, type ImageStoreOptions } from './store/image-store';
