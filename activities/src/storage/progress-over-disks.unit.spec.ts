import { progressOverDisks } from './progress-over-disks';

const told = (sizes: number[], ticks: [number, number, number][]): [number, number][] => {
  const reports: [number, number][] = [];
  const over = progressOverDisks(sizes, (done, total) => reports.push([done, total]));
  for (const [disk, bytesDone, bytesTotal] of ticks) over.tick(disk, { bytesDone, bytesTotal });
  return reports;
};

describe(progressOverDisks, () => {
  it('tells the true bytes of a single disk', () => {
    expect(told([100], [[0, 3, 7]])).toEqual([[3, 7]]);
  });

  it('goes over several disks without ever going back (I12)', () => {
    expect(
      told(
        [100, 300, 50],
        [
          [0, 5, 10],
          [0, 10, 10],
          [1, 0, 20],
          [1, 10, 20],
          [2, 0, 0],
        ],
      ),
    ).toEqual([
      [50, 450],
      [100, 450],
      [100, 450],
      [250, 450],
      [450, 450],
    ]);
  });
});
