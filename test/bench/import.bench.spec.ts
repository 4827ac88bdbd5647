import { execFile } from 'node:child_process';
import { copyFile, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '@ims/db';
import { makeDebianLikeDisk, temporaryDirectory, TestStack, waitFor } from '@ims/testing';

const run = promisify(execFile);
const ROUNDS = Number(process.env['IMS_BENCH_ROUNDS'] ?? 5);
const REPORT = resolve(__dirname, '../../docs/reports/bench-import.md');
const CORES = availableParallelism();
const TICKS_PER_SECOND = 100;

interface Cost {
  wall: number;
  cpu: number;
}
interface Floor {
  dataBytes: number;
  storedBytes: number;
  spent: Record<string, number>;
}

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

/** User and system seconds of a process so far. */
async function cpuOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Wall and CPU seconds of a shell command with all its children. */
async function cost(command: string, cwd: string): Promise<Cost> {
  const { stderr } = await run('bash', ['-c', `TIMEFORMAT='%R %U %S'; time { ${command}; } >/dev/null 2>&1`], { cwd });
  const [wall = NaN, user = NaN, system = NaN] = stderr.trim().split(/\s+/).map(Number);
  return { wall, cpu: user + system };
}

describe('import, beside its floor and its peers', () => {
  let directory: string;
  let raw: string;
  let qcow2: string;

  beforeAll(async () => {
    directory = await temporaryDirectory();
    // Real files of this machine, about 1.3 GB, in an ext4 file system of 2 GiB.
    const tree = join(directory, 'tree');
    await mkdir(tree);
    await run(
      'bash',
      [
        '-c',
        `total=0; for d in $(find /usr/lib /usr/share /usr/local /opt -mindepth 1 -maxdepth 2 -type d 2>/dev/null | sort); do
         s=$(du -sm "$d" 2>/dev/null | cut -f1); [ "$s" -gt 0 ] && [ "$s" -lt 400 ] || continue
         [ $((total + s)) -lt 1300 ] || continue; total=$((total + s)); mkdir -p ".$(dirname $d)"; cp -a "$d" ".$(dirname $d)/" 2>/dev/null
       done; true`,
      ],
      { cwd: tree },
    );
    raw = join(directory, 'real.raw');
    qcow2 = join(directory, 'real.qcow2');
    await run('mke2fs', ['-q', '-t', 'ext4', '-d', tree, raw, '2G']);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
    await rm(tree, { recursive: true });
  }, 600_000);

  /** Seconds from the call to the job's own end. */
  const importFile = async (stack: TestStack, key: string, minDisk: number): Promise<number> => {
    const began = systemClock.now().getTime();
    const accepted = await stack.call('POST', '/v2/cloudimages/action', {
      name: 'bench',
      image_url: `images:${key}`,
      min_disk: minDisk,
    });
    // The answer of a create call that was accepted (ims-api 6).
    const { job_id: id } = accepted.json as { job_id: string };
    return waitFor(
      async () => {
        const { json } = await stack.call('GET', `/v1/${stack.identity.projectId}/jobs/${id}`);
        // The job document (ims-api 10.2).
        const { status, end_time: ended } = json as { status: string; end_time: string };
        if (status === 'FAIL') throw new Error(JSON.stringify(json));
        return status === 'SUCCESS' ? (Date.parse(ended) - began) / 1000 : undefined;
      },
      // Seldom enough that the questions cost next to nothing beside the work; how late the last one comes is no part of the time.
      { deadlineMs: 300_000, what: 'the import', everyMs: 100 },
    );
  };

  const importWith = async (path: string, name: string): Promise<Cost> => {
    const stack = await TestStack.start();
    try {
      await copyFile(path, join(stack.bucketDirectory, name));
      // A service that has served before: threads started, code compiled. Its source holds other bytes, so nothing is known of the next one.
      const small = await makeDebianLikeDisk(stack.bucketDirectory, { name: 'warm-up' });
      await importFile(stack, basename(small.path), 1);
      const before = (await cpuOf(stack.pid('worker'))) + (await cpuOf(stack.pid('gateway')));
      const wall = await importFile(stack, name, 2);
      const cpu = (await cpuOf(stack.pid('worker'))) + (await cpuOf(stack.pid('gateway'))) - before;
      return { wall, cpu };
    } finally {
      await stack.stop();
    }
  };

  it('is measured', async () => {
    const floors: Floor[] = [];
    const costs: Record<string, Cost[]> = {};
    const add = (name: string, value: Cost): void => {
      (costs[name] ??= []).push(value);
      process.stderr.write(`${name}: ${value.wall.toFixed(2)} s, ${value.cpu.toFixed(2)} CPU s\n`);
    };
    for (let round = 0; round < ROUNDS; round++) {
      const { stdout } = await run(process.execPath, [
        join(__dirname, 'import-floor.mjs'),
        raw,
        join(directory, 'floor'),
      ]);
      // Printed by our own script.
      floors.push(JSON.parse(stdout) as Floor);
      add('ours, raw', await importWith(raw, 'real.raw'));
      add('ours, qcow2', await importWith(qcow2, 'real.qcow2'));
      add(
        'qemu-img convert -c (zstd, -m 8 -W)',
        await cost(
          `qemu-img convert -f qcow2 -O qcow2 -c -o compression_type=zstd -m 8 -W ${qcow2} out.qcow2; rm -f out.qcow2`,
          directory,
        ),
      );
      add(
        'qemu-img, sha256sum, zstd -1 -T2, cp in sequence',
        await cost(
          `qemu-img convert -f qcow2 -O raw ${qcow2} t.raw; sha256sum t.raw; zstd -q -f -1 -T2 t.raw -o t.zst; cp t.zst u.zst; rm -f t.raw t.zst u.zst`,
          directory,
        ),
      );
    }
    const best = (step: string): number => Math.min(...floors.map((floor) => floor.spent[step] ?? NaN));
    const steps = Object.keys(floors[0]?.spent ?? {});
    const floorCpu = steps.reduce((sum, step) => sum + best(step), 0);
    const floorWall = floorCpu / CORES;
    const wall = (name: string): number => median(costs[name]?.map((each) => each.wall) ?? []);
    const cpu = (name: string): number => median(costs[name]?.map((each) => each.cpu) ?? []);
    const bestWall = (name: string): number => Math.min(...(costs[name]?.map((each) => each.wall) ?? []));
    const row = (name: string): string =>
      `| ${name} | ${wall(name).toFixed(2)} | ${cpu(name).toFixed(2)} | ${(floorWall / wall(name)).toFixed(2)} | ${(floorWall / bestWall(name)).toFixed(2)} | ${(wall(name) / wall('ours, qcow2')).toFixed(2)} |`;
    const report = `# Import, beside its floor and its peers

Written by \`npm run bench\`. ${ROUNDS} interleaved rounds, medians, page cache warm, the service warmed up by one small import. ${CORES} cores (${cpus()[0]?.model ?? 'unknown'}), load ${loadavg()
      .map((load) => load.toFixed(1))
      .join(
        ' ',
      )} at the end. Source: ext4 of 2 GiB with ${((floors[0]?.dataBytes ?? 0) / 1e6).toFixed(0)} MB of data segments,
${((floors[0]?.storedBytes ?? 0) / 1e6).toFixed(0)} MB once compressed. Postgres with fsync and synchronous commit on, Temporal on the same two cores.

Ours goes through the gateway, the saga, its events and the full read-back of \`verify\`; its CPU is that of worker and gateway. The floor is each step alone
(best of the rounds; hence the best round of the others beside their median), read-back included: ${steps.map((step) => `${step} ${best(step).toFixed(2)} s`).join(', ')}; together ${floorCpu.toFixed(2)} core-seconds, ${floorWall.toFixed(2)} s on ${CORES} cores.

| | wall s | CPU s | share of the floor | share, best round | times ours (qcow2) |
| --- | --- | --- | --- | --- | --- |
| floor | ${floorWall.toFixed(2)} | ${floorCpu.toFixed(2)} | 1.00 | 1.00 | ${(floorWall / wall('ours, qcow2')).toFixed(2)} |
${Object.keys(costs).map(row).join('\n')}
`;
    process.stderr.write(report);
    await writeFile(REPORT, report);
    expect((await stat(REPORT)).size).toBeGreaterThan(0);
  }, 3_600_000);
});
