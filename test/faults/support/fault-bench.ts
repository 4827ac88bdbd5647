import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { systemClock } from '@ims/db';
import { type EngineLog, JobStarter, StoreCollection } from '@ims/job-engine';
import { type EmbeddedCloud, openEmbeddedCloud, type Server, storedImages } from '@ims/neighbours';
import type { RegionUnderFault, RunningStep, Source } from './region-under-fault';
import type { SeededRandom } from './seeded-random';

const QUIET: EngineLog = { info: () => undefined, warn: () => undefined, error: () => undefined };
const GIB = 2 ** 30;

/** What workloads are made with: a region under fault, the cloud beside it, and choices that the seed fixes. */
export class FaultBench {
  readonly collection: StoreCollection;
  readonly #prepared = new Map<string, Promise<unknown>>();

  private constructor(
    readonly region: RegionUnderFault,
    readonly cloud: EmbeddedCloud,
  ) {
    this.collection = new StoreCollection({
      db: region.db,
      starter: new JobStarter(region.db, region.temporal, systemClock, QUIET),
      clock: systemClock,
      region: region.stack.region,
      isDue: () => region.store.isCollectionDue(),
    });
  }

  static async over(region: RegionUnderFault): Promise<FaultBench> {
    const cloud = await openEmbeddedCloud({
      db: region.db,
      directory: region.stack.cloudDirectory,
      images: storedImages(region.store),
      qemu: false,
    });
    return new FaultBench(region, cloud);
  }

  /** What is made once and shared by all trials. */
  once<T>(name: string, prepare: () => Promise<T>): Promise<T> {
    const made = this.#prepared.get(name) ?? prepare();
    this.#prepared.set(name, made);
    // Whoever asks by a name gets what was prepared under it.
    return made as Promise<T>;
  }

  /** A small file that many images may be made of; it stays. */
  smallFile(): Promise<Source> {
    return this.once('a small file', () => this.region.putNoise('small.raw', 2));
  }

  /** A server whose system disk holds the bytes of a bucket file. */
  aServer(key: string, bytes: number, options: { withData?: boolean } = {}): Promise<Server> {
    const origin = { from: 'file', path: join(this.region.stack.bucketDirectory, key) } as const;
    return this.cloud.servers.create({
      id: randomUUID(),
      projectId: this.region.stack.identity.projectId,
      name: 'under-fault',
      kind: 'ecs',
      flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
      availabilityZone: 'az1',
      volumes: [
        {
          id: randomUUID(),
          create: {
            sizeGib: Math.ceil(bytes / GIB),
            use: 'system',
            origin,
          },
          bootIndex: 0,
        },
        // The same bytes on a second disk, which is as large as such a disk is at least (backends E5).
        ...(options.withData === true
          ? [{ id: randomUUID(), create: { sizeGib: 10, use: 'data', origin } as const, bootIndex: null }]
          : []),
      ],
    });
  }

  /** Makes a call that must be accepted; resolves with the id of its job. */
  async accepted(path: string, body: object): Promise<string> {
    const answer = await this.region.stack.call('POST', path, body);
    if (answer.status !== 200) throw new Error(`POST ${path}: ${answer.status} ${answer.text}`);
    // JobAccepted of the contract; a job that it does not name fails the next look-up.
    return (answer.json as { job_id: string }).job_id;
  }

  /** Image of a job, or an empty text while it has none. */
  async imageOf(jobId: string): Promise<string> {
    return (await this.region.job(jobId)).image_id ?? '';
  }

  deleteImage(imageId: string): Promise<void> {
    return this.region.deleteImage(imageId);
  }

  removeFile(key: string): Promise<void> {
    return this.region.removeFile(key);
  }

  async stop(): Promise<void> {
    await this.cloud.close();
  }
}

/** One kind of work for the engine. A file of `workloads/` makes one; `workloads/index.ts` lists them. */
export interface Workload {
  /** The workflow as it is registered, in kebab-case, and what it works on. */
  name: string;
  /** Its steps as attempts record them (`ingest`, `undo:ingest`); a trial aims at one of them. */
  steps: readonly string[];
  /** Whether it goes on in both regions: then the parts of the second one are aimed at, too. */
  isBetweenRegions?: boolean;
  /** Prepares the work and brings it under way; names of images begin with `name`, which nobody else uses. */
  begin(bench: FaultBench, name: string, random: SeededRandom): Promise<Work>;
}

export interface Work {
  /** Its jobs, all of which end. */
  jobIds: readonly string[];
  /** Jobs of the other region that belong to it. */
  jobIdsThere?: readonly string[];
  /**
   * Sets it off, where that is not yet done: called just before the kill and once more when the killed part is back, as by a caller who got no
   * answer. May fail the first time.
   */
  go?(): Promise<void>;
  /** Data bytes that a transfer of its jobs writes: where a kill is aimed at a share of them. */
  dataBytes?: number;
  /** Steps now running, where its jobs do not tell. */
  running?(): Promise<RunningStep[]>;
  /** Whether work that is no job has ended. */
  hasEnded?(): Promise<boolean>;
  /** What is wrong with what came of it, once everything has ended. */
  check(): Promise<string[]>;
  /** Removes what it leaves, so that a thousand trials fit on a disk. */
  tidy?(): Promise<void>;
}

/** Says what differs when a job did not end as it should have. */
export async function outcomeOf(bench: FaultBench, jobId: string, wanted: readonly string[]): Promise<string[]> {
  const { outcome, fail_reason: reason } = await bench.region.job(jobId);
  if (outcome !== null && wanted.includes(outcome)) return [];
  return [`job ${jobId}: ${outcome ?? 'never ended'} instead of ${wanted.join(' or ')} (${reason ?? 'no reason'})`];
}

/** Makes a call that must start a job and may make things; resolves with its id and what it answered. */
export async function jobStarted(bench: FaultBench, method: 'POST' | 'DELETE', path: string, body: object = {}) {
  const answer = await bench.region.stack.call(method, path, body);
  if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  // The contract's own shape: JobAccepted, with the servers that the job makes where it makes some.
  const { job_id: id, serverIds = [] } = answer.json as { job_id: string; serverIds?: string[] };
  return { id, serverIds };
}

/** An active image that servers and disks may be made from; it stays. */
export async function anImage(bench: FaultBench): Promise<string> {
  const id = await bench.region.submit(await bench.smallFile(), 'to-make-from');
  await bench.region.settle([id]);
  return bench.imageOf(id);
}
