import { randomBytes, randomUUID } from 'node:crypto';
import { aServer, aVolume, diskOf, expectRefusal, extentsOf, PROJECT, readImaging } from './builders';
import type { NeighboursSetup } from './neighbours-under-test';

const MIB = 1024 * 1024;

/** What every driver of `VolumesPort` does. */
export function describeVolumesPort(setup: NeighboursSetup): void {
  describe('VolumesPort', () => {
    it('makes the same disk once however often it is asked, and refuses another one under its id', async () => {
      const { volumes } = setup();
      const request = { id: randomUUID(), projectId: PROJECT, sizeGib: 10, origin: { from: 'blank' } } as const;
      const made = await Promise.all(Array.from({ length: 5 }, () => volumes.create(request)));
      expect(new Set(made.map(({ id }) => id)).size).toBe(1);
      expect(await volumes.create(request)).toEqual(made[0]);
      await expectRefusal(volumes.create({ ...request, sizeGib: 11 }), 'CONFLICT');
    });

    it('finds nothing of another project', async () => {
      const cloud = setup();
      const { id } = await aVolume(cloud);
      const stranger = 'f'.repeat(32);
      expect(await cloud.volumes.get(stranger, id)).toBeUndefined();
      await expectRefusal(
        cloud.volumes.snapshot({ projectId: stranger, snapshotIdsByVolume: { [id]: randomUUID() } }),
        'NOT_FOUND',
      );
    });

    it.each([
      ['system', 0],
      ['system', 1025],
      ['data', 9],
      ['data', 32_769],
    ] as const)('refuses a %s disk of %i GiB', async (use, sizeGib) => {
      await expectRefusal(aVolume(setup(), { use, sizeGib }), 'WRONG_SIZE');
    });

    it.each([
      ['system', 1],
      ['system', 1024],
      ['data', 10],
      ['data', 32_768],
    ] as const)('makes a %s disk of %i GiB, whose last byte can be written', async (use, sizeGib) => {
      const cloud = setup();
      const { id } = await aVolume(cloud, { use, sizeGib });
      // Beyond what a file may hold here, the far end of the largest disk is not written, only read.
      const end = sizeGib * 1024 * MIB;
      if (sizeGib <= 1024) await cloud.write(PROJECT, id, end - 1, Buffer.of(7));
      expect((await cloud.read(PROJECT, id, end - 1, 1))[0]).toBe(sizeGib <= 1024 ? 7 : 0);
      await cloud.volumes.delete(PROJECT, id);
    });

    it('attaches a disk to one server, a shareable one to several, and names devices in order', async () => {
      const cloud = setup();
      const [one, two] = [await aServer(cloud), await aServer(cloud)];
      const { id } = await aVolume(cloud);
      const attached = await cloud.volumes.attach({ projectId: PROJECT, volumeId: id, serverId: one.id });
      expect(attached).toMatchObject({
        status: 'in-use',
        attachments: [{ serverId: one.id, device: '/dev/vdc', bootIndex: null }],
      });
      await cloud.volumes.attach({ projectId: PROJECT, volumeId: id, serverId: one.id });
      await expectRefusal(cloud.volumes.attach({ projectId: PROJECT, volumeId: id, serverId: two.id }), 'IN_USE');
      await expectRefusal(cloud.volumes.delete(PROJECT, id), 'IN_USE');
      expect((await cloud.volumes.detach({ projectId: PROJECT, volumeId: id, serverId: one.id })).status).toBe(
        'available',
      );
      await cloud.volumes.delete(PROJECT, id);
      await cloud.volumes.delete(PROJECT, id);
      expect(await cloud.volumes.get(PROJECT, id)).toBeUndefined();

      const shared = await aVolume(cloud, { shareable: true });
      await cloud.volumes.attach({ projectId: PROJECT, volumeId: shared.id, serverId: one.id });
      const both = await cloud.volumes.attach({ projectId: PROJECT, volumeId: shared.id, serverId: two.id });
      expect(both.attachments).toHaveLength(2);
    });

    it('encrypts by key, and what is made from an encrypted disk is encrypted as well', async () => {
      const cloud = setup();
      const { id } = await aVolume(cloud, { keyId: 'key-1' });
      const snapshotId = randomUUID();
      await cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume: { [id]: snapshotId } });
      expect(await aVolume(cloud, { origin: { from: 'snapshot', snapshotId } })).toMatchObject({
        encrypted: true,
        keyId: 'key-1',
      });
    });

    it('shows in a snapshot what was there, whatever is written later, and gives it to threads by its extents', async () => {
      const cloud = setup();
      const { id } = await aVolume(cloud);
      const content = randomBytes(3 * MIB);
      await cloud.write(PROJECT, id, 64 * MIB, content);
      const ids = [randomUUID(), randomUUID()] as const;
      const [first] = await cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume: { [id]: ids[0] } });
      expect(first).toMatchObject({ id: ids[0], volumeId: id, sizeGib: 10 });
      expect(await cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume: { [id]: ids[0] } })).toEqual([
        first,
      ]);
      await cloud.write(PROJECT, id, 64 * MIB, Buffer.alloc(MIB, 9));
      await cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume: { [id]: ids[1] } });
      await cloud.write(PROJECT, id, 65 * MIB, Buffer.alloc(MIB, 8));
      for (const [snapshotId, expected] of [
        [ids[0], content],
        [ids[1], Buffer.concat([Buffer.alloc(MIB, 9), content.subarray(MIB)])],
      ] as const) {
        const imaging = await cloud.volumes.openForImaging(PROJECT, snapshotId);
        expect((await readImaging(imaging, 64 * MIB, expected.length)).equals(expected)).toBe(true);
        const extents = await extentsOf(imaging);
        expect(extents[0]?.offset).toBe(64 * MIB);
        expect(extents.reduce((sum, { length }) => sum + length, 0)).toBe(3 * MIB);
        await imaging.release();
        await imaging.release();
      }
      await cloud.volumes.deleteSnapshot(PROJECT, ids[0]);
      await cloud.volumes.deleteSnapshot(PROJECT, ids[1]);
      await expectRefusal(cloud.volumes.openForImaging(PROJECT, ids[0]), 'NOT_FOUND');
      expect((await cloud.read(PROJECT, id, 66 * MIB, MIB)).equals(content.subarray(2 * MIB))).toBe(true);
    });

    it('takes one moment of two disks under a writer that counts on both', async () => {
      const cloud = setup();
      const server = await aServer(cloud);
      const [a, b] = [diskOf(server, 0), diskOf(server, null)];
      let isDone = false;
      let count = 0;
      const writer = (async () => {
        while (!isDone) {
          count += 1;
          const bytes = Buffer.alloc(8);
          bytes.writeBigUInt64BE(BigInt(count));
          // First the one, then the other: at every moment the first is equal or one ahead.
          await cloud.write(PROJECT, a, 4096, bytes);
          await cloud.write(PROJECT, b, 1_000_000, bytes);
        }
      })();
      const seen: number[] = [];
      for (let round = 0; round < 12; round += 1) {
        const before = count;
        const ids = { [a]: randomUUID(), [b]: randomUUID() };
        await cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume: ids });
        const counter = async (volumeId: string, offset: number): Promise<number> => {
          const imaging = await cloud.volumes.openForImaging(PROJECT, ids[volumeId] ?? '');
          const bytes = await readImaging(imaging, offset, 8);
          await imaging.release();
          return Number(bytes.readBigUInt64BE());
        };
        const [first, second] = [await counter(a, 4096), await counter(b, 1_000_000)];
        expect([0, 1]).toContain(first - second);
        expect(second).toBeGreaterThanOrEqual(before - 1);
        seen.push(first);
      }
      isDone = true;
      await writer;
      expect(new Set(seen).size).toBeGreaterThan(1);
    });

    it('takes one set once, whoever asks for it at the same time', async () => {
      const cloud = setup();
      const server = await aServer(cloud);
      const snapshotIdsByVolume = { [diskOf(server, 0)]: randomUUID(), [diskOf(server, null)]: randomUUID() };
      const asked = await Promise.all(
        [1, 2, 3, 4].map(() => cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume })),
      );
      for (const answer of asked) expect(answer).toEqual(asked[0]);
      for (const id of Object.values(snapshotIdsByVolume)) await cloud.volumes.deleteSnapshot(PROJECT, id);
    });

    it('refuses a snapshot set over disks of two servers', async () => {
      const cloud = setup();
      const [one, two] = [await aServer(cloud), await aServer(cloud)];
      const snapshotIdsByVolume = { [diskOf(one, 0)]: randomUUID(), [diskOf(two, 0)]: randomUUID() };
      await expectRefusal(cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume }), 'INVALID');
    });

    it('makes a disk of equal bytes from a data image and reads only what is asked for (IMG-10, SVC-05)', async () => {
      const cloud = setup();
      const bytes = randomBytes(5 * MIB + 512);
      const image = await cloud.image(bytes);
      const before = cloud.imageBytesRead();
      const volume = await aVolume(cloud, { origin: { from: 'image', image, role: 'data' } });
      expect(volume).toMatchObject({ dependsOnOrigin: true, use: 'data', bootable: false });
      expect(cloud.imageBytesRead()).toBe(before);
      expect((await cloud.read(PROJECT, volume.id, MIB, 4096)).equals(bytes.subarray(MIB, MIB + 4096))).toBe(true);
      expect(cloud.imageBytesRead() - before).toBe(4096);
      const whole = await cloud.read(PROJECT, volume.id, 0, 6 * MIB);
      expect(whole.subarray(0, bytes.length).equals(bytes)).toBe(true);
      expect(whole.subarray(bytes.length).every((byte) => byte === 0)).toBe(true);
      await expectRefusal(
        aVolume(cloud, { sizeGib: 1, use: 'data', origin: { from: 'image', image, role: 'data' } }),
        'WRONG_SIZE',
      );
    });

    it('lives on after its image was deleted, also once the bytes of the image are gone (MGT-05)', async () => {
      const cloud = setup();
      const bytes = randomBytes(3 * MIB);
      const image = await cloud.image(bytes);
      const { id } = await aVolume(cloud, { origin: { from: 'image', image, role: 'data' } });
      await cloud.write(PROJECT, id, 100, Buffer.from('mine'));
      const expected = Buffer.from(bytes);
      expected.write('mine', 100);
      expect(await cloud.deleteImage(image)).toBe(false);
      expect((await cloud.read(PROJECT, id, 0, bytes.length)).equals(expected)).toBe(true);
      const { bytesCopied } = await cloud.volumes.hydrate({ projectId: PROJECT, volumeId: id });
      expect(bytesCopied).toBeLessThanOrEqual(bytes.length);
      expect((await cloud.volumes.get(PROJECT, id))?.dependsOnOrigin).toBe(false);
      expect(await cloud.deleteImage(image)).toBe(true);
      expect((await cloud.read(PROJECT, id, 0, bytes.length)).equals(expected)).toBe(true);
      expect((await cloud.volumes.hydrate({ projectId: PROJECT, volumeId: id })).bytesCopied).toBe(0);
    });

    it('gives the bytes of an image free when the last disk that read them is deleted', async () => {
      const cloud = setup();
      const image = await cloud.image(randomBytes(MIB));
      const { id } = await aVolume(cloud, { origin: { from: 'image', image, role: 'data' } });
      const snapshotId = randomUUID();
      await cloud.volumes.snapshot({ projectId: PROJECT, snapshotIdsByVolume: { [id]: snapshotId } });
      await cloud.volumes.delete(PROJECT, id);
      expect(await cloud.deleteImage(image)).toBe(false);
      await cloud.volumes.deleteSnapshot(PROJECT, snapshotId);
      expect(await cloud.deleteImage(image)).toBe(true);
    });

    it('makes one disk at a time from a data image, several from others (CRE-07)', async () => {
      const cloud = setup();
      const image = await cloud.image(randomBytes(4096));
      const request = { projectId: PROJECT, sizeGib: 10, ids: [randomUUID(), randomUUID()] };
      await expectRefusal(
        cloud.volumes.createSeveral({ ...request, origin: { from: 'image', image, role: 'data' } }),
        'ONE_AT_A_TIME',
      );
      const made = await cloud.volumes.createSeveral({ ...request, origin: { from: 'image', image, role: 'system' } });
      expect(made.map(({ use, bootable }) => [use, bootable])).toEqual([
        ['system', true],
        ['system', true],
      ]);
      expect(
        await cloud.volumes.createSeveral({
          ...request,
          ids: [randomUUID()],
          origin: { from: 'image', image, role: 'data' },
        }),
      ).toHaveLength(1);
    });
  });
}
