import { mkdir } from 'node:fs/promises';
import { type Clock, type Database, systemClock } from '@ims/db';
import type { Kysely } from 'kysely';
import type { BootCheckPort } from '../boot-check.port';
import type { BaseReferences, ImageDiskSource } from '../disk-image.port';
import { LayerStore } from '../disk/layer-store';
import { ManifestHolds } from '../disk/manifest-holds';
import { VolumeDisks } from '../disk/volume-disks';
import { QemuBootCheck } from '../qemu/boot-check';
import { QemuGuests } from '../qemu/qemu-guests';
import { EmbeddedBackups } from './embedded-backups';
import { EmbeddedServers } from './embedded-servers';
import { EmbeddedVolumes } from './embedded-volumes';

export interface EmbeddedCloudOptions {
  db: Kysely<Database>;
  /** Where the disks lie; made when absent. */
  directory: string;
  /** Where volumes made from images read from. */
  images: ImageDiskSource;
  /** How images that volumes still read are kept; as manifest holds when left out. */
  references?: BaseReferences;
  /** Whether running servers are virtual machines in QEMU. */
  qemu: boolean;
  /** Why they are not, in words for whoever asks whether something boots. */
  whyNoQemu?: string | undefined;
  clock?: Clock;
}

export interface EmbeddedCloud {
  servers: EmbeddedServers;
  volumes: EmbeddedVolumes;
  backups: EmbeddedBackups;
  bootChecks: BootCheckPort;
  /**
   * For the one process that runs this cloud, once at its start: puts records right that a dead process left wrong and removes disk content that
   * nothing refers to.
   */
  recover(): Promise<void>;
  /** Removes disk content that nothing has referred to for a day. For the one process that runs this cloud, at any time. */
  sweep(): Promise<void>;
  /** Switches the virtual machines of this process off: another one runs this cloud now. */
  stopMachines(): Promise<void>;
  /** Switches the virtual machines of this process off and closes what is open. */
  close(): Promise<void>;
}

/**
 * The rest of a cloud on one machine: servers, disks and backups as records in the schema `cloud` and as real files in a directory.
 *
 * @example const cloud = await openEmbeddedCloud({ db, directory: '.data/cloud', images, qemu: false });
 */
export async function openEmbeddedCloud(options: EmbeddedCloudOptions): Promise<EmbeddedCloud> {
  const { db, directory, images, qemu } = options;
  const clock = options.clock ?? systemClock;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const references = options.references ?? new ManifestHolds();
  const layers = await LayerStore.open({ db, directory, images, references, clock });
  const disks = await VolumeDisks.open(db, layers, directory);
  const guests = new QemuGuests();
  const volumes = new EmbeddedVolumes({ db, layers, disks, images, guests, clock });
  const servers = new EmbeddedServers({ db, volumes, guests, clock, qemu, whyNoQemu: options.whyNoQemu });
  const backups = new EmbeddedBackups({ db, layers, servers, volumes, clock });
  return {
    servers,
    volumes,
    backups,
    bootChecks: qemu ? new QemuBootCheck() : notChecked(options.whyNoQemu ?? 'QEMU is switched off'),
    recover: async () => {
      await servers.recover();
      await layers.sweep();
    },
    sweep: async () => void (await layers.sweep()),
    stopMachines: () => guests.close(),
    close: async () => {
      await guests.close();
      await layers.close();
    },
  };
}

/** Says so, instead of guessing. */
const notChecked = (evidence: string): BootCheckPort => ({
  bootCheck: () => Promise.resolve({ verdict: 'not-checked', evidence }),
});
