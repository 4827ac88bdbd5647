import { askForServer } from './test-server-protocol';

/** Address and namespace of the run's Temporal server; the first call of a run starts it. Use a task queue of your own per test. */
export function testTemporal(): Promise<{ address: string; namespace: string }> {
  return askForServer('temporal');
}

/** Path of the workflow bundle, for `Worker.create({ workflowBundle: { codePath } })`; the first call of a run makes it. */
export async function workflowBundlePath(): Promise<string> {
  return (await askForServer('bundle')).path;
}
