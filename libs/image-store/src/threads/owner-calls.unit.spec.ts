import { OwnerCalls } from './owner-calls';
import type { FromThread } from './thread-protocol';

describe(OwnerCalls.name, () => {
  const setUp = () => {
    const sent: FromThread[] = [];
    const abort = new AbortController();
    const calls = new OwnerCalls(7, abort.signal, (message) => sent.push(message));
    return { sent, abort, calls };
  };

  it('gives each call its own answer', async () => {
    const { sent, calls } = setUp();
    const first = calls.ask('openPack', null);
    const second = calls.ask('openPack', null);
    expect(sent).toEqual([
      { kind: 'call', task: 7, call: 0, method: 'openPack', input: null },
      { kind: 'call', task: 7, call: 1, method: 'openPack', input: null },
    ]);
    calls.answer(1, 'b');
    calls.answer(0, 'a');
    expect(await Promise.all([first, second])).toEqual(['a', 'b']);
  });

  it('fails what waits when the task is cancelled', async () => {
    const { abort, calls } = setUp();
    const answer = calls.ask('openPack', null);
    abort.abort();
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('fails a call that comes after the cancellation, instead of waiting for ever (P8)', async () => {
    const { sent, abort, calls } = setUp();
    abort.abort();
    await expect(calls.ask('openPack', null)).rejects.toMatchObject({ name: 'AbortError' });
    expect(sent).toEqual([]);
  });
});
