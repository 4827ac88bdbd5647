import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertDisk, makeDebianLikeDisk, sha256OfRaw } from '@ims/testing';
import { openZvhd, openZvhd2 } from '.';
import { identifyOs } from '../os';
import { inspect } from '../inspect/inspect';
import { MemorySource, readDisk } from './memory-disk.spec';

const MIB = 1024 * 1024;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ims-zvhd-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe('a real disk as ZVHD and ZVHD2', () => {
  it.each([
    ['zvhd', openZvhd],
    ['zvhd2', openZvhd2],
  ] as const)('%s: found by inspection, read back to the byte, and its system identified', async (format, openFile) => {
    const raw = await makeDebianLikeDisk(dir, { name: format });
    const path = await convertDisk(raw.path, format);
    const source = new MemorySource(await readFile(path));
    expect(await inspect(source)).toMatchObject({ format, virtualSizeBytes: 64 * MIB });
    const disk = await openFile(source);
    const hash = createHash('sha256').update(await readDisk(disk));
    expect(hash.digest('hex')).toBe(await sha256OfRaw(raw.path));
    expect((await identifyOs(disk, { architecture: 'x86' })).osVersion).toBe('Debian GNU/Linux 10.2.0 64bit');
    // A third of the data is text and a third a copy, so the file must be well below the 20 MiB of data.
    expect((await stat(path)).size).toBeLessThan(19 * MIB);
    await disk.close();
  });
});
