import { randomBytes, randomUUID } from 'node:crypto';
import { copyFile, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createActivities, type InspectionTime } from '@ims/activities';
import { type BucketStore, createBuckets } from '@ims/buckets';
import {
  type CreateImageRequest,
  imageId,
  type JobId,
  jobId,
  jobStream,
  projectId,
  type ProjectId,
  SYSTEM,
} from '@ims/contract';
import {
  ImagesRepository,
  inTransaction,
  JobsRepository,
  OutboxRepository,
  QuotaRepository,
  systemClock,
} from '@ims/db';
import {
  batchSizeOf,
  type CreateImageCommand,
  dataDiskIdsOf,
  decideCreateBatch,
  decideCreateImage,
  decideCreateMetadata,
  decidePauseJob,
  decideResumeJob,
  decideUpload,
} from '@ims/domain';
import { waitFor } from '@ims/embedded';
import { appendEvents } from '@ims/event-log';
import { createImageStore } from '@ims/image-store';
import { domainDataKeys, EmbeddedKeys, type KeyService } from '@ims/keys';
import {
  type Backup,
  backupToImage,
  dataDisksToImage,
  type EmbeddedCloud,
  openEmbeddedCloud,
  type Server,
  serverToBackUp,
  sourceBackupOf,
  sourceServerOf,
  sourceVolumeOf,
  sourceWholeServerOf,
  storedImages,
  systemDiskToImage,
  type Volume,
  volumeToImage,
  type Vault,
} from '@ims/neighbours';
import {
  cloudQueue,
  controlQueue,
  type EngineLog,
  fetchQueue,
  imageBatchWorkflow,
  imageCreateWorkflow,
  jobOutbox,
  JobStarter,
  Reconciler,
  Temporal,
  transferQueue,
} from '@ims/job-engine';
import { createPeers, type PeerAddress } from '@ims/peer';
import { createStagedFiles, type StagedFiles, WebRules } from '@ims/staging';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { convertDisk } from './disks';
import { FaultyActivities, type FaultPlan } from './saga-laws/faults';
import type { Outcome, SagaUnderTest } from './saga-laws/describe-saga-laws';
import { temporaryDirectory } from './temporary-directory';
import { testDatabase, type TestDatabase } from './test-database';
import { testTemporal, workflowBundlePath } from './test-temporal';
import { jobViolations, systemViolations } from './violations';

const QUIET: EngineLog = { info: () => undefined, warn: () => undefined, error: () => undefined };
// A job of the laws takes well under a second; a queue of a hundred of them on two busy cores takes its time.
const SETTLE_DEADLINE_MS = 90_000;

const GIB = 2 ** 30;
// backends E5.
const SMALLEST_DATA_DISK_GIB = 10;

export interface ImportRequest {
  name?: string;
  key: string;
  minDisk?: number;
  osVersion?: string;
  bootCheck?: boolean;
  cmkId?: string;
}

/**
 * A region inside one test process: real Postgres, real Temporal, real store and bucket, real activities with planned faults. Unlike
 * `TestStack` it has no gateway and no processes of its own, so a test can reach into every part.
 */
export class TestCell {
  private constructor(
    readonly region: string,
    readonly projectId: ProjectId,
    readonly database: TestDatabase,
    readonly directory: string,
    readonly store: ReturnType<typeof createImageStore>,
    readonly cloud: EmbeddedCloud,
    readonly staged: StagedFiles,
    /** Keys of the cell's project, which data keys of encrypted images are wrapped by. */
    readonly keys: KeyService,
    readonly faults: FaultyActivities,
    readonly temporal: Temporal,
    readonly starter: JobStarter,
    readonly reconciler: Reconciler,
    private readonly workers: Worker[],
    private readonly running: Promise<unknown>,
    private readonly connection: NativeConnection,
  ) {}

  /**
   * `inspection`: when files that are sent are looked into; at once when left out. `region`: its name; one of its own when left out. `peers`: other
   * regions, none when left out. `buckets`: what its worker sees of the real buckets, for tests in which those fail.
   */
  static async start(
    options: {
      inspection?: InspectionTime;
      region?: string;
      peers?: ReadonlyMap<string, PeerAddress>;
      buckets?: (real: BucketStore) => BucketStore;
    } = {},
  ): Promise<TestCell> {
    quietEngine();
    const database = await testDatabase({ poolSize: 20 });
    const directory = await temporaryDirectory();
    await mkdir(join(directory, 'buckets', 'images'), { recursive: true });
    const region = options.region ?? `c${randomBytes(4).toString('hex')}`;
    const { db } = database;
    const keys = new EmbeddedKeys({ db, rootKey: randomBytes(32), clock: systemClock });
    const store = createImageStore({
      db,
      directory: join(directory, 'store'),
      threads: 2,
      collectGraceMs: 0,
      dataKeys: domainDataKeys(keys, region),
      // The key is asked for at every use.
      dataKeyMs: 1,
    });
    const cloud = await openEmbeddedCloud({
      db,
      directory: join(directory, 'cloud'),
      images: storedImages(store),
      qemu: false,
    });
    const staged = createStagedFiles({
      db,
      databaseUrl: database.url,
      directory: join(directory, 'staging'),
      maxProjectBytes: GIB,
      clock: systemClock,
    });
    const buckets = createBuckets({ driver: 'directory', root: join(directory, 'buckets'), region });
    const faults = new FaultyActivities(
      createActivities({
        db,
        clock: systemClock,
        store,
        buckets: options.buckets?.(buckets) ?? buckets,
        servers: cloud.servers,
        volumes: cloud.volumes,
        bootChecks: cloud.bootChecks,
        staged,
        // Servers of tests are on loopback, at ports of the system's choice.
        web: {
          rules: new WebRules({ ports: Array.from({ length: 65_536 }, (_, port) => port), allow: ['127.0.0.1'] }),
          maxBytes: GIB,
          idleMs: 10_000,
          pauseMs: 10,
        },
        backups: cloud.backups,
        inspection: options.inspection ?? 'at-upload',
        peers: createPeers(region, options.peers ?? new Map(), systemClock),
        region,
        controlQueue: controlQueue(region),
        worker: 'test-cell',
      }),
    );
    const at = await testTemporal();
    const temporal = new Temporal(at);
    const connection = await NativeConnection.connect({ address: at.address });
    const shared = { connection, namespace: at.namespace, activities: faults.activities };
    const workers = [
      await Worker.create({
        ...shared,
        taskQueue: controlQueue(region),
        workflowBundle: { codePath: await workflowBundlePath() },
      }),
      await Worker.create({ ...shared, taskQueue: transferQueue(region), maxConcurrentActivityTaskExecutions: 4 }),
      await Worker.create({ ...shared, taskQueue: fetchQueue(region), maxConcurrentActivityTaskExecutions: 4 }),
      await Worker.create({ ...shared, taskQueue: cloudQueue(region) }),
    ];
    const running = Promise.all(workers.map((worker) => worker.run()));
    running.catch(() => undefined);
    const starter = new JobStarter(db, temporal, systemClock, QUIET);
    const reconciler = new Reconciler(db, temporal, starter, systemClock, QUIET);
    const project = projectId(randomBytes(16).toString('hex'));
    return new TestCell(
      region,
      project,
      database,
      directory,
      store,
      cloud,
      staged,
      keys,
      faults,
      temporal,
      starter,
      reconciler,
      workers,
      running,
      connection,
    );
  }

  get db() {
    return this.database.db;
  }

  /** Puts a file into the bucket `images`. */
  async putFile(path: string, key: string): Promise<void> {
    await copyFile(path, join(this.directory, 'buckets', 'images', key));
  }

  /** Accepts an import exactly as the gateway does; starts its workflow unless told to leave that to the relay. */
  async submitImport(
    request: ImportRequest,
    options: { before?: (id: JobId) => void; start?: boolean } = {},
  ): Promise<{ jobId: JobId; imageId: string }> {
    return this.submit(
      {
        name: request.name ?? 'under-test',
        image_url: `images:${request.key}`,
        min_disk: request.minDisk ?? 1,
        ...(request.osVersion === undefined ? {} : { os_version: request.osVersion }),
        ...(request.bootCheck === undefined ? {} : { boot_check: request.bootCheck }),
        ...(request.cmkId === undefined ? {} : { cmk_id: request.cmkId }),
      },
      options,
    );
  }

  /** Accepts the import of a large file of the bucket as the gateway does; a raw one needs its bitmap beside it. */
  async submitQuickImport(key: string, minDisk: number): Promise<{ jobId: JobId; imageId: string }> {
    return this.submit(
      {
        name: 'under-test',
        image_url: `images:${key}`,
        min_disk: minDisk,
        os_version: 'Debian GNU/Linux 10.0.0 64bit',
      },
      { door: 'quick-import' },
    );
  }

  /** Makes an image without bytes, unless one waits for them, and accepts a file for it, as the gateway does with one that was sent. */
  async submitUpload(
    bytes: Uint8Array,
    diskFormat: string,
    options: { before?: (id: JobId) => void; into?: string } = {},
  ): Promise<{ jobId: JobId; imageId: string; stagedId: string }> {
    const stagedId = `put-${randomUUID()}`;
    const image = imageId(options.into ?? randomUUID());
    const command = { projectId: this.projectId, jobId: jobId(randomBytes(16).toString('hex')) };
    const plenty = { limit: 10_000, used: 0, reserved: 0 };
    options.before?.(command.jobId);
    await this.staged.create(stagedId, { projectId: this.projectId, imageId: image });
    const sizeBytes = await this.staged.append(stagedId, 0, Readable.from([bytes]));
    const outboxId = await inTransaction(this.db, async (trx) => {
      const made = decideCreateMetadata(
        { imageQuota: plenty },
        { projectId: this.projectId, imageId: image, request: { name: 'under-test', disk_format: diskFormat } },
      );
      if (options.into === undefined)
        await appendEvents(trx, { projectId: this.projectId, actor: SYSTEM }, made.events);
      const row = { id: image, projectId: this.projectId, name: 'under-test', status: 'queued', diskFormat };
      const { events, input } = decideUpload(
        { image: { ...row, minDiskGib: 0, attributes: {}, isBeingMade: false }, createTaskQuota: plenty },
        { ...command, from: { by: 'upload', stagedId, sizeBytes } },
      );
      await this.staged.claim(trx, stagedId, command.jobId);
      await appendEvents(trx, { projectId: this.projectId, actor: SYSTEM, jobId: command.jobId }, events);
      return new OutboxRepository(trx).add(jobOutbox(imageCreateWorkflow(input), this.region));
    });
    await this.starter.startNow(outboxId);
    return { jobId: command.jobId, imageId: image, stagedId };
  }

  private async submit(
    request: CreateImageCommand['request'],
    options: { before?: (id: JobId) => void; start?: boolean } & Pick<
      CreateImageCommand,
      'door' | 'server' | 'backup' | 'wholeServer' | 'volume' | 'lineage'
    >,
  ): Promise<{ jobId: JobId; imageId: string }> {
    const { before, start, ...source } = options;
    const command: CreateImageCommand = {
      projectId: this.projectId,
      jobId: jobId(randomBytes(16).toString('hex')),
      imageId: imageId(randomUUID()),
      request,
      ...source,
    };
    before?.(command.jobId);
    const outboxId = await inTransaction(this.db, async (trx) => {
      await QuotaRepository.lock(trx, this.projectId, ['image', 'create_task']);
      const plenty = { limit: 10_000, used: 0, reserved: 0 };
      const { events, input } = decideCreateImage({ imageQuota: plenty, createTaskQuota: plenty }, command);
      await appendEvents(trx, { projectId: this.projectId, actor: SYSTEM, jobId: command.jobId }, events);
      return new OutboxRepository(trx).add(jobOutbox(imageCreateWorkflow(input), this.region));
    });
    if (start !== false) await this.starter.startNow(outboxId);
    return { jobId: command.jobId, imageId: command.imageId };
  }

  /** An image of the bytes of a raw file, imported as a qcow2 and settled; resolves with its id. */
  async anImage(rawFile: string): Promise<string> {
    const key = `${randomUUID()}.qcow2`;
    await this.putFile(await convertDisk(rawFile, 'qcow2-v3'), key);
    const { jobId: id, imageId: made } = await this.submitImport({ key });
    await this.settle(id);
    return made;
  }

  /**
   * A server of the cell's project whose system disk holds the bytes of a raw file, and further disks those of others; running, as far as the cloud's
   * records go, unless told otherwise.
   */
  async aServer(
    rawFile: string,
    status: 'ACTIVE' | 'SHUTOFF' = 'ACTIVE',
    dataFiles: readonly string[] = [],
  ): Promise<Server> {
    const { size } = await stat(rawFile);
    return this.cloud.servers.create({
      id: randomUUID(),
      projectId: this.projectId,
      name: 'under-test',
      kind: 'ecs',
      flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
      availabilityZone: 'az1',
      volumes: [
        {
          id: randomUUID(),
          create: { sizeGib: Math.ceil(size / GIB), use: 'system', origin: { from: 'file', path: rawFile } },
          bootIndex: 0,
          deleteOnTermination: true,
        },
        ...dataFiles.map((path) => ({
          id: randomUUID(),
          create: { sizeGib: SMALLEST_DATA_DISK_GIB, use: 'data' as const, origin: { from: 'file' as const, path } },
          bootIndex: null,
          deleteOnTermination: true,
        })),
      ],
      initialStatus: status,
    });
  }

  /** Accepts the imaging of a server as the gateway does. */
  async submitServerImage(
    serverId: string,
    options: { before?: (id: JobId) => void } = {},
  ): Promise<{ jobId: JobId; imageId: string }> {
    const server = sourceServerOf(await systemDiskToImage(this.cloud, this.projectId, serverId));
    return this.submit({ name: 'under-test', instance_id: serverId }, { ...options, server });
  }

  /** A backup of all disks of a server as they are now, by either service. */
  async aBackup(serverId: string, line: 'CBR' | 'CSBS' = 'CBR'): Promise<Backup> {
    const { backups } = this.cloud;
    const { projectId } = this;
    const request = { id: randomUUID(), projectId, serverId, name: 'under-test' };
    if (line === 'CSBS') return backups.recordCsbsItem(request);
    const vault = (await backups.vaultOfServer(projectId, serverId)) ?? (await this.aVault());
    const { backupId } = await backups.createCheckpoint({ ...request, vaultId: vault.id });
    const backup = await backups.get(projectId, backupId);
    if (backup === undefined) throw new Error('the checkpoint has no backup');
    return backup;
  }

  /** A vault for backups of servers, large enough for those of tests. */
  aVault(): Promise<Vault> {
    const { projectId } = this;
    return this.cloud.backups.createVault({
      id: randomUUID(),
      projectId,
      name: 'under-test',
      objectType: 'server',
      protectType: 'backup',
      sizeGib: 100,
    });
  }

  /** Accepts the imaging of a backup as the gateway does. */
  async submitBackupImage(
    backupId: string,
    options: { line?: 'CBR' | 'CSBS'; before?: (id: JobId) => void } & Pick<CreateImageCommand, 'lineage'> = {},
  ): Promise<{ jobId: JobId; imageId: string }> {
    const { line = 'CBR', ...rest } = options;
    const { projectId } = this;
    const images = new ImagesRepository(this.db);
    const found = await backupToImage(this.cloud.backups, images, { projectId, backupId, line });
    return this.submit(
      { name: 'under-test', backup_id: backupId, whole_image_type: line },
      { ...rest, door: 'whole-images', backup: sourceBackupOf(found) },
    );
  }

  /** Accepts the imaging of a whole server, by a backup in a vault, as the gateway does. */
  async submitWholeServerImage(
    { serverId, vaultId }: { serverId: string; vaultId: string },
    options: { before?: (id: JobId) => void } = {},
  ): Promise<{ jobId: JobId; imageId: string }> {
    const { projectId } = this;
    const found = await serverToBackUp(this.cloud, { projectId, serverId, vaultId, isForImage: true });
    return this.submit(
      { name: 'under-test', instance_id: serverId, vault_id: vaultId },
      { ...options, door: 'whole-images', wholeServer: sourceWholeServerOf(found, vaultId) },
    );
  }

  /** Images that hold a backup although they are no more. */
  async deadClaims(): Promise<string[]> {
    const rows = await this.db
      .selectFrom('cloud.backup')
      .innerJoin('image', 'image.id', 'cloud.backup.image_id')
      .select('image.id')
      .where('image.deleted_at', 'is not', null)
      .execute();
    return rows.map(({ id }) => id);
  }

  /** A disk of no server that holds the bytes of a raw file, and is a whole number of GiB. */
  async aDisk(rawFile: string): Promise<Volume> {
    const { size } = await stat(rawFile);
    return this.cloud.volumes.create({
      id: randomUUID(),
      projectId: this.projectId,
      sizeGib: Math.ceil(size / GIB),
      use: 'system',
      origin: { from: 'file', path: rawFile },
    });
  }

  /** Accepts the imaging of one disk as the gateway does. */
  async submitVolumeImage(
    volumeId: string,
    options: { before?: (id: JobId) => void } = {},
  ): Promise<{ jobId: JobId; imageId: string }> {
    const volume = sourceVolumeOf(await volumeToImage(this.cloud, this.projectId, volumeId));
    const request = { name: 'under-test', volume_id: volumeId, os_version: 'Ubuntu 18.04 Server 64bit' };
    return this.submit(request, { ...options, volume });
  }

  /** Accepts a call for several images as the gateway does; `before` is told the job of all and those of each. */
  async submitBatch(
    request: CreateImageRequest,
    options: { before?: (id: JobId, subJobs: JobId[]) => void; start?: boolean } = {},
  ): Promise<{ jobId: JobId; subJobs: { jobId: JobId; imageId: string }[] }> {
    const freshJobId = (): JobId => jobId(randomBytes(16).toString('hex'));
    const jobIds = Array.from({ length: batchSizeOf(request) ?? 0 }, freshJobId).sort();
    const parts = jobIds.map((id) => ({ jobId: id, imageId: imageId(randomUUID()) }));
    const { server, disks } =
      request.image_url === undefined
        ? await dataDisksToImage(this.cloud, this.projectId, dataDiskIdsOf(request))
        : { server: null, disks: [] };
    const command = {
      projectId: this.projectId,
      jobId: freshJobId(),
      parts,
      request,
      volumes: disks.map((disk) => sourceVolumeOf({ disk, server })),
    };
    options.before?.(command.jobId, jobIds);
    const outboxIds = await inTransaction(this.db, async (trx) => {
      await QuotaRepository.lock(trx, this.projectId, ['image', 'create_task']);
      const plenty = { limit: 10_000, used: 0, reserved: 0 };
      const decision = decideCreateBatch({ imageQuota: plenty, createTaskQuota: plenty }, command);
      const context = { projectId: this.projectId, actor: SYSTEM, jobId: command.jobId };
      await appendEvents(trx, context, decision.events);
      const outbox = new OutboxRepository(trx);
      const ids = [await outbox.add(jobOutbox(imageBatchWorkflow(decision.batch), this.region))];
      for (const input of decision.images)
        ids.push(await outbox.add(jobOutbox(imageCreateWorkflow(input), this.region)));
      return ids;
    });
    if (options.start !== false) for (const id of outboxIds) await this.starter.startNow(id);
    return { jobId: command.jobId, subJobs: parts };
  }

  /** Snapshots that no ended job may leave behind. */
  async snapshots(): Promise<string[]> {
    const rows = await this.db.selectFrom('cloud.snapshot').select('id').execute();
    return rows.map(({ id }) => id);
  }

  /** Records a cancellation as the API does, and tells the engine nothing. */
  async cancelInLog(id: JobId): Promise<void> {
    await inTransaction(this.db, async (trx) => {
      // Jobs of the service itself have a project of their own, and the trail of a project has all of a job or nothing.
      const job = await new JobsRepository(trx).lock(id);
      await appendEvents(trx, { projectId: job?.project_id ?? this.projectId, actor: SYSTEM, jobId: id }, [
        {
          stream: jobStream(id),
          key: 'cancel-requested',
          type: 'job.cancel-requested',
          data: { reason: 'cancelled by the test' },
        },
      ]);
    });
  }

  /** Records a pause, or its end, as the API does. */
  async pauseInLog(id: JobId, isPaused: boolean): Promise<void> {
    await inTransaction(this.db, async (trx) => {
      const job = await new JobsRepository(trx).lock(id);
      if (job === undefined) throw new Error(`there is no job ${id}`);
      const owner = projectId(job.project_id);
      const { saga, outcome, cancel_reason: cancelReason, pauses } = job;
      const decide = isPaused ? decidePauseJob : decideResumeJob;
      const { events } = decide(
        { id, projectId: owner, saga, outcome, cancelReason, isPaused: job.paused_at !== null, pauses },
        { projectId: owner, reason: 'said by the test' },
      );
      await appendEvents(trx, { projectId: owner, actor: SYSTEM, jobId: id }, events);
    });
  }

  async settle(id: string): Promise<Outcome> {
    let outcome: Outcome | null = null;
    await waitFor(
      async () => {
        const job = await this.db.selectFrom('job').select('outcome').where('id', '=', id).executeTakeFirst();
        outcome = job?.outcome ?? null;
        return outcome !== null;
      },
      { deadlineMs: SETTLE_DEADLINE_MS, what: `job ${id} ends` },
    );
    // The workflow's last task follows its last event by a moment; what it returns is the business of the caller.
    await this.temporal.client.workflow
      .getHandle(id)
      .result()
      .catch(() => undefined);
    if (outcome === null) throw new Error('unreachable: waited for the outcome');
    return outcome;
  }

  /** What must hold for one finished job (I2, I4, I8). */
  async checkJob(id: string, outcome: Outcome): Promise<void> {
    expect(await jobViolations(this.db, id)).toEqual([]);
    const job = await this.db
      .selectFrom('job')
      .select(['outcome', 'image_id', 'saga'])
      .where('id', '=', id)
      .executeTakeFirst();
    expect(job?.outcome).toBe(outcome);
    const parts = await this.db.selectFrom('job').select(['id', 'outcome']).where('parent_id', '=', id).execute();
    for (const part of parts) {
      // A job of several images ends last, and the images that were made stay.
      if (part.outcome === null) throw new Error(`job ${id} has ended before its part ${part.id}`);
      await this.checkJob(part.id, part.outcome);
    }
    if (outcome !== 'succeeded' || parts.length > 0 || job?.image_id === null) return;
    // The image of a copy to another region is there, not here.
    if (job?.saga === 'image-replicate') return;
    const image = await this.db
      .selectFrom('image')
      .innerJoin('job', 'job.image_id', 'image.id')
      .select('image.status')
      .where('job.id', '=', id)
      .executeTakeFirst();
    expect(image?.status).toBe('active');
  }

  /** What must hold for the whole cell once nothing runs any more (I2, I4, I5, I6, I8). */
  async checkSystem(): Promise<void> {
    const { db, store, temporal } = this;
    expect(await systemViolations({ db, store, temporal, ownerUrl: this.database.ownerUrl })).toEqual([]);
    expect(await this.snapshots()).toEqual([]);
    expect(await this.deadClaims()).toEqual([]);
  }

  async stop(): Promise<void> {
    for (const worker of this.workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await this.running.catch(() => undefined);
    await this.temporal.close();
    await this.connection.close();
    await this.cloud.close();
    await this.staged.close();
    await this.store.close();
    await this.database.drop();
  }
}

let quiet = false;
/** Once per process: failures planned by tests are no news. */
function quietEngine(): void {
  if (quiet) return;
  quiet = true;
  Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });
}

/** The import saga of a cell, for `describeSagaLaws`. Every job imports `key` under its own name. */
export function importSagaOf(cell: TestCell, key: string): SagaUnderTest {
  return sagaOf(cell, (before) => cell.submitImport({ key }, { before }));
}

/** The saga that makes an image of a file that was sent. Every job has an image and a staged file of its own. */
export function uploadSagaOf(cell: TestCell, bytes: Uint8Array, diskFormat: string): SagaUnderTest {
  return sagaOf(cell, (before) => cell.submitUpload(bytes, diskFormat, { before }));
}

/** The saga that makes an image of a server's system disk. All jobs image the same server, each by a snapshot of its own. */
export function serverImageSagaOf(cell: TestCell, serverId: string): SagaUnderTest {
  return sagaOf(cell, (before) => cell.submitServerImage(serverId, { before }));
}

/** The saga that makes an image of a whole server. Each job has a backup of its own, since one backup makes one image. */
export function backupImageSagaOf(cell: TestCell, serverId: string): SagaUnderTest {
  return sagaOf(cell, async (before) => cell.submitBackupImage((await cell.aBackup(serverId)).id, { before }));
}

/** The saga that makes an image of a whole server, by a backup of its own. Each job has a server of its own, since a server has one backup made at a time. */
export function wholeServerSagaOf(cell: TestCell, rawFile: string, dataFiles: readonly string[]): SagaUnderTest {
  const servers = new Map<string, string>();
  const saga = sagaOf(cell, async (before) => {
    const { id: serverId } = await cell.aServer(rawFile, 'ACTIVE', dataFiles);
    const { id: vaultId } = await cell.aVault();
    const job = await cell.submitWholeServerImage({ serverId, vaultId }, { before });
    servers.set(job.jobId, serverId);
    return job;
  });
  return {
    ...saga,
    cleanSlate: async (id, outcome) => {
      await cell.checkJob(id, outcome);
      const serverId = servers.get(id) ?? '';
      const backups = await cell.cloud.backups.list(cell.projectId, { serverId });
      expect((await cell.cloud.servers.get(cell.projectId, serverId))?.taskState).toBeNull();
      // A backup that was made for an image that came to nothing would be paid for by nobody who wanted it.
      expect(backups.map(({ status }) => status)).toEqual(outcome === 'succeeded' ? ['available'] : []);
    },
  };
}

/** The saga that makes an image of one disk. All jobs image the same disk, each by a snapshot of its own. */
export function volumeImageSagaOf(cell: TestCell, volumeId: string): SagaUnderTest {
  return sagaOf(cell, (before) => cell.submitVolumeImage(volumeId, { before }));
}

/** The saga over several images, made from files or disks as `request` says. Faults are for the job of all. */
export function batchSagaOf(cell: TestCell, request: CreateImageRequest): SagaUnderTest {
  return sagaOf(cell, (before) => cell.submitBatch(request, { before }));
}

/** A saga whose jobs make images. */
export function sagaOf(
  cell: TestCell,
  submit: (before: (job: JobId) => void) => Promise<{ jobId: JobId }>,
): SagaUnderTest {
  return {
    submit: async (plan) => {
      const { jobId: id } = await submit((job) => cell.faults.plan(job, plan));
      return id;
    },
    settle: (id) => cell.settle(id),
    hits: (id, activity) => cell.faults.hits(id, activity),
    cancelInEngine: async (id) => {
      await cell.temporal.client.workflow.getHandle(id).cancel();
    },
    cancelInLog: (id) => cell.cancelInLog(jobId(id)),
    pauseInLog: (id, isPaused) => cell.pauseInLog(jobId(id), isPaused),
    cleanSlate: (id, outcome) => cell.checkJob(id, outcome),
    cleanSystem: () => cell.checkSystem(),
  };
}

/** A saga that makes or changes servers and disks; `checkJob` looks at what an ended job left. */
export function cloudSagaOf<Job extends { jobId: JobId }>(
  cell: TestCell,
  submit: (plan: FaultPlan) => Promise<Job>,
  checkJob: (job: Job, outcome: Outcome) => Promise<void>,
): SagaUnderTest {
  const jobs = new Map<string, Job>();
  return {
    ...sagaOf(cell, () => Promise.reject(new Error('jobs of servers and disks are submitted with their plan'))),
    submit: async (plan) => {
      const job = await submit(plan);
      jobs.set(job.jobId, job);
      return job.jobId;
    },
    cleanSlate: async (id, outcome) => {
      const job = jobs.get(id);
      if (job === undefined) throw new Error(`job ${id} was not submitted here`);
      await checkJob(job, outcome);
    },
  };
}
