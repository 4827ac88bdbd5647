import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '@ims/db';
import { testTemporal, TestStack } from '@ims/testing';
import { RegionUnderFault, type Source } from './support/region-under-fault';

const run = promisify(execFile);
const MIB = 2 ** 20;
// The goals of a worker's memory and of a workflow's history, whatever the size of the disk (performance 4).
const MEMORY_LIMIT_BYTES = 450 * MIB;
const MEMORY_RATIO = 1.1;
const HISTORY_LIMIT = 200;
// Same data in each disk, so only the virtual size differs. Enough for all lanes to have their packs open.
const DATA_MIB = 256;

describe('disks that are large and nearly empty', () => {
  let region: RegionUnderFault;

  beforeAll(async () => {
    region = RegionUnderFault.watch(await TestStack.start(), await testTemporal());
  });
  afterAll(() => region.stop());

  const imported = async (source: Source, minDisk: number): Promise<{ id: string; seconds: number }> => {
    const since = systemClock.now().getTime();
    const id = await region.submit(source, source.key, minDisk);
    expect(await region.settle([id])).toEqual(['succeeded']);
    return { id, seconds: (systemClock.now().getTime() - since) / 1000 };
  };

  /** Most memory the worker ever had (VmHWM), in bytes. */
  const peakOfWorker = async (): Promise<number> => {
    const status = await readFile(`/proc/${region.stack.pid('worker')}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  };

  it('a 1 TiB disk takes less than 200 events of history (design 5, 11)', async () => {
    const path = join(region.stack.bucketDirectory, 'terabyte.qcow2');
    await run('qemu-img', ['create', '-f', 'qcow2', path, '1024G']);
    const writes = [0, 1, 100, 511, 1023].flatMap((gib) => ['-c', `write -P ${gib % 251 || 7} ${gib}G 1M`]);
    await run('qemu-io', ['-f', 'qcow2', ...writes, path]);
    const { id, seconds } = await imported({ key: 'terabyte.qcow2', sha256: '', dataBytes: 5 * MIB }, 1024);
    const { events } = await region.temporal.client.workflow.getHandle(id).fetchHistory();
    const length = events?.length ?? 0;
    process.stderr.write(`1 TiB import: ${seconds.toFixed(1)} s, ${length} events\n`);
    expect(length).toBeGreaterThan(10);
    expect(length).toBeLessThan(HISTORY_LIMIT);
    const { image_id: imageId } = await region.job(id);
    const start = await region.stack.download(`/v2/images/${imageId}/file?format=raw`, {
      offset: 100 * 2 ** 30,
      length: 2 * MIB,
    });
    expect(start.subarray(0, MIB).every((byte) => byte === 100)).toBe(true);
    expect(start.subarray(MIB).every((byte) => byte === 0)).toBe(true);
  });

  it('the memory of a worker does not grow with the disk', async () => {
    const peaks: number[] = [];
    for (const gib of [1, 200]) {
      // A process of its own for each, so that the peak is that of one import. Other bytes of the same size: a second
      // import of the same ones would have nothing to write.
      await region.stack.restart('worker');
      const raw = await region.putNoise(`memory-${gib}.raw`, DATA_MIB);
      const source = { ...raw, key: `memory-${gib}.qcow2` };
      const at = (key: string): string => join(region.stack.bucketDirectory, key);
      await run('qemu-img', ['convert', '-O', 'qcow2', at(raw.key), at(source.key)]);
      await run('qemu-img', ['resize', at(source.key), `${gib}G`]);
      const idle = await peakOfWorker();
      const { seconds } = await imported(source, gib);
      const peak = await peakOfWorker();
      process.stderr.write(
        `${gib} GiB import: ${seconds.toFixed(1)} s, worker peak ${(peak / MIB).toFixed(0)} MiB, ${(idle / MIB).toFixed(0)} before\n`,
      );
      peaks.push(peak);
    }
    const [small = NaN, large = NaN] = peaks;
    expect(Math.max(small, large)).toBeLessThanOrEqual(MEMORY_LIMIT_BYTES);
    expect(large / small).toBeLessThanOrEqual(MEMORY_RATIO);
  });
});
