export interface DiskProgress {
  bytesDone: number;
  bytesTotal: number;
}

/**
 * Progress of several disks, one after the other, as one that never goes back. How much data is on a disk is known only once it has been begun, so
 * each disk weighs what it could hold. The only disk of a source reports its true bytes.
 */
export function progressOverDisks(
  virtualSizes: readonly number[],
  report: (bytesDone: number, bytesTotal: number) => void,
): { tick(disk: number, progress: DiskProgress): void } {
  if (virtualSizes.length <= 1) return { tick: (_, { bytesDone, bytesTotal }) => report(bytesDone, bytesTotal) };
  const total = sum(virtualSizes);
  return {
    tick: (disk, { bytesDone, bytesTotal }) => {
      // A disk without data is done as soon as that is known.
      const share = bytesTotal > 0 ? Math.min(1, bytesDone / bytesTotal) : 1;
      report(sum(virtualSizes.slice(0, disk)) + Math.floor((virtualSizes[disk] ?? 0) * share), total);
    },
  };
}

const sum = (sizes: readonly number[]): number => sizes.reduce((total, size) => total + size, 0);
