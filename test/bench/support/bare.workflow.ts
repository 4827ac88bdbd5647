import { proxyActivities } from '@temporalio/workflow';

/** The peer of a saga: five activities that do nothing, and nothing around them. */
export async function fiveActivities(): Promise<void> {
  const { noop } = proxyActivities<{ noop(): Promise<void> }>({ startToCloseTimeout: '1m' });
  for (let n = 0; n < 5; n += 1) await noop();
}
