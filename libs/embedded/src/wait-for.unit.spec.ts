import { StopWaiting, waitFor } from './wait-for';

describe(waitFor.name, () => {
  it('returns the first value that is there', async () => {
    const values = [undefined, null, false, 0];
    expect(await waitFor(() => values.shift(), { deadlineMs: 5_000, what: 'a value', everyMs: 1 })).toBe(0);
  });

  it('goes on over errors and names the last one when the deadline passes', async () => {
    const failing = waitFor(
      () => {
        throw new Error('not there');
      },
      { deadlineMs: 5, what: 'the moon', everyMs: 1 },
    );
    await expect(failing).rejects.toThrow('waited 5 ms for the moon, in vain; last error: not there');
  });

  it('ends at once with the cause when the awaited can no longer come', async () => {
    const cause = new Error('it died');
    const stopped = waitFor(
      () => {
        throw new StopWaiting(cause);
      },
      { deadlineMs: 60_000, what: 'anything' },
    );
    await expect(stopped).rejects.toBe(cause);
  });
});
