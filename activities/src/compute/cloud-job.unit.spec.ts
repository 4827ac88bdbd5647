import { NeighbourError } from '@ims/neighbours';
import { ApplicationFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { asking, undoingEach } from './cloud-job';

// Retries that nobody sits through in a test.
const LATE_ATTEMPT = 100;

const failureOf = async (work: () => Promise<void>): Promise<unknown> => {
  const environment = new MockActivityEnvironment(
    { attempt: LATE_ATTEMPT },
    // What is refused on purpose is no news.
    { logger: new DefaultLogger('ERROR', () => undefined) },
  );
  try {
    await environment.run(work);
    return undefined;
  } catch (error) {
    return error;
  }
};
const refuse = (refusal: 'BUSY' | 'NOT_FOUND' | 'IN_USE') => Promise.reject(new NeighbourError(refusal, 'it'));

describe(undoingEach.name, () => {
  it('is tried again for as long as something is busy, where a step gives up (CRE-09)', async () => {
    const step = await failureOf(() => asking('server', () => refuse('BUSY')));
    expect(step instanceof ApplicationFailure && step.nonRetryable).toBe(true);
    const undo = await failureOf(() => undoingEach('server', ['a'], () => refuse('BUSY')));
    expect(undo instanceof ApplicationFailure && undo.nonRetryable).toBe(false);
  });

  it('goes on with the others when one refuses, and takes what is gone for done', async () => {
    const asked: string[] = [];
    const failed = await failureOf(() =>
      undoingEach('disk', ['gone', 'busy', 'used', 'well'], (id) => {
        asked.push(id);
        if (id === 'gone') return refuse('NOT_FOUND');
        if (id === 'busy') return refuse('BUSY');
        return id === 'used' ? refuse('IN_USE') : Promise.resolve();
      }),
    );
    expect(asked).toEqual(['gone', 'busy', 'used', 'well']);
    expect(failed instanceof ApplicationFailure && failed.nonRetryable).toBe(false);
  });
});
