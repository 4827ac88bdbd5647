import { temporaryDirectory } from '@ims/testing';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DataDirectory } from './data-directory';

describe(DataDirectory.name, () => {
  let directory: DataDirectory;

  beforeEach(async () => {
    directory = new DataDirectory(join(await temporaryDirectory(), 'instance'));
    await directory.prepare();
  });

  it('makes its secrets once, for the owner only', async () => {
    const secrets = await directory.secrets();
    expect(await directory.secrets()).toEqual(secrets);
    expect((await stat(join(directory.path, 'secrets.json'))).mode & 0o777).toBe(0o600);
    expect(secrets.rootKey).toMatch(/^[0-9a-f]{64}$/);
    const other = new DataDirectory(join(await temporaryDirectory(), 'other'));
    await other.prepare();
    expect((await other.secrets()).rootKey).not.toBe(secrets.rootKey);
  });

  it('is claimed by one supervisor at a time', async () => {
    await directory.lock();
    await expect(directory.lock()).rejects.toThrow(`in use by process ${process.pid}`);
    expect(await directory.livingSupervisor()).toBe(process.pid);
    await directory.unlock();
    await directory.lock();
  });

  it('lets exactly one of many claims win that come at once', async () => {
    const claims = await Promise.allSettled(Array.from({ length: 8 }, () => new DataDirectory(directory.path).lock()));
    expect(claims.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it.each([
    // No process has the highest id of a 64-bit system plus one.
    ['a process that is gone', () => '4194305 1'],
    ['a process whose id was given anew', () => `${process.pid} 1`],
    ['nobody', () => 'garbage'],
  ])('takes over the claim of %s', async (_, content) => {
    await writeFile(join(directory.path, 'supervisor.pid'), content());
    expect(await directory.livingSupervisor()).toBeUndefined();
    await directory.lock();
    expect(await readFile(join(directory.path, 'supervisor.pid'), 'utf8')).toMatch(
      new RegExp(`^${process.pid} \\d+\n$`),
    );
  });

  it('tells that there is no state, and refuses a state it does not understand', async () => {
    expect(await directory.readState()).toBeUndefined();
    await writeFile(join(directory.path, 'state.json'), '{"version":2}');
    await expect(directory.readState()).rejects.toThrow('not a state file of this release');
    await writeFile(join(directory.path, 'state.json'), '{"version":');
    await expect(directory.readState()).rejects.toThrow('not a state file of this release');
  });
});
