import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  BodyLengthError,
  type BucketStore,
  ObjectExistsError,
  ObjectNameError,
  type ObjectUpload,
  openSource,
  SourceChangedError,
  UploadGoneError,
} from '../index';

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

    describe('uploads in parts (EXP-01, backends D1)', () => {
      // The least that S3 servers take for a part that is not the last one.
      const PART = 5 * 2 ** 20;
      const first = randomBytes(PART);
      const second = randomBytes(1000);
      const bodyOf = (bytes: Buffer) => ({
        pieces: [bytes.subarray(0, 100), bytes.subarray(100)],
        sizeBytes: bytes.length,
        md5: createHash('md5').update(bytes).digest(),
      });
      const start = (key: string, owner = 'job-1') =>
        buckets.startUpload({ bucket: 'images', key }, { owner, partSizeBytes: PART });
      const read = async (upload: ObjectUpload): Promise<Buffer> => {
        const pinned = await buckets.pin(upload.file);
        if (pinned === undefined) throw new Error(`${upload.file.key} is absent`);
        const source = await openSource(buckets.describe(pinned));
        const bytes = Buffer.alloc(source.sizeBytes);
        await source.read(0, bytes);
        await source.close();
        return bytes;
      };

      it('shows nothing before it is complete, and then the whole', async () => {
        const upload = await start('out/two.bin');
        // In any order, and one of them twice.
        const b = await buckets.putPart(upload, 2, bodyOf(second));
        await buckets.putPart(upload, 1, bodyOf(randomBytes(PART)));
        const a = await buckets.putPart(upload, 1, bodyOf(first));
        expect(await buckets.listParts(upload)).toEqual(expect.arrayContaining([a, b]));
        expect(await buckets.pin(upload.file)).toBeUndefined();
        expect(await buckets.objectOf(upload)).toBeUndefined();
        expect((await collect(buckets.list('images', 'out/'))).map(({ key }) => key)).not.toContain('out/two.bin');
        const made = await buckets.completeUpload(upload, [a, b]);
        expect(made.sizeBytes).toBe(PART + 1000);
        expect((await read(upload)).equals(Buffer.concat([first, second]))).toBe(true);
        expect(await buckets.objectOf(upload)).toEqual(made);
        // Its answer may be lost: the second call finds what the first one made.
        expect(await buckets.completeUpload(upload, [a, b])).toEqual(made);
        expect(await buckets.listParts(upload)).toEqual([]);
      });

      it('goes on with an upload that another process began', async () => {
        const upload = await start('out/resumed.bin');
        const a = await buckets.putPart(upload, 1, bodyOf(first));
        const again = JSON.parse(JSON.stringify(upload)) as ObjectUpload;
        expect(await buckets.listParts(again)).toEqual([a]);
        const b = await buckets.putPart(again, 2, bodyOf(second));
        await buckets.completeUpload(again, [a, b]);
        expect((await read(again)).length).toBe(PART + 1000);
      });

      it('leaves nothing of an upload that was dropped, and knows its parts no more', async () => {
        const upload = await start('out/dropped.bin');
        const a = await buckets.putPart(upload, 1, bodyOf(first));
        await buckets.abortUpload(upload);
        await buckets.abortUpload(upload);
        expect(await buckets.listParts(upload)).toEqual([]);
        expect(await buckets.pendingUploads(upload.file)).toEqual([]);
        await expect(buckets.putPart(upload, 2, bodyOf(second))).rejects.toThrow(UploadGoneError);
        await expect(buckets.completeUpload(upload, [a])).rejects.toThrow(UploadGoneError);
        expect(await buckets.pin(upload.file)).toBeUndefined();
      });

      it('finds an upload again whose start was not answered', async () => {
        const upload = await start('out/started.bin', 'job-2');
        await start('out/started.bin.longer', 'job-2');
        const pending = await buckets.pendingUploads(upload.file);
        const again = await start('out/started.bin', 'job-2');
        // Either the store lists what is under way, or it gives the same upload to the same owner.
        expect(again.uploadId === upload.uploadId ? [upload.uploadId] : pending).toEqual([upload.uploadId]);
      });

      it('never replaces an object, whoever was first (IMG.0070)', async () => {
        const [one, other] = await Promise.all([start('out/raced.bin', 'job-1'), start('out/raced.bin', 'job-2')]);
        const [a, b] = await Promise.all([
          buckets.putPart(one, 1, bodyOf(second)),
          buckets.putPart(other, 1, bodyOf(first)),
        ]);
        await buckets.completeUpload(one, [a]);
        await expect(buckets.completeUpload(other, [b])).rejects.toThrow(ObjectExistsError);
        expect(await buckets.objectOf(other)).toBeUndefined();
        expect((await read(one)).equals(second)).toBe(true);
        await stored('out/there.bin', Buffer.from('mine'));
        const late = await start('out/there.bin');
        const part = await buckets.putPart(late, 1, bodyOf(first));
        await expect(buckets.completeUpload(late, [part])).rejects.toThrow(ObjectExistsError);
        await buckets.abortUpload(late);
        expect((await read(late)).toString()).toBe('mine');
      });

      it('refuses bytes that differ from their checksum', async () => {
        const upload = await start('out/damaged.bin');
        const body = { ...bodyOf(second), md5: createHash('md5').update('other bytes').digest() };
        await expect(buckets.putPart(upload, 1, body)).rejects.toThrow();
        expect(await buckets.listParts(upload)).toEqual([]);
        await buckets.abortUpload(upload);
      });

      it('makes an object of no bytes of one part of none', async () => {
        const upload = await start('out/nothing.bin');
        const part = await buckets.putPart(upload, 1, bodyOf(Buffer.alloc(0)));
        expect((await buckets.completeUpload(upload, [part])).sizeBytes).toBe(0);
      });

      it('creates a small object once', async () => {
        const file = { bucket: 'images', key: 'out/sums' };
        const made = await buckets.createObject(file, Buffer.from('abc  two.bin\n'));
        expect(await buckets.pin(file)).toEqual(made);
        await expect(buckets.createObject(file, Buffer.from('other'))).rejects.toThrow(ObjectExistsError);
        expect((await buckets.pin(file))?.sizeBytes).toBe(made.sizeBytes);
        // Taken back by whoever made it, and by nobody else.
        await buckets.removeCreated(file, Buffer.from('abc  other.bin\n'));
        await buckets.removeCreated(file, Buffer.from('abc  two.bin\nand more'));
        expect(await buckets.pin(file)).toEqual(made);
        await buckets.removeCreated(file, Buffer.from('abc  two.bin\n'));
        await buckets.removeCreated(file, Buffer.from('abc  two.bin\n'));
        expect(await buckets.pin(file)).toBeUndefined();
      });

      it('has no upload in a bucket that is not there (IMG.0069), and none under a bad name', async () => {
        const options = { owner: 'job-1', partSizeBytes: PART };
        const nowhere = buckets.startUpload({ bucket: 'no-such-bucket', key: 'x' }, options);
        await expect(nowhere).rejects.toMatchObject({ code: 'IMG.0069' });
        await expect(buckets.startUpload({ bucket: 'images', key: '../x' }, options)).rejects.toThrow(ObjectNameError);
      });
    });
  });
}
