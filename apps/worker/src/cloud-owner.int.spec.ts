import { randomUUID } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '@ims/db';
import { createImageStore } from '@ims/image-store';
import { openEmbeddedCloud, storedImages } from '@ims/neighbours';
import { temporaryDirectory, testDatabase, testTemporal, waitFor } from '@ims/testing';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { CloudOwner } from './cloud-owner';

const TWO_DAYS_MS = 2 * 24 * 60 * 60_000;

describe(CloudOwner.name, () => {
  it('removes what a death left of disks while it runs, and only where it is the owner (I4)', async () => {
    // Workers that come and go are no news.
    Runtime.install({ logger: new DefaultLogger('ERROR') });
    const database = await testDatabase();
    const { db } = database;
    const directory = await temporaryDirectory();
    const at = await testTemporal();
    const connection = await NativeConnection.connect({ address: at.address });
    const store = createImageStore({ db, directory: join(directory, 'store'), threads: 1 });
    const cloud = await openEmbeddedCloud({
      db,
      directory: join(directory, 'cloud'),
      images: storedImages(store),
      qemu: false,
      // To it a file of now is as old as what the death of a day ago left.
      clock: { ...systemClock, now: () => new Date(systemClock.now().getTime() + TWO_DAYS_MS) },
    });
    const taken: string[] = [];
    const ownerOf = (name: string): CloudOwner =>
      new CloudOwner({
        db,
        cloud,
        createWorker: async () => {
          const worker = await Worker.create({
            connection,
            namespace: at.namespace,
            taskQueue: `cloud-owner-${randomUUID()}`,
            activities: { nothing: () => Promise.resolve() },
          });
          taken.push(name);
          return worker;
        },
        log: pino({ level: 'silent' }),
      });
    const [owner, other] = [ownerOf('owner'), ownerOf('other')];
    const layers = join(directory, 'cloud', 'layers');
    try {
      owner.start();
      await waitFor(() => Promise.resolve(taken.includes('owner')), { deadlineMs: 30_000, what: 'the cloud is owned' });
      other.start();
      await mkdir(layers, { recursive: true });
      await writeFile(join(layers, `${randomUUID()}.raw`), 'left by a death');
      await other.sweep();
      expect(await readdir(layers)).toHaveLength(1);
      await waitFor(
        async () => {
          await owner.sweep();
          return (await readdir(layers)).length === 0;
        },
        { deadlineMs: 10_000, what: 'the file is swept' },
      );
      expect(taken).toEqual(['owner']);
    } finally {
      await Promise.all([owner.stop(), other.stop()]);
      await cloud.close();
      await store.close();
      await connection.close();
      await database.drop();
    }
  });
});
