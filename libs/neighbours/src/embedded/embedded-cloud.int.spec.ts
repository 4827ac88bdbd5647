import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '@ims/db';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';
import { describeBackupsPort } from '../contract/backups.contract';
import { aServer, aVolume, diskOf, expectRefusal, PROJECT } from '../contract/builders';
import type { NeighboursUnderTest } from '../contract/neighbours-under-test';
import { describeServersPort } from '../contract/servers.contract';
import { describeVolumesPort } from '../contract/volumes.contract';
import { LayerStore } from '../disk/layer-store';
import { ManifestHolds } from '../disk/manifest-holds';
import type { ImageDisk, ImageDiskRef, ImageDiskSource } from '../disk-image.port';
import { NeighbourError } from '../neighbour.errors';
import { type EmbeddedCloud, openEmbeddedCloud } from './embedded-cloud';

/** Images in memory, with their manifest rows in the database: what is deleted there is gone here. */
class StoredImages implements ImageDiskSource {
  readonly disks = new Map<string, Buffer>();
  bytesRead = 0;

  open(ref: ImageDiskRef): Promise<ImageDisk> {
    const bytes = this.disks.get(ref.manifestHash);
    if (bytes === undefined) return Promise.reject(new NeighbourError('NOT_FOUND', `disk of image ${ref.imageId}`));
    return Promise.resolve({
      virtualSizeBytes: bytes.length,
      read: (range: { offset: number; length: number }) => this.chunks(ref, range),
      dataRanges: ({ offset, length }: { offset: number; length: number }) => [
        { offset, length: Math.max(0, Math.min(length, bytes.length - offset)) },
      ],
    });
  }

  private async *chunks(
    ref: ImageDiskRef,
    { offset, length }: { offset: number; length: number },
  ): AsyncIterable<Uint8Array> {
    // Looked up at each read: an image that was removed is not readable through an old handle.
    const bytes = this.disks.get(ref.manifestHash);
    if (bytes === undefined) throw new Error(`the bytes of image ${ref.imageId} are gone`);
    for (let at = offset; at < offset + length; at += 100_000) {
      const chunk = await Promise.resolve(bytes.subarray(at, Math.min(at + 100_000, offset + length)));
      this.bytesRead += chunk.length;
      yield chunk;
    }
  }
}

let database: TestDatabase;
let directory: string;
let images: StoredImages;
let cloud: EmbeddedCloud;
let subject: NeighboursUnderTest;

const DOMAIN = randomUUID();

beforeAll(async () => {
  database = await testDatabase();
  directory = await temporaryDirectory();
  images = new StoredImages();
  cloud = await openEmbeddedCloud({ db: database.db, directory, images, qemu: false });
  subject = {
    ...cloud,
    write: async (projectId, volumeId, offset, bytes) => {
      const { disk, release } = await cloud.volumes.exportDisk(projectId, volumeId, { readOnly: false });
      await disk.write(offset, bytes).finally(release);
    },
    read: async (projectId, volumeId, offset, length) => {
      const { disk, release } = await cloud.volumes.exportDisk(projectId, volumeId, { readOnly: true });
      const bytes = Buffer.alloc(length, 0xee);
      await disk.read(offset, bytes).finally(release);
      return bytes;
    },
    image: async (bytes) => {
      const manifestHash = createHash('sha256').update(bytes).digest('hex');
      images.disks.set(manifestHash, bytes);
      await database.db
        .insertInto('manifest')
        .values({
          domain_id: DOMAIN,
          hash: manifestHash,
          virtual_size_bytes: bytes.length,
          segment_count: 1,
          published: true,
        })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      return { imageId: randomUUID(), domainId: DOMAIN, manifestHash };
    },
    imageBytesRead: () => images.bytesRead,
    deleteImage: async ({ manifestHash }) => {
      // As the store's collector does it: a manifest that is held stays.
      const removed = await database.db
        .deleteFrom('manifest')
        .where('hash', '=', manifestHash)
        .where(({ not, exists, selectFrom }) =>
          not(exists(selectFrom('manifest_hold').select('hash').where('hash', '=', manifestHash))),
        )
        .returning('hash')
        .executeTakeFirst();
      if (removed !== undefined) images.disks.delete(manifestHash);
      return removed !== undefined;
    },
    setServerStatus: async (projectId, serverId, status) => {
      await cloud.servers.setStatus(projectId, serverId, status);
    },
  };
});

afterAll(async () => {
  await cloud.close();
  await database.drop();
});

describeVolumesPort(() => subject);
describeServersPort(() => subject);
describeBackupsPort(() => subject);

describe('embedded cloud', () => {
  it('leaves no file and no row of content behind when everything is deleted', async () => {
    const project = 'e'.repeat(32);
    const before = await readdir(join(directory, 'layers'));
    const image = await subject.image(randomBytes(10_000));
    const volume = await cloud.volumes.create({
      id: randomUUID(),
      projectId: project,
      sizeGib: 10,
      origin: { from: 'image', image, role: 'data' },
    });
    const ids = [randomUUID(), randomUUID(), randomUUID()];
    for (const id of ids) {
      await subject.write(project, volume.id, 0, Buffer.from(id));
      await cloud.volumes.snapshot({ projectId: project, snapshotIdsByVolume: { [volume.id]: id } });
    }
    await cloud.volumes.delete(project, volume.id);
    for (const id of ids.reverse()) await cloud.volumes.deleteSnapshot(project, id);
    expect((await readdir(join(directory, 'layers'))).sort()).toEqual(before.sort());
    expect(await subject.deleteImage(image)).toBe(true);
  });

  it('serves each disk at a socket of its own, also those opened at the same moment', async () => {
    const references = new ManifestHolds();
    const layers = await LayerStore.open({ db: database.db, directory, images, references, clock: systemClock });
    const paths = await Promise.all([layers.socketPath(), layers.socketPath()]);
    expect(new Set(paths).size).toBe(2);
    await layers.close();
  });

  it('lets one process at a time open a disk', async () => {
    const { id } = await aVolume(subject);
    const other = await openEmbeddedCloud({ db: database.db, directory, images, qemu: false });
    const held = await cloud.volumes.exportDisk(PROJECT, id, { readOnly: true });
    await expectRefusal(other.volumes.exportDisk(PROJECT, id, { readOnly: true }), 'BUSY');
    await held.release();
    const next = await other.volumes.exportDisk(PROJECT, id, { readOnly: true });
    await next.release();
    await other.close();
  });

  it('keeps a disk of many snapshots shallow', async () => {
    const { id } = await aVolume(subject, { sizeGib: 10 });
    for (let round = 0; round < 20; round += 1) {
      const snapshotId = randomUUID();
      await subject.write(PROJECT, id, round * 100_000, Buffer.of(round + 1));
      await cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume: { [id]: snapshotId } });
      await cloud.volumes.deleteSnapshot(PROJECT, snapshotId);
    }
    const { disk, release } = await cloud.volumes.exportDisk(PROJECT, id, { readOnly: true });
    expect(disk.depth).toBeLessThan(18);
    for (let round = 0; round < 20; round += 1) {
      const byte = Buffer.alloc(1);
      await disk.read(round * 100_000, byte);
      expect(byte[0]).toBe(round + 1);
    }
    await release();
  });

  it('does not hold an image whose bytes are not stored', async () => {
    const image = await subject.image(randomBytes(5000));
    await database.db.deleteFrom('manifest').where('hash', '=', image.manifestHash).execute();
    await expectRefusal(aVolume(subject, { origin: { from: 'image', image, role: 'data' } }), 'NOT_FOUND');
  });

  it('frees servers whose task died with the process', async () => {
    const server = await aServer(subject);
    await cloud.servers.beginTask({ projectId: PROJECT, serverId: server.id, task: 'powering-on', holder: 'dead' });
    await cloud.recover();
    expect((await cloud.servers.get(PROJECT, server.id))?.taskState).toBeNull();
  });

  it('keeps the records of a retired backup line, read-only but for the claim (SVC-06)', async () => {
    const server = await aServer(subject);
    await subject.write(PROJECT, diskOf(server, 0), 0, Buffer.from('old line'));
    const id = randomUUID();
    const item = await cloud.backups.recordCsbsItem({ id, projectId: PROJECT, serverId: server.id, name: 'csbs' });
    expect(item).toMatchObject({ id, line: 'CSBS', vaultId: null, status: 'available', containsSystemDisk: true });
    expect(await cloud.backups.list(PROJECT, { serverId: server.id, line: 'CSBS' })).toHaveLength(1);
    await expectRefusal(cloud.backups.delete(PROJECT, id), 'INVALID');
    await cloud.backups.claimForImage({ projectId: PROJECT, backupId: id, imageId: randomUUID() });
    await expectRefusal(
      cloud.backups.claimForImage({ projectId: PROJECT, backupId: id, imageId: randomUUID() }),
      'ALREADY_IMAGED',
    );
  });
});
