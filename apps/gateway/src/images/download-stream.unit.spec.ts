import { once } from 'node:events';
import { finished } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { downloadStream } from './download-stream';

const HOUR_MS = 3_600_000;

async function* endless(signal: AbortSignal, stopped: () => void): AsyncGenerator<Uint8Array> {
  try {
    for (;;) {
      // As a read from a disk does, it lets timers run.
      await nextTurn();
      signal.throwIfAborted();
      yield Buffer.alloc(1024);
    }
  } finally {
    stopped();
  }
}

describe(downloadStream.name, () => {
  it('ends at its limit, while the client takes bytes', async () => {
    let isStopped = false;
    const stream = downloadStream((signal) => endless(signal, () => (isStopped = true)), 20);
    await expect(finished(stream.resume())).rejects.toThrow('the download took longer than 20 ms');
    expect(isStopped).toBe(true);
  });

  it('ends at its limit, while the client takes none', async () => {
    const stream = downloadStream((signal) => endless(signal, () => undefined), 20);
    const [error] = (await once(stream, 'error')) as [unknown];
    expect(error).toMatchObject({ message: 'the download took longer than 20 ms' });
  });

  it('stops reading once the client has gone', async () => {
    let seen: AbortSignal | undefined;
    const stream = downloadStream((signal) => {
      seen = signal;
      return endless(signal, () => undefined);
    }, HOUR_MS);
    await once(stream, 'readable');
    stream.destroy();
    await once(stream, 'close');
    expect(seen?.aborted).toBe(true);
  });

  it('gives every byte of what is short', async () => {
    const read = async function* () {
      yield Buffer.from('ab');
      yield Buffer.from('c');
    };
    expect(Buffer.concat(await downloadStream(read, HOUR_MS).toArray()).toString()).toBe('abc');
  });
});
