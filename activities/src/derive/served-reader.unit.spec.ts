import { statusOf } from './served-reader';

const RUNS = [
  { offset: 100, length: 50 },
  { offset: 300, length: 100 },
];
const told = (offset: number, length: number): string =>
  statusOf(RUNS, offset, length)
    .map((run) => `${run.isData ? 'data' : 'hole'} ${run.length}`)
    .join(', ');

describe(statusOf.name, () => {
  it.each([
    [0, 1000, 'hole 100, data 50, hole 150, data 100, hole 600'],
    [0, 100, 'hole 100'],
    [100, 50, 'data 50'],
    [120, 200, 'data 30, hole 150, data 20'],
    [150, 100, 'hole 100'],
    [399, 1, 'data 1'],
    [400, 7, 'hole 7'],
  ])('tells of %d, %d bytes on: %s', (offset, length, expected) => {
    expect(told(offset, length)).toBe(expected);
  });
});
