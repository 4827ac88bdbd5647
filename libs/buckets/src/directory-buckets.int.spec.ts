import {
  appendFile,
  link,
  mkdir,
  mkdtemp,
  open,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import {
  BodyLengthError,
  type BucketStore,
  ObjectExistsError,
  ObjectNameError,
  SourceChangedError,
  createBuckets,
  openSource,
} from './index';
import { createdName } from './directory-upload';
import { collect, describeBucketContract } from './spec-support/bucket-contract.spec';

const run = promisify(execFile);
const REGION = 'region-1';

describeBucketContract('directory driver', async () => {
  const root = await mkdtemp(join(tmpdir(), 'ims-buckets-'));
  return {
    buckets: createBuckets({ driver: 'directory', root, region: REGION }),
    stop: () => rm(root, { recursive: true }),
  };
});

describe('directory driver on files that users put there', () => {
  let root: string;
  let buckets: BucketStore;
  const path = (...parts: string[]) => join(root, 'images', ...parts);
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'ims-buckets-'));
    buckets = createBuckets({ driver: 'directory', root, region: REGION });
    await buckets.createBucket('images');
  });
  afterEach(() => rm(root, { recursive: true }));

  async function sourceOf(key: string) {
    const pinned = await buckets.pin({ bucket: 'images', key });
    if (pinned === undefined) throw new Error(`${key} is absent`);
    return openSource(buckets.describe(pinned));
  }

  it('does not follow links out of the bucket, in the last component or before it', async () => {
    await writeFile(join(root, 'secret'), 'not yours');
    await mkdir(join(root, 'elsewhere'));
    await writeFile(join(root, 'elsewhere', 'file'), 'not yours');
    await symlink(join(root, 'secret'), path('link'));
    await symlink(join(root, 'elsewhere'), path('folder'));
    expect(await buckets.pin({ bucket: 'images', key: 'link' })).toBeUndefined();
    expect(await buckets.pin({ bucket: 'images', key: 'folder/file' })).toBeUndefined();
    await expect(buckets.put({ bucket: 'images', key: 'folder/new' }, Buffer.from('x'))).rejects.toThrow(
      ObjectNameError,
    );
    expect(await readdir(join(root, 'elsewhere'))).toEqual(['file']);
    expect(await collect(buckets.list('images'))).toEqual([]);
  });

  it('follows a link that stays inside the bucket', async () => {
    await writeFile(path('real'), 'yours');
    await symlink('real', path('alias'));
    const source = await sourceOf('alias');
    const back = Buffer.alloc(5);
    await source.read(0, back);
    await source.close();
    expect(back.toString()).toBe('yours');
  });

  it('does not hang on a pipe and takes no folder for an object', async () => {
    await run('mkfifo', [path('pipe')]);
    await mkdir(path('folder'));
    expect(await buckets.pin({ bucket: 'images', key: 'pipe' })).toBeUndefined();
    expect(await buckets.pin({ bucket: 'images', key: 'folder' })).toBeUndefined();
    await expect(buckets.put({ bucket: 'images', key: 'folder' }, Buffer.from('x'))).rejects.toThrow(ObjectNameError);
  });

  it.each([
    ['appended to', () => appendFile(path('file'), 'x')],
    ['cut', () => truncate(path('file'), 4000)],
    [
      'rewritten in place with another date',
      async () => {
        const handle = await open(path('file'), 'r+');
        await handle.write(Buffer.from('x'), 0, 1, 0);
        await handle.close();
        // A date of its own: two writes within one tick of the file system's clock have the same one.
        await utimes(path('file'), 1_000_000, 1_000_001);
      },
    ],
  ])('fails a read after the file was %s', async (_how, change) => {
    await writeFile(path('file'), Buffer.alloc(5000, 1));
    const source = await sourceOf('file');
    await change();
    await expect(source.read(0, Buffer.alloc(100))).rejects.toThrow(SourceChangedError);
    await source.close();
  });

  it('fails a read after the file was rewritten in place and its date put back', async () => {
    const date = 1_000_000;
    await writeFile(path('file'), Buffer.alloc(5000, 1));
    await utimes(path('file'), date, date);
    const source = await sourceOf('file');
    const before = await stat(path('file'), { bigint: true });
    // Within one tick of the file system's clock the rewrite has no time of its own yet.
    for (let now = before; now.ctimeNs === before.ctimeNs; now = await stat(path('file'), { bigint: true })) {
      await writeFile(path('file'), Buffer.alloc(5000, 2), { flag: 'r+' });
      await utimes(path('file'), date, date);
    }
    await expect(source.read(0, Buffer.alloc(100))).rejects.toThrow(SourceChangedError);
    await source.close();
  });

  it('names only the data of a sparse file', async () => {
    const handle = await open(path('sparse'), 'w');
    await handle.write(Buffer.alloc(65_536, 1), 0, 65_536, 1_048_576);
    await handle.write(Buffer.alloc(65_536, 2), 0, 65_536, 8_388_608);
    await handle.truncate(1_073_741_824);
    await handle.close();
    const source = await sourceOf('sparse');
    const ranges = await collect(source.dataRanges());
    await source.close();
    expect(ranges).toEqual([
      { offset: 1_048_576, length: 65_536 },
      { offset: 8_388_608, length: 65_536 },
    ]);
  });

  it('reads the region and class that a bucket states for itself (IMG.0058)', async () => {
    await writeFile(path('.ims-bucket.json'), JSON.stringify({ region: 'region-2', storageClass: 'COLD' }));
    expect(await buckets.describeBucket('images')).toEqual({ region: 'region-2', storageClass: 'COLD' });
    expect(await collect(buckets.list('images'))).toEqual([]);
  });

  it.each<[string, (at: string) => Promise<unknown>]>([
    ['a pipe', (at) => run('mkfifo', [at])],
    ['a link to a device without end', (at) => symlink('/dev/zero', at)],
    ['a link to another file', (at) => symlink('/etc/hostname', at)],
    ['a folder', (at) => mkdir(at)],
    ['longer than any description', (at) => writeFile(at, `{"region":"region-2"${' '.repeat(5_000)}}`)],
    ['no JSON', (at) => writeFile(at, '{"region":')],
    ['of a class that there is not', (at) => writeFile(at, '{"storageClass":"HOT"}')],
  ])('a description that is %s is refused at once as IMG.0069, and none of it is told', async (_what, make) => {
    await rm(path('.ims-bucket.json'), { force: true, recursive: true });
    await make(path('.ims-bucket.json'));
    try {
      await expect(buckets.describeBucket('images')).rejects.toMatchObject({
        code: 'IMG.0069',
        status: 400,
        message: 'Bucket not accessible: .ims-bucket.json of bucket images is not valid',
      });
    } finally {
      await rm(path('.ims-bucket.json'), { recursive: true });
    }
  });

  it('leaves no temporary file behind, neither of a success nor of a failure', async () => {
    await buckets.put({ bucket: 'images', key: 'good' }, Buffer.from('x'));
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from('x');
        throw new Error('the sender went away');
      })(),
    );
    await expect(buckets.put({ bucket: 'images', key: 'bad' }, broken)).rejects.toThrow('the sender went away');
    expect(await readdir(path('.ims-incoming'))).toEqual([]);
    expect((await collect(buckets.list('images'))).map((file) => file.key)).toEqual(['good']);
  });

  it('keeps the old object when its replacement fails', async () => {
    await buckets.put({ bucket: 'images', key: 'file' }, Buffer.from('old'));
    await expect(buckets.put({ bucket: 'images', key: 'file' }, Readable.from([Buffer.from('n')]), 2)).rejects.toThrow(
      BodyLengthError,
    );
    expect(await readFile(path('file'), 'utf8')).toBe('old');
  });

  it('lists in byte order, as object stores do', async () => {
    for (const key of ['b', 'a/b', 'a-b', 'ä', 'a/b.raw', 'A'])
      await buckets.put({ bucket: 'images', key }, Buffer.from(key));
    const keys = (await collect(buckets.list('images'))).map((file) => file.key);
    expect(keys).toEqual(['A', 'a-b', 'a/b', 'a/b.raw', 'b', 'ä']);
  });

  describe('and exports that go there', () => {
    const BYTES = Buffer.from('bytes of a part');
    const file = (key: string) => ({ bucket: 'images', key });
    const start = (key: string) => buckets.startUpload(file(key), { owner: 'job-1', partSizeBytes: 2 ** 20 });
    const send = async (key: string): Promise<unknown> => {
      const upload = await start(key);
      const md5 = createHash('md5').update(BYTES).digest();
      const part = await buckets.putPart(upload, 1, { pieces: [BYTES], sizeBytes: BYTES.length, md5 });
      return buckets.completeUpload(upload, [part]);
    };

    it.each(['taken', 'folder', 'link', 'dangling'])('never take the name of a %s (IMG.0070)', async (key) => {
      await writeFile(path('taken'), 'mine');
      await mkdir(path('folder'));
      await symlink('taken', path('link'));
      await symlink('nowhere', path('dangling'));
      await expect(send(key)).rejects.toThrow(ObjectExistsError);
      await expect(buckets.createObject(file(key), BYTES)).rejects.toThrow(ObjectExistsError);
    });

    it('are refused at once under an object that is no folder', async () => {
      await writeFile(path('taken'), 'mine');
      await expect(start('taken/x/y')).rejects.toThrow(ObjectNameError);
      await expect(buckets.put(file('taken/x/y'), BYTES)).rejects.toThrow(ObjectNameError);
      expect(await readdir(path())).not.toContain('.ims-incoming');
    });

    it('find their folder though others make and remove it', async () => {
      const many = async (key: string): Promise<void> => {
        for (let n = 0; n < 25; n += 1) {
          await (n % 2 === 0 ? buckets.createObject(file(key), BYTES) : send(key));
          await buckets.remove(file(key));
        }
      };
      await Promise.all(['a', 'b', 'c', 'd'].map((name) => many(`folder/in/${name}`)));
      expect(await readdir(path())).toEqual(['.ims-incoming']);
    });

    it('make nothing outside of the bucket, whatever links are in it', async () => {
      const outside = join(root, 'elsewhere');
      await mkdir(outside);
      await symlink(outside, path('folder'));
      await expect(start('folder/x/y')).rejects.toThrow(ObjectNameError);
      await expect(buckets.put(file('folder/x/y'), BYTES)).rejects.toThrow(ObjectNameError);
      await expect(buckets.createObject(file('folder/x/y'), BYTES)).rejects.toThrow(ObjectNameError);
      await symlink(outside, path('.ims-incoming'));
      await expect(start('x')).rejects.toThrow(ObjectNameError);
      await expect(buckets.put(file('x'), BYTES)).rejects.toThrow(ObjectNameError);
      await expect(buckets.createObject(file('x'), BYTES)).rejects.toThrow(ObjectNameError);
      expect(await readdir(outside)).toEqual([]);
    });

    it('write into no file that waits for them', async () => {
      const upload = await start('x');
      await buckets.abortUpload(upload);
      const folder = path('.ims-incoming', upload.uploadId.split('.')[0] ?? '');
      await mkdir(folder);
      await writeFile(join(root, 'secret'), '');
      await symlink(join(root, 'secret'), join(folder, 'data'));
      await expect(start('x')).rejects.toThrow();
      await rm(join(folder, 'data'));
      await run('mkfifo', [join(folder, 'data')]);
      await expect(start('x')).rejects.toThrow();
    });

    it('leave nothing of a small object that a dead process was creating, and do not touch what it had made', async () => {
      await buckets.createObject(file('sums'), BYTES);
      const made = await stat(path('sums'), { bigint: true });
      // As a process leaves it that dies before it removes its temporary file.
      await link(path('sums'), path('.ims-incoming', createdName('sums')));
      await expect(buckets.createObject(file('sums'), BYTES)).rejects.toThrow(ObjectExistsError);
      expect((await stat(path('sums'), { bigint: true })).mtimeNs).toBe(made.mtimeNs);
      expect(await readdir(path('.ims-incoming'))).toEqual([]);
      await writeFile(path('.ims-incoming', createdName('sums')), 'half');
      await buckets.removeCreated(file('sums'), BYTES);
      expect(await readdir(path())).toEqual(['.ims-incoming']);
      expect(await readdir(path('.ims-incoming'))).toEqual([]);
    });
  });

  it('removes the folders that only the removed object was in', async () => {
    await buckets.put({ bucket: 'images', key: 'a/b/c' }, Buffer.from('x'));
    await buckets.put({ bucket: 'images', key: 'a/d' }, Buffer.from('x'));
    await buckets.remove({ bucket: 'images', key: 'a/b/c' });
    expect(await readdir(path('a'))).toEqual(['d']);
  });
});
