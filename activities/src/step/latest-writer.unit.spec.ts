import { LatestWriter } from './latest-writer';

describe('a writer of the latest state', () => {
  let written: number[];
  let writer: LatestWriter<number>;

  beforeEach(() => {
    jest.useFakeTimers();
    written = [];
    writer = new LatestWriter<number>(1_000, async (state) => {
      written.push(state);
    });
  });
  afterEach(() => jest.useRealTimers());

  it('writes the first at once and the last of those that came too soon when the time is over', async () => {
    for (const state of [1, 2, 3]) writer.put(state);
    await jest.advanceTimersByTimeAsync(999);
    expect(written).toEqual([1]);
    await jest.advanceTimersByTimeAsync(1);
    expect(written).toEqual([1, 3]);
    writer.put(4);
    await jest.advanceTimersByTimeAsync(1_000);
    expect(written).toEqual([1, 3, 4]);
    await jest.advanceTimersByTimeAsync(5_000);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('writes at once again after a pause', async () => {
    writer.put(1);
    await jest.advanceTimersByTimeAsync(1_500);
    writer.put(2);
    await jest.advanceTimersByTimeAsync(0);
    expect(written).toEqual([1, 2]);
  });

  it('writes nothing more once it is settled', async () => {
    writer.put(1);
    writer.put(2);
    await writer.settle();
    await jest.advanceTimersByTimeAsync(2_000);
    expect(written).toEqual([1]);
    expect(jest.getTimerCount()).toBe(0);
  });
});
