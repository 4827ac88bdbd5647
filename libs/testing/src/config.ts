/** Name of the variable through which a test finds the servers of its run. */
export const TEST_SERVERS_SOCKET = 'IMS_TEST_SERVERS_SOCKET';

/**
 * Unix socket of the run's servers, set by Jest's global setup.
 *
 * @throws Error outside of a Jest run
 */
export function testServersSocket(): string {
  const path = process.env[TEST_SERVERS_SOCKET];
  if (!path)
    throw new Error(
      `${TEST_SERVERS_SOCKET} is not set: this runs only under Jest with the global setup of libs/testing`,
    );
  return path;
}

/** Set for measurements: Postgres with fsync and synchronous commit, as in earnest. */
export const isDurabilityAsked = (): boolean => process.env['IMS_TEST_DURABLE'] === '1';

/** Which of Jest's workers this test runs in; "1" when there is one only. */
export const jestWorker = (): string => process.env['JEST_WORKER_ID'] ?? '1';
