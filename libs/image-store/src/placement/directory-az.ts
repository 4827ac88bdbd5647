import { randomUUID } from 'node:crypto';
import { fdatasync, writevSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { AzIdentityError, StoredBytesDamagedError } from '../errors';
import type { AzDescriptor, AzObject, AzStore, PackSink, PackSource } from './az-store.port';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const OPEN_NAME = /^open\/[^/]+$/;
const syncData = promisify(fdatasync);

/**
 * An AZ in a local directory:
 * `identity.json`, `open/` for packs and manifests while they are written, `packs/<xx>/<pack id>.pack` once sealed, `manifests/<domain id>/<xx>/<hash>`.
 * Manifests lie apart by domain, because the same disk in two projects has the same manifest and each project removes its own.
 */
export class DirectoryAz implements AzStore {
  constructor(readonly descriptor: AzDescriptor) {}

  async initialize(storeId: string): Promise<void> {
    const path = this.path('identity.json');
    const held = await this.readIdentity();
    if (held === undefined) {
      const others = await readdir(this.descriptor.path).catch(absent);
      if (others !== undefined && others.some((name) => !name.startsWith('identity.json.'))) {
        throw new AzIdentityError(
          `image store ${this.descriptor.path}: is not empty and has no identity.json; give an empty directory`,
        );
      }
      await writeDurably(path, Buffer.from(`${JSON.stringify({ version: 1, az: this.descriptor.name, storeId })}\n`));
    }
    await this.checkIdentity(storeId);
    // Made at once so that sealing a pack never has to make a directory durable.
    await mkdir(this.path('open'), { recursive: true });
    await mkdir(this.path('manifests'), { recursive: true });
    for (let byte = 0; byte < 256; byte += 1) {
      await mkdir(this.path('packs', byte.toString(16).padStart(2, '0')), { recursive: true });
    }
    await syncDirectory(this.path('packs'));
    await syncDirectory(this.descriptor.path);
  }

  async checkIdentity(storeId: string): Promise<void> {
    const held = await this.readIdentity();
    if (held === undefined) {
      throw new AzIdentityError(
        `image store ${this.descriptor.path}: identity.json is missing; is the right disk mounted there?`,
      );
    }
    if (held.az !== this.descriptor.name || held.storeId !== storeId) {
      throw new AzIdentityError(
        `image store ${this.descriptor.path}: belongs to ${held.az} of store ${held.storeId}, not to ${this.descriptor.name} of store ${storeId}`,
      );
    }
  }

  private async readIdentity(): Promise<{ az: string; storeId: string } | undefined> {
    const text = await readFile(this.path('identity.json'), 'utf8').catch(absent);
    if (text === undefined) return undefined;
    try {
      const parsed: unknown = JSON.parse(text);
      if (
        typeof parsed === 'object' &&
        parsed !== null &&
        'az' in parsed &&
        typeof parsed.az === 'string' &&
        'storeId' in parsed &&
        typeof parsed.storeId === 'string'
      ) {
        return { az: parsed.az, storeId: parsed.storeId };
      }
    } catch (cause) {
      throw new AzIdentityError(`image store ${this.descriptor.path}: identity.json cannot be read`, { cause });
    }
    throw new AzIdentityError(`image store ${this.descriptor.path}: identity.json cannot be read`);
  }

  async createPack(packId: string): Promise<PackSink> {
    const openPath = this.openPackPath(packId);
    const finalPath = this.packPath(packId);
    const handle = await open(openPath, 'wx');
    return {
      append: async (parts) => {
        writeFully(handle, parts);
      },
      seal: async () => {
        try {
          await syncData(handle.fd);
        } finally {
          await handle.close();
        }
        await rename(openPath, finalPath);
        await syncDirectory(dirname(finalPath));
      },
      abandon: () => handle.close(),
    };
  }

  async finishPack(packId: string): Promise<void> {
    const openPath = this.openPackPath(packId);
    const finalPath = this.packPath(packId);
    const handle = await open(openPath, 'r+').catch(absent);
    if (handle === undefined) return;
    try {
      await syncData(handle.fd);
    } finally {
      await handle.close();
    }
    await rename(openPath, finalPath);
    await syncDirectory(dirname(finalPath));
  }

  async openPack(packId: string): Promise<PackSource | undefined> {
    const handle = await open(this.packPath(packId), 'r').catch(absent);
    if (handle === undefined) return undefined;
    let sizeBytes: number;
    try {
      ({ size: sizeBytes } = await handle.stat());
    } catch (error) {
      await handle.close();
      throw error;
    }
    return {
      sizeBytes,
      read: async (position, target) => {
        for (let filled = 0; filled < target.length;) {
          const { bytesRead } = await handle.read(target, filled, target.length - filled, position + filled);
          if (bytesRead === 0) throw new StoredBytesDamagedError(`pack ${packId}: ends at ${position + filled}`);
          filled += bytesRead;
        }
      },
      close: () => handle.close(),
    };
  }

  async removePack(packId: string): Promise<number> {
    return (await removeFile(this.packPath(packId))) + (await removeFile(this.openPackPath(packId)));
  }

  async writeManifest(domainId: string, hash: string, bytes: Uint8Array): Promise<void> {
    const path = this.manifestPath(domainId, hash);
    // Recursive mkdir names the first directory it made: from there down every entry has to be made durable.
    const first = await mkdir(dirname(path), { recursive: true });
    // Named by what it will be, so that a leftover is explained by the row of its manifest.
    await writeDurably(path, bytes, this.path('open', `${domainId}.${hash}.${randomUUID()}.manifest`));
    if (first === undefined) return;
    for (let made = dirname(path); made.length >= first.length; made = dirname(made))
      await syncDirectory(dirname(made));
  }

  async readManifest(domainId: string, hash: string): Promise<Buffer | undefined> {
    return readFile(this.manifestPath(domainId, hash)).catch(absent);
  }

  async removeManifest(domainId: string, hash: string): Promise<number> {
    return removeFile(this.manifestPath(domainId, hash));
  }

  async *list(): AsyncIterable<AzObject> {
    for await (const file of filesBelow(this.descriptor.path, ''))
      if (file.name !== 'identity.json') yield objectOf(file);
  }

  async *listOpen(): AsyncIterable<AzObject> {
    for await (const file of filesBelow(this.descriptor.path, 'open')) yield objectOf(file);
  }

  removeOpen(name: string): Promise<number> {
    return removeFile(this.path(checked(OPEN_NAME, name)));
  }

  private path(...parts: string[]): string {
    return join(this.descriptor.path, ...parts);
  }

  private openPackPath(packId: string): string {
    return this.path('open', `${checked(UUID, packId)}.pack`);
  }

  private packPath(packId: string): string {
    return this.path('packs', checked(UUID, packId).slice(0, 2), `${packId}.pack`);
  }

  private manifestPath(domainId: string, hash: string): string {
    return this.path('manifests', checked(UUID, domainId), checked(SHA256, hash).slice(0, 2), hash);
  }
}

function objectOf({ name, sizeBytes }: { name: string; sizeBytes: number }): AzObject {
  const parts = name.split('/');
  const last = parts.at(-1) ?? '';
  const packId = last.endsWith('.pack') ? last.slice(0, -'.pack'.length) : '';
  if (UUID.test(packId) && name === `packs/${packId.slice(0, 2)}/${last}`)
    return { kind: 'pack', packId, name, sizeBytes };
  if (UUID.test(packId) && name === `open/${last}`) return { kind: 'open-pack', packId, name, sizeBytes };
  const [, domainId = ''] = parts;
  if (UUID.test(domainId) && SHA256.test(last) && name === `manifests/${domainId}/${last.slice(0, 2)}/${last}`) {
    return { kind: 'manifest', domainId, hash: last, name, sizeBytes };
  }
  const [domain = '', hash = ''] = last.split('.');
  if (UUID.test(domain) && SHA256.test(hash) && name === `open/${last}` && last.endsWith('.manifest')) {
    return { kind: 'open-manifest', domainId: domain, hash, name, sizeBytes };
  }
  return { kind: 'other', name, sizeBytes };
}

/** Opens an AZ from plain data; works in any thread. */
export function openAz(descriptor: AzDescriptor): AzStore {
  return new DirectoryAz(descriptor);
}

// A name that is none of ours never reaches the file system, so nothing can point outside the directory.
function checked(pattern: RegExp, name: string): string {
  if (!pattern.test(name)) throw new TypeError(`image store object ${JSON.stringify(name)} is malformed`);
  return name;
}

function absent(error: unknown): undefined {
  if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}

// Synchronous: it runs on worker threads, where a page-cache write is shorter than a hop through libuv's pool.
function writeFully(handle: FileHandle, parts: readonly Uint8Array[]): void {
  let left = parts.filter((part) => part.length > 0);
  while (left.length > 0) {
    let written = writevSync(handle.fd, left);
    const rest: Uint8Array[] = [];
    for (const part of left) {
      if (written >= part.length) written -= part.length;
      else {
        rest.push(part.subarray(written));
        written = 0;
      }
    }
    left = rest;
  }
}

async function writeDurably(path: string, bytes: Uint8Array, temporary = `${path}.${randomUUID()}`): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  try {
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function removeFile(path: string): Promise<number> {
  const found = await stat(path).catch(absent);
  await rm(path, { force: true });
  return found?.size ?? 0;
}

async function* filesBelow(root: string, below: string): AsyncGenerator<{ name: string; sizeBytes: number }> {
  const entries = await readdir(join(root, below), { withFileTypes: true }).catch(absent);
  for (const entry of entries ?? []) {
    const name = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) yield* filesBelow(root, name);
    else {
      // Gone between listing and looking: a pack that was sealed or removed in the meantime.
      const found = await stat(join(root, name)).catch(absent);
      if (found !== undefined) yield { name, sizeBytes: found.size };
    }
  }
}
