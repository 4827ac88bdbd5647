import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { askForServer } from './test-server-protocol';

/** An empty directory that is removed when the Jest run ends. */
export async function temporaryDirectory(): Promise<string> {
  const { path } = await askForServer('files');
  return mkdtemp(join(path, 'd-'));
}
