import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { DirectoryBuckets } from '@ims/buckets';
import { dedupDomainId, imageId, jobId } from '@ims/contract';
import { inTransaction, systemClock } from '@ims/db';
import { createImageStore, type IngestRequest } from '@ims/image-store';
import { type EmbeddedCloud, openEmbeddedCloud, storedImages } from '@ims/neighbours';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';
import { sql } from 'kysely';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const PROJECT = 'a'.repeat(32);

/** Disks made from images, of which little is read: what the holes cost. Times are printed, none is a limit. */
describe('disks made from an image of 1 GiB with 64 MiB of data', () => {
  let database: TestDatabase;
  let store: ReturnType<typeof createImageStore>;
  let cloud: EmbeddedCloud;
  let image: { imageId: string; domainId: string; manifestHash: string };

  const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const began = systemClock.now().getTime();
    const result = await work();
    process.stderr.write(`${what}: ${systemClock.now().getTime() - began} ms\n`);
    return result;
  };
  const ingest = async (disk: IngestRequest['disk']): Promise<{ manifestHash: string }> => {
    const job = jobId(randomUUID().replaceAll('-', ''));
    await database.db
      .insertInto('job')
      .values({
        id: job,
        project_id: PROJECT,
        type: 'imsImportImageJob',
        saga: 'image-create',
        status: 'RUNNING',
        image_name: 'bench',
        request: JSON.stringify({}),
        steps: ['ingest'],
        begin_at: sql`now()`,
      })
      .execute();
    const domainId = await store.plainDomain(PROJECT);
    const ingested = await store.ingest({
      jobId: job,
      domainId,
      disk,
      onProgress: () => undefined,
      signal: new AbortController().signal,
    });
    const published = { imageId: imageId(randomUUID()), domainId, manifestHash: ingested.manifestHash };
    await inTransaction(database.db, (trx) => store.publish(trx, { jobId: job, ...published }));
    return ingested;
  };
  const fromImage = (sizeGib: number, role: 'system' | 'data') => ({
    id: randomUUID(),
    create: { sizeGib, use: role, origin: { from: 'image' as const, image, role } },
    bootIndex: role === 'system' ? 0 : null,
  });

  beforeAll(async () => {
    database = await testDatabase();
    const directory = await temporaryDirectory();
    store = createImageStore({ db: database.db, directory: join(directory, 'store'), threads: 2 });
    const images = storedImages(store);
    cloud = await openEmbeddedCloud({ db: database.db, directory: join(directory, 'cloud'), images, qemu: false });
    await mkdir(join(directory, 'buckets', 'images'), { recursive: true });
    const file = await open(join(directory, 'buckets', 'images', 'disk.raw'), 'w');
    await file.truncate(GIB);
    // 16 pieces with holes between them, as file systems leave.
    for (let piece = 0; piece < 16; piece += 1) await file.write(randomBytes(4 * MIB), 0, 4 * MIB, piece * 64 * MIB);
    await file.close();
    const buckets = new DirectoryBuckets(join(directory, 'buckets'), 'region-1');
    const pinned = await buckets.pin({ bucket: 'images', key: 'disk.raw' });
    if (pinned === undefined) throw new Error('no source file');
    const disk = { reader: 'raw' as const, source: buckets.describe(pinned), virtualSizeBytes: GIB };
    const { manifestHash } = await timed('ingest of the file itself', () => ingest(disk));
    image = { imageId: randomUUID(), domainId: dedupDomainId(await store.plainDomain(PROJECT)), manifestHash };
  });
  afterAll(async () => {
    await cloud.close();
    await store.close();
    await database.drop();
  });

  it('are imaged, hydrated, backed up and mapped', async () => {
    const blank = { id: randomUUID(), create: { sizeGib: 10, origin: { from: 'blank' as const } }, bootIndex: null };
    const volumes = [fromImage(1, 'system'), fromImage(10, 'data'), blank];
    const server = await cloud.servers.create({
      id: randomUUID(),
      projectId: PROJECT,
      name: 'web',
      kind: 'ecs',
      flavor: { id: 's6', vcpus: 1, ramMib: 1024, architecture: 'x86', series: 'S6' },
      availabilityZone: 'az1',
      volumes,
      initialStatus: 'SHUTOFF',
    });
    const root = volumes[0]?.id ?? '';
    const snapshot = randomUUID();
    await cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume: { [root]: snapshot } });
    const imaging = await cloud.volumes.openForImaging(PROJECT, snapshot);
    const again = await timed('ingest of the disk of 1 GiB made from the image', () => ingest(imaging.disk));
    await imaging.release();
    expect(again.manifestHash).toBe(image.manifestHash);

    const vault = await cloud.backups.createVault({
      id: randomUUID(),
      projectId: PROJECT,
      name: 'vault',
      objectType: 'server',
      protectType: 'backup',
      sizeGib: 100,
    });
    const backUp = () =>
      cloud.backups.createCheckpoint({
        id: randomUUID(),
        projectId: PROJECT,
        vaultId: vault.id,
        serverId: server.id,
        name: 'nightly',
      });
    const full = await timed('backup of 1 GiB and 10 GiB from the image and 10 GiB blank', backUp);
    expect(full.bytesStored).toBe(128 * MIB);
    expect((await timed('backup of them again', backUp)).bytesStored).toBe(0);

    await timed('hydration of the disk of 10 GiB', () =>
      cloud.volumes.hydrate({ projectId: PROJECT, volumeId: volumes[1]?.id ?? '' }),
    );
    const large = await cloud.volumes.create({
      id: randomUUID(),
      projectId: PROJECT,
      sizeGib: 1024,
      origin: { from: 'image', image, role: 'data' },
    });
    const { disk, release } = await cloud.volumes.exportDisk(PROJECT, large.id, { readOnly: true });
    const runs = await timed('status of a disk of 1 TiB', async () => disk.status(0, disk.sizeBytes));
    process.stderr.write(`runs: ${runs.length}\n`);
    expect(runs.reduce((sum, { length }) => sum + length, 0)).toBe(disk.sizeBytes);
    await release();
  }, 600_000);
});
