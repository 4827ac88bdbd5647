export type { BucketInfo, BucketStore, ByteSource, SourceDescriptor } from './bucket.port';
export {
  BodyLengthError,
  ObjectExistsError,
  ObjectNameError,
  SourceChangedError,
  UploadGoneError,
} from './bucket.errors';
export { type BucketsConfig, createBuckets } from './create-buckets';
export { DirectoryBuckets } from './directory-buckets';
export { locateObject } from './directory-object';
export { holdsBytes } from './holds-bytes';
export { openSource } from './open-source';
export { S3Buckets } from './s3-buckets';
export { mapSparseFile } from './sparse-map';
export {
  type BucketUploads,
  MAX_PARTS,
  type ObjectUpload,
  type PartBody,
  partSizeBytes,
  type UploadedPart,
} from './upload.port';
