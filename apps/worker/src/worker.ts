import { parseRootKey } from '@ims/access';
import { createActivities, LostCharges } from '@ims/activities';
import { createBuckets, type BucketStore } from '@ims/buckets';
import { connect, IdempotencyRepository, systemClock } from '@ims/db';
import { maxFileBytes } from '@ims/domain';
import { sealEvents } from '@ims/event-log';
import { createImageStore } from '@ims/image-store';
import { openEmbeddedCloud, storedImages, whyNoMachine } from '@ims/neighbours';
import {
  cloudQueue,
  controlQueue,
  engineTasks,
  fetchQueue,
  JobStarter,
  Maintenance,
  Reconciler,
  StoreCollection,
  sweepRecycleBin,
  Temporal,
  transferQueue,
} from '@ims/job-engine';
import { createPeers } from '@ims/peer';
import { domainDataKeys, EmbeddedKeys } from '@ims/keys';
import { createStagedFiles, sweepUploads } from '@ims/staging';
import { NativeConnection, Worker } from '@temporalio/worker';
import type { Logger } from 'pino';
import { CloudOwner } from './cloud-owner';
import type { WorkerConfig } from './config';

export interface RunningWorker {
  /** Ends when the worker has been stopped; fails when the engine connection broke for good. */
  readonly done: Promise<void>;
  stop(): Promise<void>;
}

// A transfer that is cancelled by a shutdown goes on elsewhere from its last sealed pack; it needs time to seal none, only to stop its threads.
const SHUTDOWN_GRACE = '5s';
// Below the time after which supervisors kill (30 s).
const SHUTDOWN_FORCE = '20s';
// Keys of calls are kept for a day; a few minutes more or less are all the same, and a pass removes at most so many.
const SWEEP_KEYS_EVERY_MS = 60_000;
const KEYS_PER_SWEEP = 10_000;
// What is swept is a day old and rare; a look at every layer takes a millisecond for each.
const SWEEP_DISKS_EVERY_MS = 60 * 60_000;
// Images stay in a recycle bin for days: an hour more hurts nobody.
const SWEEP_RECYCLE_BIN_EVERY_MS = 60 * 60_000;
// A server of the web that sends nothing for a minute has forgotten us; one that is busy is asked again after a second, then ever later.
const WEB_IDLE_MS = 60_000;
const WEB_PAUSE_MS = 1_000;
// A charge that was lost goes on for a minute or so; to look at a few of them is a few statements.
const END_LOST_CHARGES_EVERY_MS = 30_000;
// Asking whether a pass is due is one statement; how often there is one is for the decider to say.
const COLLECT_EVERY_MS = 60_000;

// An event is to be in the trail within a second of its commit (cts-api 8.3); with nothing to seal a look is one statement that reads one row.
const SEAL_EVERY_MS = 250;
// Each waits on a socket most of the time; what arrives is written without being looked at. Stalled ones only keep other fetches waiting.
const FETCHES = 16;

/** Wires ports to workers of the queues, and the tasks that keep Postgres and the engine in step. No logic of its own. */
export async function startWorker(config: WorkerConfig, log: Logger): Promise<RunningWorker> {
  // First, because it is what fails while the engine is not up yet: nothing is left open behind a failed start.
  const connection = await NativeConnection.connect({ address: config.temporal.address });
  const db = connect(config.databaseUrl, { poolSize: 10 });
  const keys = new EmbeddedKeys({ db, rootKey: parseRootKey(config.rootKey), clock: systemClock });
  const store = createImageStore({
    db,
    directory: config.storeDir,
    threads: config.threads,
    dataKeys: domainDataKeys(keys, config.region),
    ...config.collectGrace,
  });
  const whyNoQemu = config.cloudQemu ? await whyNoMachine('bios') : 'IMS_CLOUD_QEMU is not set: servers are records';
  const cloud = await openEmbeddedCloud({
    db,
    directory: config.cloudDir,
    images: storedImages(store),
    qemu: whyNoQemu === undefined,
    whyNoQemu,
  });
  const staged = createStagedFiles({
    db,
    databaseUrl: config.databaseUrl,
    ...config.staging,
    clock: systemClock,
  });
  const temporal = new Temporal(config.temporal);
  const activities = createActivities({
    db,
    clock: systemClock,
    store,
    buckets: bucketsOf(config),
    servers: cloud.servers,
    volumes: cloud.volumes,
    bootChecks: cloud.bootChecks,
    staged,
    web: { rules: config.webRules, maxBytes: maxFileBytes(false), idleMs: WEB_IDLE_MS, pauseMs: WEB_PAUSE_MS },
    backups: cloud.backups,
    inspection: config.inspection,
    peers: createPeers(config.region, config.peers, systemClock),
    region: config.region,
    controlQueue: controlQueue(config.region),
    worker: config.identity,
  });
  const shared = {
    connection,
    namespace: config.temporal.namespace,
    identity: config.identity,
    activities,
    shutdownGraceTime: SHUTDOWN_GRACE,
    shutdownForceTime: SHUTDOWN_FORCE,
    // Sent at once when one is due, so that Temporal's UI follows a transfer (the cap of 60 s would not).
    maxHeartbeatThrottleInterval: '3s',
    defaultHeartbeatThrottleInterval: '3s',
  };
  const control = await Worker.create({
    ...shared,
    taskQueue: controlQueue(config.region),
    ...(config.workflowBundle === undefined
      ? { workflowsPath: require.resolve('@ims/workflows') }
      : { workflowBundle: { codePath: config.workflowBundle } }),
    // Sagas are a few lines between activities: one thread runs hundreds of them, and each further one holds a copy of the bundle in memory.
    workflowThreadPoolSize: 1,
    maxConcurrentActivityTaskExecutions: 40,
  });
  const transfer = await Worker.create({
    ...shared,
    taskQueue: transferQueue(config.region),
    maxConcurrentActivityTaskExecutions: config.transfers,
  });
  const fetches = await Worker.create({
    ...shared,
    taskQueue: fetchQueue(config.region),
    maxConcurrentActivityTaskExecutions: FETCHES,
  });

  const owner = new CloudOwner({
    db,
    cloud,
    createWorker: () => Worker.create({ ...shared, taskQueue: cloudQueue(config.region) }),
    log,
  });

  const starter = new JobStarter(db, temporal, systemClock, log);
  const reconciler = new Reconciler(db, temporal, starter, systemClock, log);
  const collection = new StoreCollection({
    db,
    starter,
    clock: systemClock,
    region: config.region,
    isDue: () => store.isCollectionDue(),
  });
  const lostCharges = new LostCharges(db, cloud.backups, systemClock);
  const maintenance = new Maintenance(
    [
      ...engineTasks(starter, reconciler),
      { name: 'seal', everyMs: SEAL_EVERY_MS, run: () => sealEvents(db) },
      { name: 'collect', everyMs: COLLECT_EVERY_MS, run: () => collection.order() },
      { name: 'end-lost-charges', everyMs: END_LOST_CHARGES_EVERY_MS, run: () => lostCharges.pass() },
      {
        name: 'sweep-recycle-bin',
        everyMs: SWEEP_RECYCLE_BIN_EVERY_MS,
        run: () => sweepRecycleBin({ db, store, starter, clock: systemClock, region: config.region }),
      },
      { name: 'sweep-disks', everyMs: SWEEP_DISKS_EVERY_MS, run: () => owner.sweep() },
      {
        name: 'sweep-idempotency-keys',
        everyMs: SWEEP_KEYS_EVERY_MS,
        run: () =>
          new IdempotencyRepository(db).sweep(
            new Date(systemClock.now().getTime() - config.idempotencyMs),
            KEYS_PER_SWEEP,
          ),
      },
      {
        name: 'sweep-uploads',
        everyMs: config.sweepEveryMs,
        run: () => sweepUploads({ db, staged, clock: systemClock, idleMs: config.uploadIdleMs }),
      },
    ],
    log,
  );
  const workers = [control, transfer, fetches];
  maintenance.start();
  owner.start();
  const running = Promise.all(workers.map((worker) => worker.run()));

  const close = async (): Promise<void> => {
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await Promise.allSettled([running, owner.stop(), maintenance.stop()]);
    await cloud.close();
    await staged.close();
    await store.close();
    await temporal.close();
    await connection.close();
    await db.destroy();
  };
  let closing: Promise<void> | undefined;
  const stop = (): Promise<void> => (closing ??= close());
  return {
    done: running.then(
      () => stop(),
      async (err: unknown) => {
        // One worker broke: the other must not go on half alone. The supervisor starts the process again.
        await stop();
        throw err;
      },
    ),
    stop,
  };
}

function bucketsOf(config: WorkerConfig): BucketStore {
  const { driver, directory, endpoint, region, accessKeyId, secretAccessKey } = config.buckets;
  if (driver === 'directory') {
    return createBuckets({ driver, root: required('IMS_BUCKET_DIR', directory), region: config.region });
  }
  return createBuckets({
    driver,
    endpoint: required('IMS_BUCKET_S3_ENDPOINT', endpoint),
    region: region ?? config.region,
    accessKeyId: required('IMS_BUCKET_S3_ACCESS_KEY', accessKeyId),
    secretAccessKey: required('IMS_BUCKET_S3_SECRET_KEY', secretAccessKey),
    forcePathStyle: true,
  });
}

function required(name: string, value: string | undefined): string {
  if (value === undefined) throw new TypeError(`${name} is not set`);
  return value;
}
