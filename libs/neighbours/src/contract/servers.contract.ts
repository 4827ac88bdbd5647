import { randomBytes, randomUUID } from 'node:crypto';
import type { Flavor, ServerImage } from '../servers.port';
import { aServer, aVolume, diskOf, expectRefusal, PROJECT, x86Flavor } from './builders';
import type { NeighboursSetup } from './neighbours-under-test';

const kunpeng: Flavor = { id: 'kc1.large.2', vcpus: 2, ramMib: 4096, architecture: 'arm', series: 'kC1' };

/** What every driver of `ServersPort` does. */
export function describeServersPort(setup: NeighboursSetup): void {
  const anImage = async (bytes: Buffer, traits: Partial<ServerImage> = {}): Promise<ServerImage> => ({
    ...(await setup().image(bytes)),
    architecture: 'x86',
    osBit: '64',
    role: 'system',
    minDiskGib: 1,
    ...traits,
  });

  describe('ServersPort', () => {
    it('makes a server once with its disks, and refuses another one under its id', async () => {
      const { servers } = setup();
      const request = {
        id: randomUUID(),
        projectId: PROJECT,
        name: 'web-01',
        kind: 'ecs',
        flavor: x86Flavor,
        availabilityZone: 'az1',
        volumes: [{ id: randomUUID(), create: { sizeGib: 1, use: 'system', origin: { from: 'blank' } }, bootIndex: 0 }],
        metadata: { os_type: 'Linux' },
        initialStatus: 'SHUTOFF',
      } as const;
      const made = await servers.create(request);
      expect(made).toMatchObject({
        status: 'SHUTOFF',
        taskState: null,
        resStatus: 'normal',
        volumes: [{ device: '/dev/vda', bootIndex: 0, sizeGib: 1 }],
        metadata: { os_type: 'Linux', EcmResStatus: 'normal' },
        tags: [],
      });
      expect(await servers.create(request)).toEqual(made);
      await expectRefusal(servers.create({ ...request, name: 'web-02' }), 'CONFLICT');
      expect((await servers.list(PROJECT)).filter(({ id }) => id === request.id)).toHaveLength(1);
    });

    it('starts and stops, each as often as asked', async () => {
      const cloud = setup();
      const { id } = await aServer(cloud);
      expect((await cloud.servers.start(PROJECT, id)).status).toBe('ACTIVE');
      expect((await cloud.servers.start(PROJECT, id)).status).toBe('ACTIVE');
      expect((await cloud.servers.stop(PROJECT, id)).status).toBe('SHUTOFF');
      expect((await cloud.servers.stop(PROJECT, id)).status).toBe('SHUTOFF');
      await cloud.setServerStatus(PROJECT, id, 'RESIZE');
      await expectRefusal(cloud.servers.start(PROJECT, id), 'WRONG_STATE');
    });

    it('does not start while frozen, and starts after renewal (CRE-25)', async () => {
      const cloud = setup();
      const { id } = await aServer(cloud);
      expect(await cloud.servers.freeze(PROJECT, id)).toMatchObject({
        resStatus: 'freeze',
        metadata: { EcmResStatus: 'freeze' },
      });
      await expectRefusal(cloud.servers.start(PROJECT, id), 'FROZEN');
      await cloud.servers.unfreeze(PROJECT, id);
      expect((await cloud.servers.start(PROJECT, id)).status).toBe('ACTIVE');
      await cloud.servers.stop(PROJECT, id);
    });

    it('gives a task to one of twenty callers, and is busy until that one ends it', async () => {
      const cloud = setup();
      const { id } = await aServer(cloud);
      const holders = Array.from({ length: 20 }, (_, index) => `job-${index}`);
      const begin = (holder: string) =>
        cloud.servers.beginTask({ projectId: PROJECT, serverId: id, task: 'image-snapshot', holder });
      const outcomes = await Promise.allSettled(holders.map(begin));
      const winners = holders.filter((_, index) => outcomes[index]?.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      const [winner = ''] = winners;
      expect((await begin(winner)).taskState).toBe('image-snapshot');
      await expectRefusal(cloud.servers.start(PROJECT, id), 'BUSY');
      await expectRefusal(cloud.servers.delete(PROJECT, id), 'BUSY');
      await cloud.servers.endTask({ projectId: PROJECT, serverId: id, holder: 'somebody else' });
      expect((await cloud.servers.get(PROJECT, id))?.taskState).toBe('image-snapshot');
      await cloud.servers.endTask({ projectId: PROJECT, serverId: id, holder: winner });
      expect((await cloud.servers.get(PROJECT, id))?.taskState).toBeNull();
    });

    it('refuses images that do not fit the flavour (IMG-10, CRE-26, CRE-27, CRE-28)', async () => {
      const cloud = setup();
      const image = await anImage(randomBytes(4096));
      const make = (flavor: Flavor, traits: Partial<ServerImage>) =>
        aServer(cloud, { flavor, image: { ...image, ...traits } });
      await expectRefusal(make(kunpeng, {}), 'WRONG_ARCHITECTURE');
      await expectRefusal(make(x86Flavor, { architecture: 'arm' }), 'WRONG_ARCHITECTURE');
      await expectRefusal(make({ ...x86Flavor, ramMib: 8192 }, { osBit: '32' }), 'TOO_MUCH_MEMORY');
      await expectRefusal(make(x86Flavor, { role: 'data' }), 'WRONG_IMAGE_ROLE');
      await expectRefusal(make(x86Flavor, { minDiskGib: 2 }), 'WRONG_SIZE');
      expect((await make(x86Flavor, { osBit: '32' })).status).toBe('SHUTOFF');
      expect((await make(kunpeng, { architecture: 'arm' })).imageId).toBe(image.imageId);
    });

    it('carries a marker from server to image to server (IMG-06, IMG-19)', async () => {
      const cloud = setup();
      const fromImage = async (bytes: Buffer) => {
        const image = await anImage(bytes);
        const { imageId, domainId, manifestHash } = image;
        const origin = { from: 'image', image: { imageId, domainId, manifestHash }, role: 'system' } as const;
        return aServer(cloud, { image, volumes: [{ id: randomUUID(), create: { sizeGib: 1, origin }, bootIndex: 0 }] });
      };
      const first = await fromImage(randomBytes(64 * 1024));
      await cloud.write(PROJECT, diskOf(first, 0), 8192, Buffer.from('installed by hand'));
      const second = await fromImage(await cloud.read(PROJECT, diskOf(first, 0), 0, 64 * 1024));
      expect((await cloud.read(PROJECT, diskOf(second, 0), 8192, 17)).toString()).toBe('installed by hand');
    });

    it('gets another operating system once, stopped and fitting (CRE-26)', async () => {
      const cloud = setup();
      const server = await aServer(cloud);
      const image = await anImage(Buffer.alloc(8192, 0x5c));
      const request = { projectId: PROJECT, serverId: server.id, image, rootVolume: { id: randomUUID(), sizeGib: 2 } };
      await cloud.servers.start(PROJECT, server.id);
      await expectRefusal(cloud.servers.changeOs(request), 'WRONG_STATE');
      await cloud.servers.stop(PROJECT, server.id);
      await expectRefusal(
        cloud.servers.changeOs({ ...request, image: { ...image, architecture: 'arm' } }),
        'WRONG_ARCHITECTURE',
      );
      const changed = await cloud.servers.changeOs(request);
      expect(changed).toMatchObject({
        imageId: image.imageId,
        volumes: [{ volumeId: request.rootVolume.id, device: '/dev/vda', bootIndex: 0 }, {}],
      });
      expect(await cloud.servers.changeOs(request)).toEqual(changed);
      expect(await cloud.volumes.get(PROJECT, diskOf(server, 0))).toBeUndefined();
      expect((await cloud.read(PROJECT, request.rootVolume.id, 0, 4)).equals(Buffer.alloc(4, 0x5c))).toBe(true);
    });

    it('is a bare-metal server by its tag, and boots from a local disk only as such (CRE-04, SVC-02)', async () => {
      const cloud = setup();
      const bms = await aServer(cloud, { kind: 'bms', bootFrom: 'local-disk', volumes: [] });
      expect(bms).toMatchObject({ kind: 'bms', bootFrom: 'local-disk', tags: ['__type_baremetal'] });
      await expectRefusal(aServer(cloud, { bootFrom: 'local-disk', volumes: [] }), 'INVALID');
      expect((await aServer(cloud, { kind: 'bms' })).volumes.map(({ device }) => device)).toEqual([
        '/dev/sda',
        '/dev/sdb',
      ]);
    });

    it('goes with the disks marked so, and keeps the others; a system disk cannot be taken from a running one', async () => {
      const cloud = setup();
      const server = await aServer(cloud);
      const extra = await aVolume(cloud);
      await cloud.volumes.attach({ projectId: PROJECT, volumeId: extra.id, serverId: server.id });
      await cloud.servers.start(PROJECT, server.id);
      await expectRefusal(
        cloud.volumes.detach({ projectId: PROJECT, volumeId: diskOf(server, 0), serverId: server.id }),
        'WRONG_STATE',
      );
      await cloud.servers.delete(PROJECT, server.id);
      await cloud.servers.delete(PROJECT, server.id);
      expect(await cloud.servers.get(PROJECT, server.id)).toBeUndefined();
      expect(await cloud.volumes.get(PROJECT, diskOf(server, 0))).toBeUndefined();
      expect((await cloud.volumes.get(PROJECT, extra.id))?.status).toBe('available');
    });
  });
}
