export { testDatabase, type TestDatabase } from './test-database';
export { testTemporal, workflowBundlePath } from './test-temporal';
export { temporaryDirectory } from './temporary-directory';
export { waitFor, type WaitOptions } from '@ims/embedded';
export {
  convertDisk,
  DISK_VARIANTS,
  makeDebianLikeDisk,
  sha256OfRaw,
  type DebianLikeDisk,
  type DebianLikeDiskOptions,
  type DiskVariant,
} from './disks';
