import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectoryBuckets } from '@ims/buckets';
import { type Clock, type Database, inTransaction, sqlState } from '@ims/db';
import { type Kysely, sql, type Transaction } from 'kysely';
import { z } from 'zod';
import type { BaseReferences, ImageDiskSource } from '../disk-image.port';
import { NbdExport } from '../nbd/nbd-export';
import { NeighbourError } from '../neighbour.errors';
import type { ImagingDisk } from '../volumes.port';
import { ImageBottom } from './image-bottom';
import { LayerFile, type LayerGeometry } from './layer-file';
import { LayeredDisk } from './layered-disk';

/** The image a layer stands on, and how much of the disk it covers. */
const baseImage = z.object({
  imageId: z.string(),
  domainId: z.string(),
  manifestHash: z.string(),
  virtualSizeBytes: z.number().int().nonnegative(),
});
export type BaseImage = z.infer<typeof baseImage>;

// A creation that takes longer than this between its file and its row is dead: the longest is the copy of a disk file.
const ORPHAN_GRACE_MS = 24 * 60 * 60 * 1000;
const FOREIGN_KEY_VIOLATION = '23503';
const LAYER_FILE = /^([0-9a-f-]{36})\.(?:raw|map)$/;

export interface NewLayer {
  file: LayerFile;
  baseLayerId?: string | undefined;
  baseImage?: BaseImage | undefined;
  sealed: boolean;
}

export interface LayerStoreOptions {
  db: Kysely<Database>;
  directory: string;
  images: ImageDiskSource;
  references: BaseReferences;
  clock: Clock;
}

/** Layers: their rows, their files and who stands on whom. */
export class LayerStore {
  private sockets: Promise<string> | undefined;
  private socketCount = 0;

  private constructor(private readonly options: LayerStoreOptions) {}

  static async open(options: LayerStoreOptions): Promise<LayerStore> {
    const store = new LayerStore(options);
    await mkdir(store.layerDirectory, { recursive: true, mode: 0o700 });
    return store;
  }

  private get layerDirectory(): string {
    return join(this.options.directory, 'layers');
  }

  /** Files of a new layer; nothing knows of it before `insert`. */
  createFile(sizeBytes: number, granuleBytes: number): Promise<LayerFile> {
    return LayerFile.create(this.layerDirectory, { id: randomUUID(), sizeBytes, granuleBytes });
  }

  /** Files that a dead process left before `insert`; `undefined` when they are not there or are of another disk. */
  async openFile(geometry: LayerGeometry): Promise<LayerFile | undefined> {
    return LayerFile.open(this.layerDirectory, geometry, 'r+').catch(() => undefined);
  }

  /** Files of a layer that has no row; accepts that there are none. */
  removeFile(layerId: string): Promise<void> {
    return LayerFile.remove(this.layerDirectory, layerId);
  }

  /** For a layer whose row was never committed. */
  async discardFile(file: LayerFile): Promise<void> {
    await file.close();
    await LayerFile.remove(this.layerDirectory, file.geometry.id);
  }

  /** The layer's row, and its claim on the image it stands on. */
  async insert(trx: Transaction<Database>, layer: NewLayer): Promise<void> {
    const { id, sizeBytes, granuleBytes } = layer.file.geometry;
    await trx
      .insertInto('cloud.disk_layer')
      .values({
        id,
        size_bytes: sizeBytes,
        granule_bytes: granuleBytes,
        base_layer_id: layer.baseLayerId ?? null,
        base_image: layer.baseImage === undefined ? null : JSON.stringify(layer.baseImage),
        sealed: layer.sealed,
        held_bytes: layer.file.heldBytes,
        created_at: this.options.clock.now(),
      })
      .execute();
    if (layer.baseImage !== undefined) await this.options.references.hold(trx, holderOf(id), layer.baseImage);
  }

  /** No write reaches it any more. */
  async seal(trx: Transaction<Database>, file: LayerFile): Promise<void> {
    await trx
      .updateTable('cloud.disk_layer')
      .set({ sealed: true, held_bytes: file.heldBytes })
      .where('id', '=', file.geometry.id)
      .execute();
  }

  /** The layer now stands on nothing. Returns the layer it stood on. */
  async detach(trx: Transaction<Database>, layerId: string): Promise<string | undefined> {
    const before = await trx
      .selectFrom('cloud.disk_layer')
      .select('base_layer_id')
      .where('id', '=', layerId)
      .forUpdate()
      .executeTakeFirstOrThrow();
    await trx
      .updateTable('cloud.disk_layer')
      .set({ base_layer_id: null, base_image: null })
      .where('id', '=', layerId)
      .execute();
    await this.options.references.release(trx, holderOf(layerId));
    return before.base_layer_id ?? undefined;
  }

  /** The disk that a layer shows. With `r+` the layer itself takes writes; whoever asks for it must own the volume. */
  async openDisk(layerId: string, mode: 'r' | 'r+'): Promise<LayeredDisk> {
    const chain = await this.chainOf(layerId);
    const [newest, ...older] = chain;
    if (newest === undefined) throw new NeighbourError('NOT_FOUND', `disk content ${layerId}`);
    const opened: LayerFile[] = [];
    try {
      const top = await LayerFile.open(this.layerDirectory, newest.geometry, mode);
      opened.push(top);
      const below: LayerFile[] = [];
      for (const { geometry } of older) {
        const file = await LayerFile.open(this.layerDirectory, geometry, 'r');
        opened.push(file);
        below.push(file);
      }
      const image = chain.at(-1)?.baseImage;
      const bottom =
        image === undefined ? undefined : new ImageBottom(this.options.images, image, image.virtualSizeBytes);
      return new LayeredDisk(newest.geometry.sizeBytes, [top, ...below], bottom);
    } catch (error) {
      for (const file of opened) await file.close();
      throw error;
    }
  }

  /**
   * A sealed layer for worker threads: its file itself where it stands on nothing, which many threads then read without us, else an NBD export of
   * the stack.
   */
  async openForImaging(layerId: string): Promise<ImagingDisk> {
    const [newest] = await this.chainOf(layerId);
    if (newest === undefined) throw new NeighbourError('NOT_FOUND', `disk content ${layerId}`);
    const virtualSizeBytes = newest.geometry.sizeBytes;
    if (newest.baseLayerId === undefined && newest.baseImage === undefined) {
      // No region matters: the files are ours and local.
      const files = new DirectoryBuckets(this.options.directory, 'local');
      const file = await files.pin({ bucket: 'layers', key: `${layerId}.raw` });
      if (file === undefined) throw new NeighbourError('NOT_FOUND', `disk content ${layerId}`);
      return {
        disk: { reader: 'raw', source: files.describe(file), virtualSizeBytes },
        virtualSizeBytes,
        release: () => Promise.resolve(),
      };
    }
    const disk = await this.openDisk(layerId, 'r');
    try {
      const served = await NbdExport.listen(await this.socketPath(), disk, { readOnly: true });
      let releasing: Promise<void> | undefined;
      return {
        disk: { reader: 'nbd', socketPath: served.socketPath, virtualSizeBytes },
        virtualSizeBytes,
        release: () => (releasing ??= served.close().then(() => disk.close())),
      };
    } catch (error) {
      await disk.close();
      throw error;
    }
  }

  /** A fresh path for a Unix socket, in a folder that only this user can enter. Short: such a path has 107 bytes at most. */
  async socketPath(): Promise<string> {
    this.sockets ??= mkdtemp(join(tmpdir(), 'ims-disk-'));
    // Counted before anything is awaited: two disks at one path would be read as one.
    const number = (this.socketCount += 1);
    return join(await this.sockets, String(number));
  }

  /** Removes the layer and those below it as far as nothing refers to them. Never call it inside a transaction that removed the last reference. */
  async collect(layerId: string | null | undefined): Promise<void> {
    for (let next = layerId ?? undefined; next !== undefined;) {
      const id = next;
      const removed = await inTransaction(this.options.db, async (trx) => {
        const row = await trx
          .deleteFrom('cloud.disk_layer as layer')
          .where('layer.id', '=', id)
          .where(({ not, exists, selectFrom }) =>
            not(exists(selectFrom('cloud.volume').select('id').whereRef('layer_id', '=', 'layer.id'))),
          )
          .where(({ not, exists, selectFrom }) =>
            not(exists(selectFrom('cloud.snapshot').select('id').whereRef('layer_id', '=', 'layer.id'))),
          )
          .where(({ not, exists, selectFrom }) =>
            not(exists(selectFrom('cloud.disk_backup').select('id').whereRef('layer_id', '=', 'layer.id'))),
          )
          .where(({ not, exists, selectFrom }) =>
            not(
              exists(selectFrom('cloud.disk_layer as other').select('id').whereRef('base_layer_id', '=', 'layer.id')),
            ),
          )
          .returning('layer.base_layer_id')
          .executeTakeFirst();
        if (row !== undefined) await this.options.references.release(trx, holderOf(id));
        return row;
      }).catch((error: unknown) => {
        // Somebody took a reference between our look and the removal: then it is not ours to remove.
        if (sqlState(error) === FOREIGN_KEY_VIOLATION) return undefined;
        throw error;
      });
      if (removed === undefined) return;
      await LayerFile.remove(this.layerDirectory, id);
      next = removed.base_layer_id ?? undefined;
    }
  }

  /** What a crash left: rows that nothing refers to, and files that no row knows. Returns how many of each went. */
  async sweep(): Promise<{ rows: number; files: number }> {
    const { db, clock } = this.options;
    const oldest = new Date(clock.now().getTime() - ORPHAN_GRACE_MS);
    const before = await db.selectFrom('cloud.disk_layer').select(['id', 'created_at']).execute();
    for (const row of before) if (row.created_at < oldest) await this.collect(row.id);
    // Copies that go on where they stopped, looked at first: one that ends meanwhile has its layer's row by then.
    const copies = await db.selectFrom('cloud.disk_copy').select('layer_id').execute();
    const layers = await db.selectFrom('cloud.disk_layer').select('id').execute();
    const known = new Set([...copies.map(({ layer_id }) => layer_id), ...layers.map(({ id }) => id)]);
    let files = 0;
    for (const name of await readdir(this.layerDirectory)) {
      const id = LAYER_FILE.exec(name)?.[1];
      if (id === undefined || known.has(id)) continue;
      const path = join(this.layerDirectory, name);
      const found = await stat(path).catch(() => undefined);
      if (found === undefined || found.mtime >= oldest) continue;
      await rm(path, { force: true });
      files += 1;
    }
    return { rows: before.filter(({ id }) => !known.has(id)).length, files };
  }

  async close(): Promise<void> {
    if (this.sockets !== undefined) await rm(await this.sockets, { recursive: true, force: true });
  }

  /** Newest first. */
  private async chainOf(layerId: string): Promise<ChainLink[]> {
    const { rows } = await sql<ChainRow>`
      with recursive chain as (
        select l.*, 0 as depth from cloud.disk_layer l where l.id = ${layerId}
        union all
        select l.*, c.depth + 1 from cloud.disk_layer l join chain c on l.id = c.base_layer_id
      )
      select id, size_bytes, granule_bytes, base_layer_id, base_image from chain order by depth`.execute(
      this.options.db,
    );
    return rows.map((row) => ({
      geometry: { id: row.id, sizeBytes: row.size_bytes, granuleBytes: row.granule_bytes },
      baseLayerId: row.base_layer_id ?? undefined,
      baseImage: row.base_image === null ? undefined : baseImage.parse(row.base_image),
    }));
  }
}

interface ChainRow {
  id: string;
  size_bytes: number;
  granule_bytes: number;
  base_layer_id: string | null;
  base_image: unknown;
}

interface ChainLink {
  geometry: LayerGeometry;
  baseLayerId: string | undefined;
  baseImage: BaseImage | undefined;
}

const holderOf = (layerId: string): string => `disk-layer:${layerId}`;
