import { join } from 'node:path';
import { mkdir } from 'node:fs/promises';
import type { Database } from '@ims/db';
import type { Kysely } from 'kysely';
import { lock } from 'proper-lockfile';
import { NeighbourError } from '../neighbour.errors';
import { KeyedTurns } from './gate';
import type { LayerStore } from './layer-store';
import type { LayeredDisk } from './layered-disk';

// A lock whose process died is taken over after this time; it is renewed every half of it. A process that stands still longer loses its disks.
const LOCK_STALE_MS = 10_000;

interface OpenDisk {
  disk: LayeredDisk;
  users: number;
  unlock(): Promise<void>;
}

export interface HeldDisk {
  disk: LayeredDisk;
  /** Others in this process use it as well, and may write. */
  isShared: boolean;
  release(): Promise<void>;
}

/** Disks opened for writing. A disk is open in one process at a time and once in it: whoever uses it shares what is in memory. */
export class VolumeDisks {
  private readonly open = new Map<string, OpenDisk>();
  private readonly turns = new KeyedTurns<string>();

  private constructor(
    private readonly db: Kysely<Database>,
    private readonly layers: LayerStore,
    private readonly lockDirectory: string,
  ) {}

  static async open(db: Kysely<Database>, layers: LayerStore, directory: string): Promise<VolumeDisks> {
    const lockDirectory = join(directory, 'locks');
    await mkdir(lockDirectory, { recursive: true, mode: 0o700 });
    return new VolumeDisks(db, layers, lockDirectory);
  }

  /** @throws NeighbourError BUSY while another process has it open, NOT_FOUND */
  acquire(volumeId: string): Promise<HeldDisk> {
    return this.turns.take(volumeId, async () => {
      const present = this.open.get(volumeId);
      const opened = present ?? (await this.openVolume(volumeId));
      opened.users += 1;
      this.open.set(volumeId, opened);
      let releasing: Promise<void> | undefined;
      return {
        disk: opened.disk,
        isShared: present !== undefined,
        release: () => (releasing ??= this.release(volumeId, opened)),
      };
    });
  }

  /** Nobody in this or another process has it open while `work` runs. @throws NeighbourError BUSY, IN_USE */
  alone<T>(volumeId: string, work: () => Promise<T>): Promise<T> {
    return this.turns.take(volumeId, async () => {
      if (this.open.has(volumeId)) throw new NeighbourError('IN_USE', `disk ${volumeId}`);
      const unlock = await this.lock(volumeId, () => undefined);
      try {
        return await work();
      } finally {
        await unlock().catch(() => undefined);
      }
    });
  }

  private async openVolume(volumeId: string): Promise<OpenDisk> {
    let opened: LayeredDisk | undefined;
    const unlock = await this.lock(volumeId, (error) => opened?.poison(error));
    try {
      const row = await this.db
        .selectFrom('cloud.volume')
        .select('layer_id')
        .where('id', '=', volumeId)
        .executeTakeFirst();
      if (row?.layer_id == null) throw new NeighbourError('NOT_FOUND', `disk ${volumeId}`);
      opened = await this.layers.openDisk(row.layer_id, 'r+');
      return { disk: opened, users: 0, unlock };
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  private async lock(volumeId: string, onLost: (error: Error) => void): Promise<() => Promise<void>> {
    try {
      return await lock(join(this.lockDirectory, volumeId), {
        realpath: false,
        stale: LOCK_STALE_MS,
        onCompromised: onLost,
      });
    } catch (error) {
      throw new NeighbourError('BUSY', `disk ${volumeId} is open in another process`, { cause: error });
    }
  }

  private release(volumeId: string, opened: OpenDisk): Promise<void> {
    return this.turns.take(volumeId, async () => {
      opened.users -= 1;
      if (opened.users > 0) return;
      this.open.delete(volumeId);
      try {
        await opened.disk.flush();
      } finally {
        await opened.disk.close();
        // A lock that was lost is nobody's to give back.
        await opened.unlock().catch(() => undefined);
      }
    });
  }
}
