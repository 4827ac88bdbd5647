import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { BodyLengthError, type BucketStore, ObjectNameError, SourceChangedError, openSource } from '../index';

/** Region that a driver under this contract has to report for its buckets. */
export const REGION = 'region-1';

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

export interface Driver {
  buckets: BucketStore;
  stop(): Promise<void>;
}

/** What every driver must do; run against directories and against an S3 server of somebody else. */
export function describeBucketContract(name: string, start: () => Promise<Driver>): void {
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

    it('lists each object once, and by prefix', async () => {
      await buckets.createBucket('listed');
      const keys = ['a/b', 'a-b', 'a/b.raw', 'b', 'ä', 'deep/er/est'];
      for (const key of keys) await buckets.put({ bucket: 'listed', key }, Buffer.from(key));
      const all = (await collect(buckets.list('listed'))).map((file) => file.key);
      expect(all.toSorted()).toEqual(keys.toSorted());
      const some = await collect(buckets.list('listed', 'a/b'));
      expect(some.map((file) => file.key)).toEqual(['a/b', 'a/b.raw']);
      expect(some[0]).toEqual(await buckets.pin({ bucket: 'listed', key: 'a/b' }));
    });

    it('lists nothing of a bucket that does not exist', async () => {
      expect(await collect(buckets.list('no-such-bucket'))).toEqual([]);
      expect(await collect(buckets.list('../images'))).toEqual([]);
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
