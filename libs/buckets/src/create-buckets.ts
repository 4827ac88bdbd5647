import type { BucketStore } from './bucket.port';
import { DirectoryBuckets } from './directory-buckets';
import { S3Buckets } from './s3-buckets';
import type { S3Endpoint } from './s3-client';

/** Where user-owned buckets lie. `region` of the directory driver is what its buckets report unless they say otherwise. */
export type BucketsConfig = { driver: 'directory'; root: string; region: string } | ({ driver: 's3' } & S3Endpoint);

/** @example const buckets = createBuckets({ driver: 'directory', root: '/srv/buckets', region: 'region-1' }); */
export function createBuckets(config: BucketsConfig): BucketStore {
  switch (config.driver) {
    case 'directory':
      return new DirectoryBuckets(config.root, config.region);
    case 's3':
      return new S3Buckets(config);
    default:
      return config satisfies never;
  }
}
