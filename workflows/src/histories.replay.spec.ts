import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { workflowBundlePath } from '@ims/testing';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import * as workflows from './index';

const kebab = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
const sagas = Object.keys(workflows).map(kebab);
const folderOf = (saga: string): string => join(__dirname, saga, 'histories');
const historiesOf = (saga: string): string[] =>
  existsSync(folderOf(saga)) ? readdirSync(folderOf(saga)).filter((name) => name.endsWith('.json')) : [];

interface StoredHistory {
  workflowId: string;
  history: unknown;
}
const read = (saga: string, file: string): StoredHistory =>
  JSON.parse(readFileSync(join(folderOf(saga), file), 'utf8')) as StoredHistory;

beforeAll(() => Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) }));

describe('stored histories replay on the present code (I13)', () => {
  it.each(sagas.flatMap((saga) => historiesOf(saga).map((file) => [saga, file] as const)))(
    '%s: %s',
    async (saga, file) => {
      const { workflowId, history } = read(saga, file);
      const bundle = { codePath: await workflowBundlePath() };
      await Worker.runReplayHistory({ workflowBundle: bundle }, historyFromJSON(history), workflowId);
    },
  );

  it('notices code that does other things than the history says', async () => {
    const { workflowId, history } = read('image-create', 'success.json');
    const altered = JSON.parse(JSON.stringify(history).replaceAll('"verifyDisk"', '"verifyAnother"')) as unknown;
    const bundle = { codePath: await workflowBundlePath() };
    await expect(
      Worker.runReplayHistory({ workflowBundle: bundle }, historyFromJSON(altered), workflowId),
    ).rejects.toThrow(DeterminismViolationError);
  });

  it.each(sagas)('%s has a history of its success', (saga) => {
    expect(historiesOf(saga)).toContain('success.json');
  });

  // A digest undoes nothing and is nobody's to cancel.
  it.each(sagas.filter((saga) => saga !== 'image-digest'))(
    '%s has histories of success, failure and cancellation',
    (saga) => {
      const names = historiesOf(saga).join();
      for (const branch of ['success', 'failure', 'cancelled']) expect(names).toContain(branch);
    },
  );
});
