import { randomBytes, randomUUID } from 'node:crypto';
import type { NewVault } from '../backups.port';
import { aServer, aVolume, diskOf, expectRefusal, PROJECT, readImaging } from './builders';
import type { NeighboursSetup, NeighboursUnderTest } from './neighbours-under-test';

const MIB = 1024 * 1024;
const BLOCK_BYTES = 2 * MIB;

const copyOfOthers = (cloud: NeighboursUnderTest, checkpointId: string, volumeId: string) =>
  cloud.backups.copyDisk({ projectId: PROJECT, checkpointId, volumeId });

/** What every driver of `BackupsPort` does. */
export function describeBackupsPort(setup: NeighboursSetup): void {
  const aVault = (request: Partial<NewVault> = {}) =>
    setup().backups.createVault({
      id: randomUUID(),
      projectId: PROJECT,
      name: 'vault',
      objectType: 'server',
      protectType: 'backup',
      sizeGib: 100,
      ...request,
    });
  const checkpoint = (vaultId: string, serverId: string, id: string = randomUUID()) =>
    setup().backups.createCheckpoint({ id, projectId: PROJECT, vaultId, serverId, name: 'nightly' });

  describe('BackupsPort', () => {
    it('backs all disks of a server up at one moment, and is the same checkpoint when asked again', async () => {
      const cloud = setup();
      const [vault, server] = [await aVault(), await aServer(cloud)];
      const content = randomBytes(3 * MIB);
      await cloud.write(PROJECT, diskOf(server, 0), 5 * MIB, content);
      const made = await checkpoint(vault.id, server.id);
      expect(made).toMatchObject({
        status: 'available',
        vaultId: vault.id,
        serverId: server.id,
        bytesStored: 2 * BLOCK_BYTES,
      });
      expect(await checkpoint(vault.id, server.id, made.id)).toEqual(made);
      const backup = await cloud.backups.get(PROJECT, made.backupId);
      expect(backup).toMatchObject({
        line: 'CBR',
        status: 'available',
        containsSystemDisk: true,
        imageId: null,
        sizeGib: 11,
      });
      expect(backup?.children.map(({ isSystemDisk, sizeGib, device }) => [isSystemDisk, sizeGib, device])).toEqual([
        [true, 1, '/dev/vda'],
        [false, 10, '/dev/vdb'],
      ]);
      await cloud.write(PROJECT, diskOf(server, 0), 5 * MIB, Buffer.alloc(MIB));
      const imaging = await cloud.backups.openForImaging(PROJECT, backup?.children[0]?.id ?? '');
      expect((await readImaging(imaging, 5 * MIB, content.length)).equals(content)).toBe(true);
      await imaging.release();
      expect((await cloud.servers.get(PROJECT, server.id))?.taskState).toBeNull();
      expect((await cloud.backups.vaultOfServer(PROJECT, server.id))?.id).toBe(vault.id);
    });

    it('is whole although the backup that it would have stood on is deleted while it is made', async () => {
      const cloud = setup();
      const [vault, server] = [await aVault(), await aServer(cloud)];
      const content = randomBytes(8 * BLOCK_BYTES);
      await cloud.write(PROJECT, diskOf(server, 0), 0, content);
      const first = await checkpoint(vault.id, server.id);
      const changed = randomBytes(BLOCK_BYTES);
      await cloud.write(PROJECT, diskOf(server, 0), 0, changed);
      let deleting: Promise<void> | undefined;
      const second = await cloud.backups.createCheckpoint({
        id: randomUUID(),
        projectId: PROJECT,
        vaultId: vault.id,
        serverId: server.id,
        name: 'nightly',
        onProgress: () => {
          deleting ??= cloud.backups.delete(PROJECT, first.backupId);
        },
      });
      await deleting;
      expect(deleting).toBeDefined();
      expect(await cloud.backups.get(PROJECT, first.backupId)).toBeUndefined();
      const backup = await cloud.backups.get(PROJECT, second.backupId);
      const imaging = await cloud.backups.openForImaging(PROJECT, backup?.children[0]?.id ?? '');
      const bytes = await readImaging(imaging, 0, content.length);
      await imaging.release();
      changed.copy(content);
      expect(bytes.equals(content)).toBe(true);
    });

    it('stores only changed blocks after the first, and every backup still shows its own moment', async () => {
      const cloud = setup();
      const [vault, server] = [await aVault(), await aServer(cloud)];
      const disk = diskOf(server, null);
      await cloud.write(PROJECT, disk, 0, randomBytes(20 * BLOCK_BYTES));
      const first = await checkpoint(vault.id, server.id);
      const kept = await cloud.read(PROJECT, disk, 0, 20 * BLOCK_BYTES);
      await cloud.write(PROJECT, disk, 7 * BLOCK_BYTES + 100, Buffer.from('changed'));
      // Written again with the bytes it had: read, compared, and not stored.
      await cloud.write(PROJECT, disk, 9 * BLOCK_BYTES, kept.subarray(9 * BLOCK_BYTES, 9 * BLOCK_BYTES + 4096));
      const second = await checkpoint(vault.id, server.id);
      expect(first.bytesStored).toBe(20 * BLOCK_BYTES);
      expect(second).toMatchObject({ bytesStored: BLOCK_BYTES, bytesRead: 2 * BLOCK_BYTES });
      const third = await checkpoint(vault.id, server.id);
      expect(third).toMatchObject({ bytesStored: 0, bytesRead: 0 });
      expect((await cloud.backups.getVault(PROJECT, vault.id))?.usedBytes).toBe(21 * BLOCK_BYTES);
      // The one below goes; what stands on it stays whole.
      await cloud.backups.delete(PROJECT, first.backupId);
      const child = (await cloud.backups.get(PROJECT, second.backupId))?.children.find(
        ({ isSystemDisk }) => !isSystemDisk,
      );
      expect(child).toMatchObject({ isIncremental: true, storedBytes: BLOCK_BYTES });
      const imaging = await cloud.backups.openForImaging(PROJECT, child?.id ?? '');
      kept.write('changed', 7 * BLOCK_BYTES + 100);
      expect((await readImaging(imaging, 0, kept.length)).equals(kept)).toBe(true);
      await imaging.release();
    });

    it('stays incremental after the disk was made independent of the snapshot, by comparing', async () => {
      const cloud = setup();
      const [vault, server] = [await aVault(), await aServer(cloud)];
      const disk = diskOf(server, 0);
      await cloud.write(PROJECT, disk, 0, randomBytes(4 * BLOCK_BYTES));
      await checkpoint(vault.id, server.id);
      await cloud.volumes.hydrate({ projectId: PROJECT, volumeId: disk });
      await cloud.write(PROJECT, disk, BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES));
      expect((await checkpoint(vault.id, server.id)).bytesStored).toBe(BLOCK_BYTES);
    });

    it('puts a backup back into a disk, and makes new disks from it', async () => {
      const cloud = setup();
      const [vault, server] = [await aVault(), await aServer(cloud)];
      const disk = diskOf(server, 0);
      await cloud.write(PROJECT, disk, 0, Buffer.from('before'));
      const { backupId } = await checkpoint(vault.id, server.id);
      await cloud.write(PROJECT, disk, 0, Buffer.from('after!'));
      const child = (await cloud.backups.get(PROJECT, backupId))?.children.find(({ isSystemDisk }) => isSystemDisk);
      const diskBackupId = child?.id ?? '';
      await cloud.servers.start(PROJECT, server.id);
      await expectRefusal(cloud.backups.restore({ projectId: PROJECT, diskBackupId, volumeId: disk }), 'WRONG_STATE');
      await cloud.servers.stop(PROJECT, server.id);
      await cloud.backups.restore({ projectId: PROJECT, diskBackupId, volumeId: disk });
      expect((await cloud.read(PROJECT, disk, 0, 6)).toString()).toBe('before');
      const copy = await aVolume(cloud, {
        sizeGib: 20,
        use: 'system',
        origin: { from: 'backup', backupId: diskBackupId },
      });
      await cloud.backups.delete(PROJECT, backupId);
      expect((await cloud.read(PROJECT, copy.id, 0, 6)).toString()).toBe('before');
    });

    it('gives a backup to one image of twenty, and free again after that image was deleted (CRE-18)', async () => {
      const cloud = setup();
      const { backupId } = await checkpoint((await aVault()).id, (await aServer(cloud)).id);
      const claim = (imageId: string) => cloud.backups.claimForImage({ projectId: PROJECT, backupId, imageId });
      const images = Array.from({ length: 20 }, () => randomUUID());
      const outcomes = await Promise.allSettled(images.map(claim));
      const winners = images.filter((_, index) => outcomes[index]?.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ refusal: 'ALREADY_IMAGED' });
      }
      const [winner = ''] = winners;
      expect((await claim(winner)).imageId).toBe(winner);
      await expectRefusal(cloud.backups.delete(PROJECT, backupId), 'IN_USE');
      await cloud.backups.releaseFromImage({ projectId: PROJECT, backupId, imageId: randomUUID() });
      await expectRefusal(claim(randomUUID()), 'ALREADY_IMAGED');
      await cloud.backups.releaseFromImage({ projectId: PROJECT, backupId, imageId: winner });
      await cloud.backups.setStatus(PROJECT, backupId, 'restoring');
      await expectRefusal(claim(randomUUID()), 'WRONG_STATE');
      await cloud.backups.setStatus(PROJECT, backupId, 'available');
      await claim(randomUUID());
    });

    it('refuses vaults of another kind, unusable, full of members or too small, and a server of another vault', async () => {
      const cloud = setup();
      const server = await aServer(cloud);
      await expectRefusal(checkpoint((await aVault({ objectType: 'disk' })).id, server.id), 'VAULT_WRONG_KIND');
      await expectRefusal(checkpoint((await aVault({ protectType: 'replication' })).id, server.id), 'VAULT_WRONG_KIND');
      const locked = await aVault();
      await cloud.backups.setVaultStatus(PROJECT, locked.id, 'lock');
      await expectRefusal(checkpoint(locked.id, server.id), 'VAULT_UNUSABLE');
      const small = await aVault({ memberLimit: 1 });
      await cloud.backups.addServer({ projectId: PROJECT, vaultId: small.id, serverId: server.id });
      const other = await aServer(cloud);
      await expectRefusal(checkpoint(small.id, other.id), 'VAULT_MEMBER_LIMIT');
      await expectRefusal(checkpoint((await aVault()).id, server.id), 'SERVER_IN_OTHER_VAULT');
      await expectRefusal(checkpoint(randomUUID(), server.id), 'NOT_FOUND');
    });

    it('ends in error when the vault has no room, leaves nothing in it and the server free (IMG.0182)', async () => {
      const cloud = setup();
      const [vault, server] = [await aVault({ sizeGib: 1 }), await aServer(cloud)];
      const disk = diskOf(server, null);
      const piece = randomBytes(4096);
      // A touched block is a whole one: 513 of them are more than a gibibyte.
      for (let block = 0; block < 513; block += 1) await cloud.write(PROJECT, disk, block * BLOCK_BYTES, piece);
      const id = randomUUID();
      await expectRefusal(checkpoint(vault.id, server.id, id), 'VAULT_FULL');
      expect((await cloud.backups.getCheckpoint(PROJECT, id))?.status).toBe('error');
      expect((await cloud.backups.getVault(PROJECT, vault.id))?.usedBytes).toBe(0);
      expect((await cloud.servers.get(PROJECT, server.id))?.taskState).toBeNull();
      await cloud.backups.deleteCheckpoint(PROJECT, id);
      expect(await cloud.backups.list(PROJECT, { checkpointId: id })).toEqual([]);
    });

    it('does not back a frozen, busy or unfit server up (CRE-17, CRE-25, IMG.0136)', async () => {
      const cloud = setup();
      const vault = await aVault();
      const { id } = await aServer(cloud);
      await cloud.servers.freeze(PROJECT, id);
      await expectRefusal(checkpoint(vault.id, id), 'FROZEN');
      await cloud.servers.unfreeze(PROJECT, id);
      const task = { projectId: PROJECT, serverId: id, holder: 'job' };
      await cloud.servers.beginTask({ ...task, task: 'backing-up' });
      await expectRefusal(checkpoint(vault.id, id), 'BUSY');
      await cloud.servers.endTask(task);
      await cloud.setServerStatus(PROJECT, id, 'ERROR');
      await expectRefusal(checkpoint(vault.id, id), 'WRONG_STATE');
    });

    it('goes on with an interrupted checkpoint when asked again, and is undone by deleting it', async () => {
      const cloud = setup();
      const [vault, server] = [await aVault(), await aServer(cloud)];
      await cloud.write(PROJECT, diskOf(server, null), 0, randomBytes(8 * BLOCK_BYTES));
      const start = (id: string, signal?: AbortSignal) => {
        const controller = new AbortController();
        return cloud.backups.createCheckpoint({
          id,
          projectId: PROJECT,
          vaultId: vault.id,
          serverId: server.id,
          name: 'nightly',
          signal: signal ?? controller.signal,
          onProgress: () => controller.abort(new Error('the worker died')),
        });
      };
      const id = randomUUID();
      await expect(start(id)).rejects.toThrow('the worker died');
      expect((await cloud.servers.get(PROJECT, server.id))?.taskState).toBe('backing-up');
      // Later writes are of a later moment.
      await cloud.write(PROJECT, diskOf(server, null), 0, randomBytes(10 * BLOCK_BYTES));
      expect(await start(id, new AbortController().signal)).toMatchObject({
        status: 'available',
        bytesStored: 8 * BLOCK_BYTES,
      });
      const undone = randomUUID();
      await expect(start(undone)).rejects.toThrow('the worker died');
      await cloud.backups.deleteCheckpoint(PROJECT, undone);
      await cloud.backups.deleteCheckpoint(PROJECT, undone);
      expect((await cloud.servers.get(PROJECT, server.id))?.taskState).toBeNull();
      expect(await cloud.backups.list(PROJECT, { serverId: server.id })).toHaveLength(1);
    });

    it('copies the disks of a moment side by side, and is available only with all of them', async () => {
      const cloud = setup();
      const { backups } = cloud;
      const [vault, server] = [await aVault(), await aServer(cloud)];
      await cloud.write(PROJECT, diskOf(server, 0), 0, randomBytes(3 * BLOCK_BYTES));
      await cloud.write(PROJECT, diskOf(server, null), 0, randomBytes(2 * BLOCK_BYTES));
      const request = { id: randomUUID(), projectId: PROJECT, vaultId: vault.id, serverId: server.id, name: 'n' };
      const moment = await backups.beginCheckpoint(request);
      expect(moment.disks).toEqual([
        { volumeId: diskOf(server, 0), device: '/dev/vda', isSystemDisk: true, sizeGib: 1 },
        { volumeId: diskOf(server, null), device: '/dev/vdb', isSystemDisk: false, sizeGib: 10 },
      ]);
      expect(await backups.beginCheckpoint(request)).toEqual(moment);
      expect((await cloud.servers.get(PROJECT, server.id))?.taskState).toBe('backing-up');
      const copy = (volumeId: string) =>
        backups.copyDisk({ projectId: PROJECT, checkpointId: moment.checkpointId, volumeId });
      const first = await copy(diskOf(server, 0));
      expect(first).toMatchObject({ isIncremental: false, segmentsChanged: 3, bytesRead: 3 * BLOCK_BYTES });
      await expectRefusal(backups.sealCheckpoint(PROJECT, moment.checkpointId), 'WRONG_STATE');
      expect((await backups.get(PROJECT, moment.backupId))?.status).toBe('protecting');
      // Asked twice at once, as when a replaced worker is not dead: one copy, told to both.
      const [again, ...twins] = await Promise.all(
        [diskOf(server, 0), diskOf(server, null), diskOf(server, null)].map(copy),
      );
      expect(again).toEqual(first);
      expect(twins[0]).toMatchObject({ segmentsChanged: 2 });
      expect(twins[1]).toEqual(twins[0]);
      const sealed = await backups.sealCheckpoint(PROJECT, moment.checkpointId);
      expect(sealed).toMatchObject({ status: 'available', bytesStored: 5 * BLOCK_BYTES, bytesRead: 5 * BLOCK_BYTES });
      expect(await backups.sealCheckpoint(PROJECT, moment.checkpointId)).toEqual(sealed);
      expect((await cloud.servers.get(PROJECT, server.id))?.taskState).toBeNull();
      await backups.releaseMoment(PROJECT, moment.checkpointId);
      await backups.releaseMoment(PROJECT, moment.checkpointId);
      expect(await copy(diskOf(server, 0))).toEqual(first);
      // What is complete is not dropped as if it were not.
      await backups.dropDisks(PROJECT, moment.checkpointId);
      expect((await backups.get(PROJECT, moment.backupId))?.children).toHaveLength(2);
    });

    it('counts a disk that is done while another is being copied, so that progress never goes back (I12)', async () => {
      const cloud = setup();
      const { backups } = cloud;
      const [vault, server] = [await aVault(), await aServer(cloud)];
      await cloud.write(PROJECT, diskOf(server, 0), 0, randomBytes(BLOCK_BYTES));
      await cloud.write(PROJECT, diskOf(server, null), 0, randomBytes(36 * BLOCK_BYTES));
      const request = { id: randomUUID(), projectId: PROJECT, vaultId: vault.id, serverId: server.id, name: 'n' };
      const { checkpointId } = await backups.beginCheckpoint(request);
      const told: number[] = [];
      const copy = (volumeId: string, onProgress: () => void = () => undefined) =>
        backups.copyDisk({
          projectId: PROJECT,
          checkpointId,
          volumeId,
          onProgress: (bytesDone) => {
            told.push(bytesDone);
            onProgress();
          },
        });
      let small: Promise<unknown> | undefined;
      await copy(diskOf(server, null), () => {
        small ??= copy(diskOf(server, 0));
      });
      await small;
      expect(told).toEqual(told.toSorted((a, b) => a - b));
      expect(told.at(-1)).toBe(11 * 1024 * MIB);
      await backups.deleteCheckpoint(PROJECT, checkpointId);
    });

    it('takes the replica of a backup once in a region, whatever project it is for (REP-11)', async () => {
      const { backups, image } = setup();
      const other = randomBytes(16).toString('hex');
      const [backupId, diskBackupId, volumeId] = [randomUUID(), randomUUID(), randomUUID()];
      const ref = await image(Buffer.alloc(BLOCK_BYTES, 'a'));
      const replica = (projectId: string, vaultId: string, imageId: string) =>
        backups.createReplica({
          projectId,
          vaultId,
          imageId,
          backup: {
            backupId,
            name: 'nightly',
            serverId: randomUUID(),
            serverName: 'web-01',
            architecture: 'x86',
            sizeGib: 1,
            disks: [{ diskBackupId, volumeId, device: '/dev/vda', isSystemDisk: true, bootable: true, sizeGib: 1 }],
          },
          disks: [{ ...ref, diskBackupId, virtualSizeBytes: BLOCK_BYTES, storedBytes: BLOCK_BYTES }],
        });
      const vaultOf = async (projectId: string) => (await aVault({ projectId, protectType: 'replication' })).id;
      const [mine, theirs] = [await vaultOf(PROJECT), await vaultOf(other)];
      expect(await backups.isInRegion(backupId)).toBe(false);
      const made = await replica(PROJECT, mine, ref.imageId);
      expect(await replica(PROJECT, mine, ref.imageId)).toEqual(made);
      await expectRefusal(replica(other, theirs, randomUUID()), 'ALREADY_IMAGED');
      expect(await backups.isInRegion(backupId)).toBe(true);
      expect(await backups.get(other, backupId)).toBeUndefined();
      await backups.releaseFromImage({ projectId: PROJECT, backupId, imageId: ref.imageId });
      await backups.delete(PROJECT, backupId);
    });

    it('goes on with a disk where its copy was interrupted, and drops what was given up', async () => {
      const cloud = setup();
      const { backups } = cloud;
      const [vault, server] = [await aVault(), await aServer(cloud)];
      const disk = diskOf(server, null);
      const content = randomBytes(36 * BLOCK_BYTES);
      await cloud.write(PROJECT, disk, 0, content);
      const begin = () =>
        backups.beginCheckpoint({
          id: randomUUID(),
          projectId: PROJECT,
          vaultId: vault.id,
          serverId: server.id,
          name: 'nightly',
        });
      const copy = (
        checkpointId: string,
        onProgress: (bytesDone: number) => void = () => undefined,
        signal?: AbortSignal,
      ) =>
        backups.copyDisk({
          projectId: PROJECT,
          checkpointId,
          volumeId: disk,
          onProgress,
          ...(signal === undefined ? {} : { signal }),
        });
      const { checkpointId, backupId } = await begin();
      const death = new AbortController();
      const dying = copy(
        checkpointId,
        (bytesDone) => {
          if (bytesDone >= 35 * BLOCK_BYTES) death.abort(new Error('the worker died'));
        },
        death.signal,
      );
      await expect(dying).rejects.toThrow('the worker died');
      const seen: number[] = [];
      const made = await copy(checkpointId, (bytesDone) => seen.push(bytesDone));
      // 64 MiB were safe, which are 32 blocks.
      expect(Math.min(...seen)).toBeGreaterThan(32 * BLOCK_BYTES);
      expect(made).toMatchObject({ bytesRead: 36 * BLOCK_BYTES, bytesStored: 36 * BLOCK_BYTES });
      await copyOfOthers(cloud, checkpointId, diskOf(server, 0));
      await backups.sealCheckpoint(PROJECT, checkpointId);
      await backups.releaseMoment(PROJECT, checkpointId);
      const child = (await backups.get(PROJECT, backupId))?.children.find(({ isSystemDisk }) => !isSystemDisk);
      const imaging = await backups.openForImaging(PROJECT, child?.id ?? '');
      expect((await readImaging(imaging, 0, content.length)).equals(content)).toBe(true);
      await imaging.release();

      await cloud.write(PROJECT, disk, 0, randomBytes(2 * BLOCK_BYTES));
      const undone = await begin();
      await copy(undone.checkpointId);
      await backups.dropDisks(PROJECT, undone.checkpointId);
      expect((await backups.get(PROJECT, undone.backupId))?.children).toEqual([]);
      expect((await backups.getVault(PROJECT, vault.id))?.usedBytes).toBe(36 * BLOCK_BYTES);
      await backups.deleteCheckpoint(PROJECT, undone.checkpointId);
      await expectRefusal(copy(undone.checkpointId), 'WRONG_STATE');
      expect((await cloud.servers.get(PROJECT, server.id))?.taskState).toBeNull();
    });

    it('tells what differs from an earlier backup without reading, over those in between, and when it cannot (IMG-12)', async () => {
      const cloud = setup();
      const [vault, server] = [await aVault(), await aServer(cloud)];
      const disk = diskOf(server, null);
      await cloud.write(PROJECT, disk, 0, randomBytes(8 * BLOCK_BYTES));
      const childOf = async ({ backupId }: { backupId: string }): Promise<string> =>
        (await cloud.backups.get(PROJECT, backupId))?.children.find(({ isSystemDisk }) => !isSystemDisk)?.id ?? '';
      const children: string[] = [];
      for (const block of [1, 3, 6]) {
        children.push(await childOf(await checkpoint(vault.id, server.id)));
        await cloud.write(PROJECT, disk, block * BLOCK_BYTES + 5, Buffer.from('changed'));
      }
      const [first = '', second = '', third = ''] = children;
      const since = (later: string, earlier: string) =>
        cloud.backups.changedSince({ projectId: PROJECT, diskBackupId: later, earlierDiskBackupId: earlier });
      expect(await since(third, second)).toEqual([{ offset: 3 * BLOCK_BYTES, length: BLOCK_BYTES }]);
      expect(await since(third, first)).toEqual([
        { offset: BLOCK_BYTES, length: BLOCK_BYTES },
        { offset: 3 * BLOCK_BYTES, length: BLOCK_BYTES },
      ]);
      expect(await since(third, third)).toEqual([]);
      expect(await since(first, second)).toBeUndefined();
      await expectRefusal(since(third, randomUUID()), 'NOT_FOUND');
    });
  });
}
