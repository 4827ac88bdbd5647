import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parsePeers } from '@ims/peer';
import { temporaryDirectory } from '@ims/testing';
import { DataDirectory } from './data-directory';
import { directoryOf, prepareRegions, readRegions, regionDirectories, regionNames } from './regions';

describe('several regions below one directory', () => {
  const wanted = [
    { name: 'region-1', gatewayPort: 8080 },
    { name: 'region-2', gatewayPort: 8081 },
  ];

  it('know each other, and one user with one key', async () => {
    const data = await temporaryDirectory();
    const { secret } = await prepareRegions(data, wanted);
    const [first, second] = [directoryOf(data, 'region-1'), directoryOf(data, 'region-2')];
    expect(parsePeers(await first.peers())).toEqual(new Map([['region-2', { url: 'http://127.0.0.1:8081', secret }]]));
    expect(parsePeers(await second.peers())).toEqual(new Map([['region-1', { url: 'http://127.0.0.1:8080', secret }]]));
    const [mine, theirs] = [await first.secrets(), await second.secrets()];
    expect(theirs).toMatchObject({ access: mine.access, secret: mine.secret, userPassword: mine.userPassword });
    // What opens the stored secrets of one opens nothing of the other.
    expect(theirs.rootKey).not.toBe(mine.rootKey);
    expect((await stat(join(data, 'regions.json'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(first.path, 'peers.json'))).mode & 0o777).toBe(0o600);
  });

  it('keep what they trust each other by when they start again at other ports', async () => {
    const data = await temporaryDirectory();
    const before = await prepareRegions(data, wanted);
    const after = await prepareRegions(
      data,
      wanted.map((region) => ({ ...region, gatewayPort: region.gatewayPort + 10 })),
    );
    expect(after.secret).toBe(before.secret);
    expect(await readRegions(data)).toEqual(after);
    expect((await regionDirectories(data)).map(({ path }) => path)).toEqual([
      join(data, 'region-1'),
      join(data, 'region-2'),
    ]);
  });

  it('are not made out of the directory of one', async () => {
    const data = await temporaryDirectory();
    await mkdir(new DataDirectory(data).postgres);
    await expect(prepareRegions(data, wanted)).rejects.toThrow('the directory of one region');
    expect((await regionDirectories(data)).map(({ path }) => path)).toEqual([data]);
  });

  it('are numbered', () => {
    expect(regionNames('region-1', 2)).toEqual(['region-1', 'region-2']);
    expect(regionNames('eu-west-9', 2)).toEqual(['eu-west-9', 'eu-west-10']);
    expect(regionNames('lab', 2)).toEqual(['lab', 'lab-2']);
  });
});
