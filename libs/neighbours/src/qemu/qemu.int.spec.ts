import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DirectoryBuckets } from '@ims/buckets';
import type { DiskDescriptor } from '@ims/image-format';
import {
  bootSector,
  COUNTER_SECTOR,
  HALT,
  temporaryDirectory,
  testDatabase,
  type TestDatabase,
  waitFor,
} from '@ims/testing';
import { PROJECT, readImaging, x86Flavor } from '../contract/builders';
import { type EmbeddedCloud, openEmbeddedCloud } from '../embedded/embedded-cloud';
import { QemuBootCheck } from './boot-check';
import { whyNoMachine } from './qemu-machine';

const SECTOR_BYTES = 512;

// inc dword [0x8000]; mov si,0x7d80; mov ah,0x43; xor al,al; int 0x13 (dl is the boot drive still loaded by the firmware: 0x80); jmp back
const COUNT_FOR_EVER = [
  0xb2, 0x80, 0x66, 0xff, 0x06, 0x00, 0x80, 0xbe, 0x80, 0x7d, 0xb4, 0x43, 0x30, 0xc0, 0xcd, 0x13, 0xeb, 0xee,
];

let directory: string;
let missing: string | undefined;

async function diskOf(name: string, bytes: Buffer): Promise<DiskDescriptor> {
  const buckets = new DirectoryBuckets(directory, 'local');
  await buckets.createBucket('disks');
  const file = await buckets.put({ bucket: 'disks', key: name }, bytes, bytes.length);
  return { reader: 'raw', source: buckets.describe(file), virtualSizeBytes: bytes.length };
}

function diskBytes(sector: Buffer): Buffer {
  const bytes = Buffer.alloc(1024 * 1024);
  sector.copy(bytes);
  return bytes;
}

beforeAll(async () => {
  directory = await temporaryDirectory();
  missing = await whyNoMachine('bios');
});

describe(QemuBootCheck.name, () => {
  it('says that a disk boots, with what its console printed; or that nothing was checked where no machine can run', async () => {
    const disk = await diskOf('boots.raw', diskBytes(bootSector('IMS-BOOT-OK', HALT)));
    const result = await new QemuBootCheck().bootCheck({
      disk,
      firmware: 'bios',
      timeoutMs: 30_000,
      expect: /IMS-BOOT-OK/,
    });
    if (missing === undefined) expect(result).toEqual({ verdict: 'boots', evidence: 'IMS-BOOT-OK' });
    else expect(result).toEqual({ verdict: 'not-checked', evidence: missing });
  });

  it('never says that an empty disk boots', async () => {
    const disk = await diskOf('empty.raw', Buffer.alloc(1024 * 1024));
    const result = await new QemuBootCheck().bootCheck({
      disk,
      firmware: 'bios',
      timeoutMs: 3_000,
      expect: /IMS-BOOT-OK/,
    });
    expect(result.verdict).toBe(missing === undefined ? 'does-not-boot' : 'not-checked');
  });
});

describe('servers as virtual machines', () => {
  let database: TestDatabase;
  let cloud: EmbeddedCloud;

  beforeAll(async () => {
    database = await testDatabase();
    const images = { open: () => Promise.reject(new Error('no image is used here')) };
    cloud = await openEmbeddedCloud({ db: database.db, directory: join(directory, 'cloud'), images, qemu: true });
  });

  afterAll(async () => {
    await cloud.close();
    await database.drop();
  });

  async function createServer(sector: Buffer): Promise<{ id: string; volumeId: string }> {
    const path = join(directory, `${randomUUID()}.raw`);
    await writeFile(path, diskBytes(sector));
    const [id, volumeId] = [randomUUID(), randomUUID()];
    await cloud.servers.create({
      id,
      projectId: PROJECT,
      name: 'guest',
      kind: 'ecs',
      flavor: { ...x86Flavor, ramMib: 64 },
      availabilityZone: 'az1',
      volumes: [{ id: volumeId, create: { sizeGib: 1, use: 'system', origin: { from: 'file', path } }, bootIndex: 0 }],
      initialStatus: 'SHUTOFF',
    });
    return { id, volumeId };
  }

  it('boots the disks of a server, pauses the guest for a snapshot, and switches it off (IMG-09)', async () => {
    const { id, volumeId } = await createServer(bootSector('IMS-BOOT-OK', COUNT_FOR_EVER));
    if (missing !== undefined) {
      await expect(cloud.servers.start(PROJECT, id)).rejects.toThrow(missing);
      expect((await cloud.servers.get(PROJECT, id))?.status).toBe('ERROR');
      return;
    }
    expect((await cloud.servers.start(PROJECT, id)).status).toBe('ACTIVE');
    await waitFor(async () => /IMS-BOOT-OK/.test((await cloud.servers.console(PROJECT, id)) ?? ''), {
      deadlineMs: 30_000,
      what: 'the guest to boot',
    });
    const counterIn = async (snapshotId: string): Promise<number> => {
      const imaging = await cloud.volumes.openForImaging(PROJECT, snapshotId);
      const bytes = await readImaging(imaging, COUNTER_SECTOR * SECTOR_BYTES, 4);
      await imaging.release();
      return bytes.readUInt32LE();
    };
    const take = async (): Promise<number> => {
      const snapshotId = randomUUID();
      const [snapshot] = await cloud.volumes.snapshot({
        projectId: PROJECT,
        snapshotIdsByVolume: { [volumeId]: snapshotId },
      });
      expect(snapshot?.quiescedBy).toBe('guest-paused');
      return counterIn(snapshotId);
    };
    const first = await take();
    // It goes on counting after each snapshot.
    await waitFor(async () => (await take()) > first, { deadlineMs: 30_000, what: 'the guest to go on' });
    await expect(cloud.volumes.detach({ projectId: PROJECT, volumeId, serverId: id })).rejects.toMatchObject({
      refusal: 'WRONG_STATE',
    });
    expect((await cloud.servers.stop(PROJECT, id)).status).toBe('SHUTOFF');
    expect(await cloud.servers.console(PROJECT, id)).toBeUndefined();
  });

  it('finds servers switched off whose machines died with their process', async () => {
    const { id } = await createServer(bootSector('IMS-BOOT-OK', HALT));
    await cloud.servers.setStatus(PROJECT, id, 'ACTIVE');
    await cloud.recover();
    expect((await cloud.servers.get(PROJECT, id))?.status).toBe('SHUTOFF');
  });
});
