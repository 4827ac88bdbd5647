import { freePort, isProcessAlive, waitFor } from '@ims/embedded';
import { temporaryDirectory } from '@ims/testing';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { z } from 'zod';

const MAIN = resolve(__dirname, '../../apps/cli/dist/main.js');
// Four starts of the whole service, each some seconds on an idle machine and many on a busy one.
jest.setTimeout(300_000);

const FREE_PORTS = ['--port', '0', '--temporal-port', '0', '--ui-port', '0'];

const statusAnswer = z.object({
  ready: z.boolean(),
  supervisorPid: z.number(),
  apiUrl: z.string(),
  projectId: z.string(),
  access: z.string(),
  services: z.record(z.string(), z.object({ pid: z.number(), restarts: z.number() })),
});

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

describe('ims up, status, down', () => {
  let data: string;

  function ims(...words: string[]): Promise<Outcome> {
    return new Promise((done) => {
      execFile(process.execPath, [MAIN, ...words, '--data', data], (error, stdout, stderr) => {
        done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
      });
    });
  }

  const status = async (): Promise<z.infer<typeof statusAnswer>> =>
    statusAnswer.parse(JSON.parse((await ims('status', '-o', 'json')).stdout));

  /** Every process that works in the data directory or names it. */
  async function processes(): Promise<number[]> {
    const found: number[] = [];
    for (const entry of await readdir('/proc')) {
      const pid = Number(entry);
      if (!Number.isInteger(pid) || pid === process.pid || !isProcessAlive(pid)) continue;
      const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '');
      if (words.includes(data) || cwd.startsWith(data)) found.push(pid);
    }
    return found;
  }

  beforeEach(async () => {
    const directory = await temporaryDirectory();
    // Postgres runs as another user when the tests run as root.
    await chmod(directory, 0o711);
    data = join(directory, 'instance');
  });
  afterEach(async () => {
    await ims('down');
  });

  it('comes up, says how to use it, survives the death of every part, and goes down without an orphan', async () => {
    const up = await ims('up', ...FREE_PORTS);
    expect(up).toMatchObject({ code: 0 });
    const first = await status();
    expect(first.ready).toBe(true);
    for (const fact of [first.apiUrl, first.projectId, first.access, data]) expect(up.stdout).toContain(fact);

    const env = await ims('status', '-o', 'env');
    expect(env.stdout).toContain(`export IMS_ENDPOINT='${first.apiUrl}'\n`);

    // A second "up" finds it running and changes nothing.
    expect((await ims('up', ...FREE_PORTS)).code).toBe(0);
    expect(await status()).toEqual(first);

    for (const { pid } of Object.values(first.services)) process.kill(pid, 'SIGKILL');
    const healed = await waitFor(
      async () => {
        const now = await status();
        return Object.values(now.services).every(({ restarts }) => restarts > 0) && now.ready ? now : undefined;
      },
      { deadlineMs: 90_000, what: 'every part to be started again', everyMs: 500 },
    );
    expect(Object.keys(healed.services).toSorted()).toEqual(['gateway', 'postgres', 'temporal', 'worker']);
    expect(healed.apiUrl).toBe(first.apiUrl);

    expect(await ims('down')).toMatchObject({ code: 0 });
    expect(await processes()).toEqual([]);
    expect(await ims('status')).toMatchObject({ code: 8, stderr: expect.stringContaining('no service runs') });

    // What it stored is still there: the same project, the same key.
    expect((await ims('up', ...FREE_PORTS)).code).toBe(0);
    expect(await status()).toMatchObject({ projectId: first.projectId, access: first.access });

    expect((await ims('down', '--purge')).code).toBe(0);
    await expect(stat(data)).rejects.toThrow('ENOENT');
  });

  it('can be started again right after its supervisor was killed', async () => {
    expect((await ims('up', ...FREE_PORTS)).code).toBe(0);
    const { supervisorPid } = await status();
    process.kill(supervisorPid, 'SIGKILL');
    await waitFor(() => !isProcessAlive(supervisorPid), { deadlineMs: 10_000, what: 'the supervisor to be gone' });
    expect(await ims('status')).toMatchObject({ code: 8, stderr: expect.stringContaining('its supervisor died') });
    expect(await ims('up', ...FREE_PORTS)).toMatchObject({ code: 0 });
    expect((await status()).ready).toBe(true);
    await ims('down');
    expect(await processes()).toEqual([]);
  });

  it('starts nothing when a port is taken, and names the port', async () => {
    const port = await freePort();
    const squatter = createServer().listen(port, '127.0.0.1');
    await once(squatter, 'listening');
    const up = await ims('up', '--temporal-port', '0', '--ui-port', '0', '--port', String(port));
    expect(up).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(`port ${port} is taken`) });
    expect(await processes()).toEqual([]);
    squatter.close();
  });

  it('leaves nothing running when the start is interrupted', async () => {
    const up = spawn(process.execPath, [MAIN, 'up', ...FREE_PORTS, '--data', data], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    // The first line of progress: Postgres runs.
    await once(up.stderr, 'data');
    up.kill('SIGINT');
    const [code] = await once(up, 'exit');
    expect(code).toBe(130);
    await waitFor(async () => (await processes()).length === 0, { deadlineMs: 30_000, what: 'no process to be left' });
    expect((await ims('status')).code).toBe(8);
  });
});
