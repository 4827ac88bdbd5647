import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, open, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { randomBytes } from 'node:crypto';
import { DiskView } from './disk-view';
import { ExtFileSystem } from './ext-file-system';
import { FileDisk } from './file-disk.spec';

const run = promisify(execFile);
const KIB = 1024;
const MIB = 1024 * KIB;

let dir: string;
let tree: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ims-ext-'));
  tree = join(dir, 'tree');
  await mkdir(join(tree, 'etc/many'), { recursive: true });
  await writeFile(join(tree, 'etc/plain'), 'plain text\n');
  await writeFile(join(tree, 'etc/medium'), randomBytes(700 * KIB));
  await symlink('plain', join(tree, 'etc/beside'));
  await symlink('/etc/plain', join(tree, 'etc/absolute'));
  await symlink('../../../../etc/plain', join(tree, 'etc/above-the-root'));
  await symlink('/etc', join(tree, 'config'));
  await symlink('loop', join(tree, 'etc/loop'));
  await symlink(`/etc/${'./'.repeat(100)}plain`, join(tree, 'etc/long'));
  await symlink('nowhere', join(tree, 'etc/dangling'));
  for (let k = 0; k < 1500; k++) await writeFile(join(tree, `etc/many/a-file-with-a-long-name-${k}`), `${k}`);
  // Every other block is a hole: more extents than fit into an inode.
  const scattered = await open(join(tree, 'etc/scattered'), 'w');
  for (let k = 0; k < 200; k++) await scattered.write(Buffer.alloc(4 * KIB, k + 1), 0, 4 * KIB, k * 8 * KIB);
  await scattered.close();
  // Reaches the third level of an old block map of 1 KiB blocks, which begins at some 64 MiB.
  const far = await open(join(tree, 'etc/far'), 'w');
  await far.write('the far end', 70 * MIB);
  await far.close();
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe.each([
  ['ext4', '4096', 'ext4'],
  ['ext4', '1024', 'ext4'],
  ['ext3', '4096', 'ext3'],
  ['ext2', '1024', 'ext2'],
])('%s with blocks of %s bytes', (type, blockBytes, name) => {
  let path: string;
  let files: ExtFileSystem;
  let disk: FileDisk;
  beforeAll(async () => {
    path = join(dir, `${type}-${blockBytes}`);
    await run('/usr/sbin/mke2fs', ['-q', '-F', '-t', type, '-b', blockBytes, '-d', tree, path, '32M']);
  });
  beforeEach(async () => {
    disk = await FileDisk.open(path);
    files = await ExtFileSystem.open(new DiskView(disk), { offset: 0, sizeBytes: disk.virtualSizeBytes });
  });
  afterEach(() => disk.close());

  it('is named by its features', () => {
    expect(files.name).toBe(name);
    expect(files.needsRecovery).toBe(false);
  });

  it.each([
    'etc/plain',
    'etc/beside',
    'etc/absolute',
    'etc/above-the-root',
    'etc/long',
    '/etc/../etc/./plain',
    'config/plain',
  ])('reads /%s', async (file) => {
    expect((await files.readFile(file, 100))?.toString()).toBe('plain text\n');
  });

  it.each(['etc/absent', 'etc/plain/below', 'etc/plain/../plain', 'etc/dangling', 'etc/many', ''])(
    'finds no file at "%s"',
    async (file) => {
      expect(await files.readFile(file, 100)).toBeUndefined();
    },
  );

  it('reads files of many blocks, cut at the limit', async () => {
    const expected = await readFile(join(tree, 'etc/medium'));
    expect((await files.readFile('etc/medium', MIB))?.equals(expected)).toBe(true);
    expect((await files.readFile('etc/medium', 5000))?.equals(expected.subarray(0, 5000))).toBe(true);
  });

  it('reads files with holes and trees of extents', async () => {
    expect((await files.readFile('etc/scattered', 2 * MIB))?.equals(await readFile(join(tree, 'etc/scattered')))).toBe(
      true,
    );
    const far = await files.readFile('etc/far', 80 * MIB);
    expect(far?.length).toBe(70 * MIB + 11);
    expect(far?.toString('latin1', 70 * MIB)).toBe('the far end');
    expect(far?.subarray(0, 70 * MIB).equals(Buffer.alloc(70 * MIB))).toBe(true);
  });

  it('finds names in a folder of many blocks, hashed or not', async () => {
    expect((await files.readFile('etc/many/a-file-with-a-long-name-1234', 10))?.toString()).toBe('1234');
    const hashed = `${path}.hashed`;
    await run('cp', [path, hashed]);
    // Exit code 1: the folders were rebuilt, which is what was asked for.
    await run('/usr/sbin/e2fsck', ['-fyD', hashed]).catch((error: { code: number }) => expect(error.code).toBe(1));
    const { stdout } = await run('/usr/sbin/debugfs', ['-R', 'stat /etc/many', hashed]);
    expect(type === 'ext2' || /Flags: 0x8?1000/.test(stdout)).toBe(true);
    const again = await FileDisk.open(hashed);
    const rebuilt = await ExtFileSystem.open(new DiskView(again), { offset: 0, sizeBytes: again.virtualSizeBytes });
    for (const k of [0, 777, 1499]) {
      expect((await rebuilt.readFile(`etc/many/a-file-with-a-long-name-${k}`, 10))?.toString()).toBe(`${k}`);
    }
    await again.close();
  });

  it('gives up on a link that leads to itself', async () => {
    await expect(files.readFile('etc/loop', 10)).rejects.toThrow('too many symbolic links');
  });
});
