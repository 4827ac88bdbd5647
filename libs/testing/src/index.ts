export { testDatabase, type TestDatabase } from './test-database';
export { testTemporal, workflowBundlePath } from './test-temporal';
export { temporaryDirectory } from './temporary-directory';
export { waitFor, type WaitOptions } from '@ims/embedded';
