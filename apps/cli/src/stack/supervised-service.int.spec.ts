import { ServerProcess, waitFor } from '@ims/embedded';
import { temporaryDirectory } from '@ims/testing';
import { join } from 'node:path';
import { SupervisedService } from './supervised-service';

describe(SupervisedService.name, () => {
  let logFile: string;
  let troubles: string[];
  let changes: number;
  let service: SupervisedService | undefined;

  const sleeper = (): Promise<ServerProcess> =>
    ServerProcess.start({
      name: 'sleeper',
      command: '/bin/sleep',
      args: ['600'],
      logFile,
      stop: [{ signal: 'SIGTERM', graceMs: 5_000 }],
      onParentDeath: 'SIGKILL',
    });

  async function supervise(launch: () => Promise<ServerProcess>): Promise<SupervisedService> {
    service = await SupervisedService.start({
      name: 'sleeper',
      launch,
      onChange: () => (changes += 1),
      onTrouble: (message) => troubles.push(message),
    });
    return service;
  }

  beforeEach(async () => {
    logFile = join(await temporaryDirectory(), 'log');
    troubles = [];
    changes = 0;
  });
  afterEach(() => service?.stop());

  it('starts a part again that was killed, every time', async () => {
    const supervised = await supervise(sleeper);
    for (const round of [1, 2]) {
      const { pid } = supervised;
      process.kill(pid, 'SIGKILL');
      await waitFor(() => supervised.restarts === round, { deadlineMs: 20_000, what: `restart ${round}` });
      expect(supervised.pid).not.toBe(pid);
    }
    expect(changes).toBe(2);
    expect(troubles).toHaveLength(2);
  });

  it('goes on trying when a restart fails', async () => {
    let starts = 0;
    const supervised = await supervise(() => {
      starts += 1;
      return starts === 2 ? Promise.reject(new Error('the disk is full')) : sleeper();
    });
    process.kill(supervised.pid, 'SIGKILL');
    await waitFor(() => supervised.restarts === 1, { deadlineMs: 20_000, what: 'the second attempt' });
    expect(troubles.join('\n')).toContain('the disk is full');
  });

  it('stops what it keeps alive, and does not start it again', async () => {
    const supervised = await supervise(sleeper);
    await supervised.stop();
    expect(() => process.kill(supervised.pid, 0)).toThrow('ESRCH');
    expect(supervised.restarts).toBe(0);
    expect(troubles).toEqual([]);
  });

  it('leaves the failure of a first start to the caller', async () => {
    await expect(supervise(() => Promise.reject(new Error('no such program')))).rejects.toThrow('no such program');
  });
});
