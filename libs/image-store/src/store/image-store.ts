import { join } from 'node:path';
import { type DedupDomainId, dedupDomainId, type JobId, LONGEST_DOWNLOAD_MS } from '@ims/contract';
import type { Database } from '@ims/db';
import type { Kysely, Transaction } from 'kysely';
import { ManifestNotFoundError } from '../errors';
import type { DataKeys, ImageReferences, ImageStore } from '../image-store.port';
import type { Manifest } from '../layout/manifest';
import type { AzStore } from '../placement/az-store.port';
import { openAz } from '../placement/directory-az';
import { StoreThreads } from '../threads/store-threads';
import { audit } from './audit';
import { enrolAz } from './az-registry';
import { Collector } from './collect';
import { isCollectionDue } from './collect-due';
import { copy } from './copy';
import { type DiskParts, rawFile, zvhd2File } from './disk-files';
import { Domains } from './domains';
import { answerExchange } from './exchange-answer';
import { ingest } from './ingest';
import { readManifest } from './read-manifest';
import { receive } from './receive';
import { references } from './references';
import { SegmentIndex } from './segment-index';
import { Turns } from './turns';
import { verify } from './verify';

export interface ImageStoreOptions {
  db: Kysely<Database>;
  /** Root directory of the store; the AZ lies in `az1` below it. */
  directory: string;
  /** Worker threads for ingest and verification, one per core. They start when there is work. */
  threads: number;
  /** Most ingests and verifications at the same time; more wait for their turn. Each takes 40 MiB per thread. Default 4. */
  concurrency?: number;
  /** How long what no live image needs stays for readers under way. Default an hour more than the longest download. */
  collectGraceMs?: number;
  /** Packs whose live share of bytes is below this are rewritten by `collect`. Default 0.5. */
  rewriteBelow?: number;
  /** Where data keys of encrypted domains come from; without it every use of such a domain fails. */
  dataKeys?: DataKeys;
  /** How long an opened data key stays in memory. Default a minute: a key that is switched off is noticed that soon (ENC-05). */
  dataKeyMs?: number;
}

// 40 MiB per thread each: with two threads 320 MiB at most, within the worker's 450 MiB (performance 4, goal 4).
const DEFAULT_CONCURRENCY = 4;
// The longest download may have begun in the moment of the deletion; the hour is for clocks that differ and for what lies between looking an
// image up and its first byte.
const DEFAULT_GRACE_MS = LONGEST_DOWNLOAD_MS + 3_600_000;
// As many copies to other regions as a tenant may have at once (REP-06); the manifest of a disk of 300 GB has 5 MB.
const DISKS_ANSWERED = 5;
// Rewriting copies at most as many bytes as it sets free.
const DEFAULT_REWRITE_BELOW = 0.5;
// A minute is promised; the rest is for timers that come late.
const DEFAULT_DATA_KEY_MS = 55_000;

/**
 * The image store on one AZ directory (design 4). Touches the directory at first use, and fails then with `AzIdentityError` unless it is
 * empty or this installation's.
 *
 * @example
 * const store = createImageStore({ db, directory: '/var/lib/ims/store', threads: 2 });
 * const disk = await store.ingest({ jobId, domainId: await store.plainDomain(projectId), disk, onProgress, signal });
 */
export function createImageStore(options: ImageStoreOptions): ImageStore & ImageReferences<Transaction<Database>> {
  const { db } = options;
  const az = openAz({ driver: 'directory', name: 'az1', path: join(options.directory, 'az1') });
  const index = new SegmentIndex(db);
  const domains = new Domains(db, options.dataKeys, options.dataKeyMs ?? DEFAULT_DATA_KEY_MS);
  const threads = new StoreThreads(options.threads);
  const turns = new Turns(options.concurrency ?? DEFAULT_CONCURRENCY);

  const rules = {
    graceMs: options.collectGraceMs ?? DEFAULT_GRACE_MS,
    rewriteBelow: options.rewriteBelow ?? DEFAULT_REWRITE_BELOW,
  };

  let enrolling: Promise<void> | undefined;
  const ready = async (): Promise<AzStore> => {
    enrolling ??= enrolAz(db, az);
    try {
      await enrolling;
    } catch (error) {
      // Tried again next time: the disk may be mounted by then.
      enrolling = undefined;
      throw error;
    }
    return az;
  };

  const manifestOf = async (domainId: string, manifestHash: string): Promise<Manifest> =>
    readManifest({ az: await ready(), domains }, domainId, manifestHash);

  const diskParts = async ({
    domainId,
    manifestHash,
  }: {
    domainId: string;
    manifestHash: string;
  }): Promise<DiskParts> => {
    const manifest = await manifestOf(domainId, manifestHash);
    const { secret: domainSecret, seal } = await domains.open(domainId);
    return { az, index, domains, domainId, domainSecret, isSealed: seal !== undefined, manifest };
  };

  // A disk is asked for in thousands of requests, and its manifest is megabytes: read and checked once.
  const answered = new Map<string, Promise<DiskParts>>();
  const recent = (disk: { domainId: string; manifestHash: string }): Promise<DiskParts> => {
    const name = `${disk.domainId}/${disk.manifestHash}`;
    const parts = answered.get(name) ?? diskParts(disk);
    answered.delete(name);
    answered.set(name, parts);
    for (const [oldest] of answered) if (answered.size > DISKS_ANSWERED) answered.delete(oldest);
    parts.catch(() => answered.delete(name));
    return parts;
  };

  return {
    ...references,
    plainDomain: async (projectId: string): Promise<DedupDomainId> => dedupDomainId(await domains.plain(projectId)),
    keyedDomain: async (projectId: string, keyId: string): Promise<DedupDomainId> =>
      dedupDomainId(await domains.keyed(projectId, keyId)),
    ingest: async (request) => {
      await ready();
      return turns.take(request.signal, () => ingest({ az, index, domains, threads }, request));
    },
    copy: async (request) => {
      const manifest = await manifestOf(request.from.domainId, request.from.manifestHash);
      return turns.take(request.signal, () => copy({ az, index, domains, threads }, request, manifest));
    },
    verify: async ({ domainId, manifestHash, signal, onProgress }) => {
      const manifest = await manifestOf(domainId, manifestHash);
      return turns.take(signal, () =>
        verify({ az, index, domains, threads }, { domainId, manifest }, { signal, onProgress }),
      );
    },
    discard: async (jobId: JobId) => {
      await ready();
      const open = (await index.openPacksOf(jobId)).map(({ id }) => id);
      for (const packId of open) await az.removePack(packId);
      await index.forgetOpenPacks(open);
      await index.dropHolds(jobId);
    },
    receive: async (request) => {
      await ready();
      return turns.take(request.signal, async () => {
        const { base } = request;
        // A base is a help, not a need: one that has gone costs bytes, nothing else. Of an encrypted one nothing crosses the line, not even hashes
        // (ENC-04), and its key may be switched off.
        const known =
          base === undefined || (await domains.isKeyed(base.domainId))
            ? undefined
            : await diskParts(base).catch((error: unknown) => {
                if (error instanceof ManifestNotFoundError) return undefined;
                throw error;
              });
        return receive({ az, index, domains }, request, known);
      });
    },
    manifestBytes: async ({ domainId, manifestHash }) => (await manifestOf(domainId, manifestHash)).bytes,
    answer: async (disk, request) => answerExchange(await recent(disk), request),
    open: async (disk, form) => {
      const parts = await diskParts(disk);
      switch (form) {
        case 'raw':
          return rawFile(parts);
        case 'zvhd2':
          return zvhd2File(parts);
        default:
          return form satisfies never;
      }
    },
    collect: async (request) => new Collector(db, await ready(), index, { ...rules, ...request }).run(),
    isCollectionDue: () => isCollectionDue(db, rules),
    audit: async () => audit(db, await ready()),
    close: async () => {
      await threads.close();
      domains.close();
    },
  };
}
