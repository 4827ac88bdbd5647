import { randomBytes, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  dedupDomainId,
  imageId as toImageId,
  type JobId,
  jobId as toJobId,
  SERVICE_PROJECT,
  SYSTEM,
} from '@ims/contract';
import { chargeOf, ImagesRepository, inTransaction, OutboxRepository, systemClock, UsageRepository } from '@ims/db';
import { decideBackUpServer, decideCollectStore, decideDeleteImage } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { jobOutbox } from '@ims/job-engine';
import type { SagaUnderTest } from './saga-laws/describe-saga-laws';
import { sagaOf, type TestCell } from './test-cell';
import { jobViolations } from './violations';

export interface DeletionRequest {
  /** Also a protected one. */
  isForced?: boolean;
  imageId: string;
  /** The backup it was made from. */
  backupId?: string;
  isBackupDeleted?: boolean;
}

/** Accepts the deletion of an image exactly as the gateway does; resolves with the id of the job of what follows. */
export async function submitDeletion(
  cell: TestCell,
  { imageId: id, backupId, isBackupDeleted = false, isForced = false }: DeletionRequest,
  before: (job: JobId) => void = () => undefined,
): Promise<{ jobId: JobId }> {
  const imageId = toImageId(id);
  const { projectId } = cell;
  const { jobId, outboxId } = await inTransaction(cell.db, async (trx) => {
    const row = await new ImagesRepository(trx).find(projectId, id);
    if (row === undefined) throw new Error(`there is no image ${id}`);
    const { events, input } = decideDeleteImage(
      {
        id: imageId,
        projectId,
        name: row.name,
        backupId: backupId ?? null,
        status: row.status,
        imageType: row.image_type,
        protected: row.protected && !isForced,
        holdReason: row.hold_reason,
        isBeingMade: false,
        charges: (await new UsageRepository(trx).findOpen(id)).map(chargeOf),
      },
      { projectId, isBackupDeleted },
    );
    const job = toJobId(input.jobId);
    before(job);
    await appendEvents(trx, { projectId, actor: SYSTEM, jobId: job }, events);
    for (const { domain_id: domainId, manifest_hash: manifestHash } of [
      row,
      ...(await new ImagesRepository(trx).parts(id)),
    ]) {
      if (domainId !== null && manifestHash !== null)
        await cell.store.release(trx, { imageId, domainId: dedupDomainId(domainId), manifestHash });
    }
    const outbox = jobOutbox({ type: 'imageDelete', input, summary: `Delete image ${row.name}` }, cell.region);
    return { jobId: job, outboxId: await new OutboxRepository(trx).add(outbox) };
  });
  await cell.starter.startNow(outboxId);
  return { jobId };
}

/** Accepts a pass of the collector, whatever others are under way: what the service never does, and the collector must bear. */
export async function submitCollection(
  cell: TestCell,
  before: (job: JobId) => void = () => undefined,
): Promise<{ jobId: JobId }> {
  const jobId = toJobId(randomBytes(16).toString('hex'));
  const decision = decideCollectStore(
    { last: undefined, isDue: true },
    { jobId, now: systemClock.now(), isByHand: true },
  );
  if (decision === undefined) throw new Error('unreachable: nothing stands against it');
  before(jobId);
  const outboxId = await inTransaction(cell.db, async (trx) => {
    await appendEvents(trx, { projectId: SERVICE_PROJECT, actor: SYSTEM, jobId }, decision.events);
    return new OutboxRepository(trx).add(
      jobOutbox({ type: 'storeCollect', input: decision.input, summary: 'Collect the image store' }, cell.region),
    );
  });
  await cell.starter.startNow(outboxId);
  return { jobId };
}

// As many as the laws of a saga of two steps take, side by side.
const IMAGES = 20;

/** Active images of one file. Made all at once: one after the other they would take longer than what is to be tested. */
async function imagesOf(cell: TestCell, key: string): Promise<string[]> {
  const made = [];
  for (let n = 0; n < IMAGES; n++) made.push(await cell.submitImport({ key }));
  await Promise.all(made.map(({ jobId }) => cell.settle(jobId)));
  return made.map(({ imageId }) => imageId);
}

/** The saga of what follows a deletion, each job on an image of its own that was made from a backup of its own. */
export async function deletionSagaOf(
  cell: TestCell,
  source: { key: string; serverId: string },
): Promise<SagaUnderTest> {
  const vaultId = randomUUID();
  const { projectId, cloud } = cell;
  await cloud.backups.createVault({
    id: vaultId,
    projectId,
    name: 'under-test',
    objectType: 'server',
    protectType: 'backup',
    sizeGib: 100,
  });
  const images: { imageId: string; backupId: string }[] = [];
  for (const imageId of await imagesOf(cell, source.key)) {
    const { backupId } = await cloud.backups.createCheckpoint({
      id: randomUUID(),
      projectId,
      vaultId,
      serverId: source.serverId,
      name: 'under-test',
    });
    await cloud.backups.claimForImage({ projectId, backupId, imageId });
    await stageBytes(cell, imageId);
    images.push({ imageId, backupId });
  }
  const backups = new Map<string, string>();
  const saga = sagaOf(cell, async (before) => {
    const image = images.pop();
    if (image === undefined) throw new Error('no image is left');
    const deletion = await submitDeletion(cell, { ...image, isBackupDeleted: backups.size % 2 === 1 }, before);
    backups.set(deletion.jobId, image.backupId);
    return deletion;
  });
  return {
    ...saga,
    cleanSlate: async (id, outcome) => {
      expect(await jobViolations(cell.db, id)).toEqual([]);
      const job = await cell.db
        .selectFrom('job')
        .innerJoin('image', 'image.id', 'job.image_id')
        .select(['job.outcome', 'job.request', 'image.id', 'image.status'])
        .where('job.id', '=', id)
        .executeTakeFirstOrThrow();
      expect(job).toMatchObject({ outcome, status: 'deleted' });
      const backup = await cloud.backups.get(projectId, backups.get(id) ?? '');
      // However the job ended: nothing that another image needs is held for one that is gone.
      expect(backup?.imageId ?? null).toBeNull();
      expect(await cell.staged.findOfImage(job.id)).toBeUndefined();
      if (outcome !== 'succeeded') return;
      const isGone = JSON.stringify(job.request) === JSON.stringify({ delete_backup: true });
      expect(backup === undefined).toBe(isGone);
    },
  };
}

/** An upload for an image of which some bytes have arrived, and no more will. */
export async function stageBytes(cell: TestCell, imageId: string): Promise<void> {
  const { id } = await cell.staged.create(`upload-${imageId}`, { projectId: cell.projectId, imageId });
  await cell.staged.append(id, 0, Readable.from([randomBytes(1_000)]));
}

/** The collector's saga. An image goes before each job; with the last one their common bytes do. */
export async function collectionSagaOf(cell: TestCell, key: string): Promise<SagaUnderTest> {
  const images = await imagesOf(cell, key);
  const saga = sagaOf(cell, async (before) => {
    const imageId = images.pop();
    if (imageId === undefined) throw new Error('no image is left');
    await submitDeletion(cell, { imageId });
    return submitCollection(cell, before);
  });
  return {
    ...saga,
    cleanSlate: async (id, outcome) => {
      expect(await jobViolations(cell.db, id)).toEqual([]);
      const steps = await cell.db.selectFrom('job_step').select(['step', 'output']).where('job_id', '=', id).execute();
      if (outcome !== 'succeeded') return;
      expect(steps.map(({ step }) => step).toSorted()).toEqual(['audit', 'collect']);
      expect(steps.find(({ step }) => step === 'audit')?.output).toMatchObject({ missingObjectCount: 0 });
    },
  };
}

/** Accepts the backup of a server as the gateway does; resolves with the id of its job. */
export async function submitServerBackup(
  cell: TestCell,
  { serverId, vaultId }: { serverId: string; vaultId: string },
  before: (job: JobId) => void = () => undefined,
): Promise<{ jobId: JobId; checkpointId: string }> {
  const { projectId } = cell;
  const checkpointId = randomUUID();
  const { events, input } = decideBackUpServer({ projectId, checkpointId, vaultId, serverId, name: 'under-test' });
  const jobId = toJobId(input.jobId);
  before(jobId);
  const outboxId = await inTransaction(cell.db, async (trx) => {
    await appendEvents(trx, { projectId, actor: SYSTEM, jobId }, events);
    return new OutboxRepository(trx).add(
      jobOutbox({ type: 'serverBackup', input, summary: `Back up server ${serverId}` }, cell.region),
    );
  });
  await cell.starter.startNow(outboxId);
  return { jobId, checkpointId };
}

/** The saga that backs a server up. Each job has a server of its own, since a server has one backup made at a time. */
export function serverBackupSagaOf(cell: TestCell, rawFile: string, dataFiles: readonly string[] = []): SagaUnderTest {
  const { cloud, projectId } = cell;
  const made = new Map<string, { serverId: string; checkpointId: string }>();
  const saga = sagaOf(cell, async (before) => {
    const { id: serverId } = await cell.aServer(rawFile, 'ACTIVE', dataFiles);
    const vault = await cell.aVault();
    const { jobId, checkpointId } = await submitServerBackup(cell, { serverId, vaultId: vault.id }, before);
    made.set(jobId, { serverId, checkpointId });
    return { jobId };
  });
  return {
    ...saga,
    cleanSlate: async (id, outcome) => {
      expect(await jobViolations(cell.db, id)).toEqual([]);
      const { serverId = '', checkpointId = '' } = made.get(id) ?? {};
      const checkpoint = await cloud.backups.getCheckpoint(projectId, checkpointId);
      const backups = await cloud.backups.list(projectId, { serverId });
      expect((await cloud.servers.get(projectId, serverId))?.taskState).toBeNull();
      if (outcome === 'succeeded') {
        expect(checkpoint?.status).toBe('available');
        expect(backups).toMatchObject([{ checkpointId, status: 'available', imageId: null }]);
        expect(backups[0]?.children).toHaveLength(1 + dataFiles.length);
      } else {
        expect(checkpoint?.status ?? 'deleted').toBe('deleted');
        expect(backups).toEqual([]);
      }
    },
  };
}
