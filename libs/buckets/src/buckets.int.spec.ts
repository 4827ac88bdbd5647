import { randomBytes } from 'node:crypto';
import {
  appendFile,
  mkdir,
  mkdtemp,
  open,
  readFile,
  readdir,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import {
  BodyLengthError,
  type BucketStore,
  ObjectNameError,
  SourceChangedError,
  createBuckets,
  openSource,
} from './index';

const run = promisify(execFile);
const REGION = 'region-1';

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

interface Driver {
  buckets: BucketStore;
  stop(): Promise<void>;
}

/** What every driver must do; run against directories and against an S3 server of somebody else. */
function describeBucketContract(name: string, start: () => Promise<Driver>): void {
  describe(name, () => {
    let driver: Driver;
    let buckets: BucketStore;
    beforeAll(async () => {
      driver = await start();
      buckets = driver.buckets;
      await buckets.createBucket('images');
    });
    afterAll(() => driver.stop());

    const stored = (key: string, bytes: Uint8Array) => buckets.put({ bucket: 'images', key }, bytes);

    it('knows its buckets by region and class, and no others', async () => {
      expect(await buckets.describeBucket('images')).toEqual({ region: REGION, storageClass: 'STANDARD' });
      expect(await buckets.describeBucket('no-such-bucket')).toBeUndefined();
      expect(await buckets.describeBucket('../images')).toBeUndefined();
    });

    it('creates a bucket twice without harm', async () => {
      await stored('survivor', Buffer.from('kept'));
      await buckets.createBucket('images');
      expect((await buckets.pin({ bucket: 'images', key: 'survivor' }))?.sizeBytes).toBe(4);
    });

    it('gives back what was put, whole and in ranges', async () => {
      const bytes = randomBytes(300_001);
      const pinned = await stored('exports/db disk ü.raw', bytes);
      expect(pinned).toMatchObject({ bucket: 'images', key: 'exports/db disk ü.raw', sizeBytes: bytes.length });
      expect(await buckets.pin(pinned)).toEqual(pinned);
      const source = await openSource(buckets.describe(pinned));
      const whole = Buffer.alloc(bytes.length);
      await source.read(0, whole);
      const part = Buffer.alloc(1000);
      await source.read(bytes.length - 1000, part);
      await source.close();
      expect(whole.equals(bytes)).toBe(true);
      expect(part.equals(bytes.subarray(-1000))).toBe(true);
    });

    it('takes a stream of known length', async () => {
      const bytes = randomBytes(200_000);
      const body = Readable.from([bytes.subarray(0, 70_000), bytes.subarray(70_000)]);
      const pinned = await buckets.put({ bucket: 'images', key: 'streamed' }, body, bytes.length);
      const source = await openSource(buckets.describe(pinned));
      const back = Buffer.alloc(bytes.length);
      await source.read(0, back);
      await source.close();
      expect(back.equals(bytes)).toBe(true);
    });

    it.each([-1, 1])('keeps nothing of a stream that is %d byte off its announced length', async (difference) => {
      const body = Readable.from([Buffer.alloc(1000)]);
      const file = { bucket: 'images', key: `short${difference}` };
      await expect(buckets.put(file, body, 1000 + difference)).rejects.toThrow(BodyLengthError);
      expect(await buckets.pin(file)).toBeUndefined();
    });

    it('refuses reads that leave the file', async () => {
      const source = await openSource(buckets.describe(await stored('ten', Buffer.alloc(10, 7))));
      await expect(source.read(0, Buffer.alloc(11))).rejects.toThrow(RangeError);
      await expect(source.read(-1, Buffer.alloc(1))).rejects.toThrow(RangeError);
      await source.read(10, Buffer.alloc(0));
      await source.close();
    });

    it('names the same bytes as data whatever the store can tell', async () => {
      const pinned = await stored('plain', randomBytes(100_000));
      const source = await openSource(buckets.describe(pinned));
      expect(await collect(source.dataRanges())).toEqual([{ offset: 0, length: 100_000 }]);
      await source.close();
    });

    it('has no data ranges in an empty file', async () => {
      const pinned = await stored('empty', Buffer.alloc(0));
      expect(pinned.sizeBytes).toBe(0);
      const source = await openSource(buckets.describe(pinned));
      expect(await collect(source.dataRanges())).toEqual([]);
      await source.close();
    });

    it('fails every read after the object was replaced', async () => {
      const pinned = await stored('replaced', Buffer.alloc(5000, 1));
      const source = await openSource(buckets.describe(pinned));
      await source.checkUnchanged();
      await stored('replaced', Buffer.alloc(5000, 2));
      await expect(source.read(0, Buffer.alloc(10))).rejects.toThrow(SourceChangedError);
      await expect(source.checkUnchanged()).rejects.toThrow(SourceChangedError);
      await source.close();
      await expect(openSource(buckets.describe(pinned))).rejects.toThrow(SourceChangedError);
    });

    it('fails every read after the object was removed', async () => {
      const pinned = await stored('removed', Buffer.alloc(5000, 1));
      const source = await openSource(buckets.describe(pinned));
      await buckets.remove(pinned);
      expect(await buckets.pin(pinned)).toBeUndefined();
      await expect(source.read(0, Buffer.alloc(10))).rejects.toThrow(SourceChangedError);
      await source.close();
      await buckets.remove(pinned);
    });

    it('stops a read that was cancelled', async () => {
      const source = await openSource(buckets.describe(await stored('cancelled', Buffer.alloc(10))));
      await expect(source.read(0, Buffer.alloc(10), AbortSignal.abort())).rejects.toThrow(/abort/i);
      await source.close();
    });

    it('lists by prefix in byte order', async () => {
      await buckets.createBucket('listed');
      const keys = ['a/b', 'a-b', 'a/b.raw', 'b', 'a', 'ä', 'deep/er/est'].filter((key) => key !== 'a');
      for (const key of keys) await buckets.put({ bucket: 'listed', key }, Buffer.from(key));
      const all = (await collect(buckets.list('listed'))).map((file) => file.key);
      expect(all).toEqual(['a-b', 'a/b', 'a/b.raw', 'b', 'deep/er/est', 'ä']);
      const some = await collect(buckets.list('listed', 'a/b'));
      expect(some.map((file) => file.key)).toEqual(['a/b', 'a/b.raw']);
      expect(some[0]).toEqual(await buckets.pin({ bucket: 'listed', key: 'a/b' }));
    });

    it.each([
      ['', 'empty'],
      ['../images/ten', 'a way up'],
      ['a/../ten', 'a way up inside'],
      ['/etc/passwd', 'an absolute path'],
      ['a//b', 'an empty component'],
      ['./ten', 'a dot component'],
      ['te\0n', 'NUL'],
      ['k'.repeat(256), 'a component over 255 bytes'],
      [`${'k/'.repeat(512)}k`, 'a key over 1024 bytes'],
      ['.ims-incoming/x', 'a reserved name'],
      ['\ud800', 'half a surrogate pair'],
    ])('has no object %j: %s', async (key) => {
      expect(await buckets.pin({ bucket: 'images', key })).toBeUndefined();
      await expect(buckets.put({ bucket: 'images', key }, Buffer.from('x'))).rejects.toThrow(ObjectNameError);
    });

    it('takes names at their limits', async () => {
      const component = await stored('k'.repeat(255), Buffer.from('x'));
      expect(await buckets.pin(component)).toEqual(component);
      const key = `${'k'.repeat(200)}/`.repeat(5).slice(0, 1005) + 'z'.repeat(19);
      expect(Buffer.byteLength(key)).toBe(1024);
      const whole = await stored(key, Buffer.from('x'));
      expect(await buckets.pin(whole)).toEqual(whole);
    });

    it.each(['ab', 'Upper', 'under_score', 'a..b', '-abc', 'abc.', '..', 'x'.repeat(64)])(
      'refuses the bucket name %s',
      async (name) => {
        await expect(buckets.createBucket(name)).rejects.toThrow(ObjectNameError);
        await expect(buckets.put({ bucket: name, key: 'x' }, Buffer.from('x'))).rejects.toThrow(ObjectNameError);
      },
    );
  });
}

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

  it('removes the folders that only the removed object was in', async () => {
    await buckets.put({ bucket: 'images', key: 'a/b/c' }, Buffer.from('x'));
    await buckets.put({ bucket: 'images', key: 'a/d' }, Buffer.from('x'));
    await buckets.remove({ bucket: 'images', key: 'a/b/c' });
    expect(await readdir(path('a'))).toEqual(['d']);
  });
});
