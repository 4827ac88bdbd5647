import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { diskBackupWorkflowId, imageDigestWorkflowId, imageId, jobId } from '@ims/contract';
import {
  aKey,
  CloudSagas,
  convertDisk,
  crashAfter,
  failBefore,
  type Fault,
  type FaultPlan,
  makeDebianLikeDisk,
  submitCollection,
  submitCopy,
  submitDeletion,
  submitExport,
  submitServerBackup,
  noise,
  temporaryDirectory,
  TestCell,
  TestRegions,
  submitWebFile,
  TestWebServer,
  waitFor,
} from '@ims/testing';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';

const KEY = 'source.qcow2';

/**
 * Records the histories that the replay specs replay. Not part of the suite: `npm run record:histories`, then commit what is new. A recorded
 * history stays until no execution like it can be open any more.
 */
describe('recorded histories', () => {
  let cell: TestCell;
  let raw: string;
  let serverId: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    raw = disk.path;
    serverId = (await cell.aServer(disk.path)).id;
    const file = await convertDisk(disk.path, 'qcow2-v3');
    await cell.putFile(file, KEY);
    await cell.putFile(file, `copy-${KEY}`);
  });
  afterAll(() => cell.stop());

  const save = async (workflow: string, name: string, workflowId: string): Promise<void> => {
    const directory = join(__dirname, workflow, 'histories');
    await mkdir(directory, { recursive: true });
    const history = await cell.temporal.client.workflow.getHandle(workflowId).fetchHistory();
    await writeFile(
      join(directory, `${name}.json`),
      `${JSON.stringify({ workflowId, history: JSON.parse(historyToJSON(history)) as unknown }, null, 1)}\n`,
    );
  };
  const run = async (plan: FaultPlan, key = KEY) => {
    const job = await cell.submitImport({ key }, { before: (id) => cell.faults.plan(id, plan) });
    await cell.settle(job.jobId);
    return job;
  };
  const runServer = async (plan: FaultPlan) => {
    const job = await cell.submitServerImage(serverId, { before: (id) => cell.faults.plan(id, plan) });
    await cell.settle(job.jobId);
    return job;
  };
  const cancelIn: Fault = async ({ real, call, jobId: id }) => {
    if (call === 1) await cell.temporal.client.workflow.getHandle(jobId(id)).cancel();
    return real();
  };

  it('image-create', async () => {
    const success = await run({});
    await save('image-create', 'success', success.jobId);
    await save('image-create', 'refused-source', (await run({}, 'absent.qcow2')).jobId);
    await save('image-create', 'failure-unwinds-every-step', (await run({ openUsage: failBefore })).jobId);
    await save('image-create', 'cancelled-in-ingest', (await run({ ingestDisk: cancelIn })).jobId);
    await save('image-create', 'cancelled-in-publish', (await run({ identifyOs: cancelIn })).jobId);
    await save(
      'image-create',
      'undo-retried',
      (await run({ verifyDisk: failBefore, discardIngest: crashAfter })).jobId,
    );
  });

  it('image-create from a server', async () => {
    await save('image-create', 'server-success', (await runServer({})).jobId);
    await save('image-create', 'server-failure', (await runServer({ openUsage: failBefore })).jobId);
    await save('image-create', 'server-cancelled-in-ingest', (await runServer({ ingestDisk: cancelIn })).jobId);
  });

  it('image-create from a backup', async () => {
    const data = join(await temporaryDirectory(), 'data.raw');
    await writeFile(data, noise('data disk', 5 * 2 ** 20));
    const { id } = await cell.aServer(raw, 'ACTIVE', [data]);
    const runBackup = async (plan: FaultPlan) => {
      const backup = await cell.aBackup(id);
      const job = await cell.submitBackupImage(backup.id, { before: (job) => cell.faults.plan(job, plan) });
      await cell.settle(job.jobId);
      return job.jobId;
    };
    await save('image-create', 'backup-success', await runBackup({}));
    await save('image-create', 'backup-failure', await runBackup({ openUsage: failBefore }));
    await save('image-create', 'backup-cancelled-in-ingest', await runBackup({ ingestDisk: cancelIn }));
  });

  it('image-create from a file of the web', async () => {
    const web = await TestWebServer.start();
    web.files.set('/disk.qcow2', { bytes: await readFile(await convertDisk(raw, 'qcow2-v3')), etag: '"1"' });
    const fetched = async (plan: FaultPlan, path = '/disk.qcow2'): Promise<string> => {
      const file = { uri: web.urlOf(path), diskFormat: 'qcow2' };
      const job = await submitWebFile(cell, file, (id) => cell.faults.plan(id, plan));
      await cell.settle(job.jobId);
      return job.jobId;
    };
    await save('image-create', 'web-success', await fetched({}));
    await save('image-create', 'web-refused', await fetched({}, '/absent.qcow2'));
    await save('image-create', 'web-failure', await fetched({ openUsage: failBefore }));
    await save('image-create', 'web-cancelled-in-fetch', await fetched({ fetchWebFile: cancelIn }));
    await web.stop();
  });

  it('image-batch', async () => {
    const runBatch = async (plan: FaultPlan, dataKey = KEY) => {
      const job = await cell.submitBatch(
        {
          name: 'system',
          image_url: `images:${KEY}`,
          min_disk: 1,
          data_images: [{ image_url: `images:${dataKey}`, min_disk: 1 }],
        },
        { before: (id) => cell.faults.plan(id, plan) },
      );
      await cell.settle(job.jobId);
      return job;
    };
    await save('image-batch', 'success', (await runBatch({}, `copy-${KEY}`)).jobId);
    await save('image-batch', 'failure', (await runBatch({}, 'absent.qcow2')).jobId);
    await save('image-batch', 'cancelled', (await runBatch({ awaitSubJobs: cancelIn }, `copy-${KEY}`)).jobId);
  });

  it('image-create with a boot check', async () => {
    const job = await cell.submitImport({ key: KEY, bootCheck: true });
    await cell.settle(job.jobId);
    await save('image-create', 'success-with-boot-check', job.jobId);
  });

  it('servers and disks', async () => {
    const { imageId: image } = await run({});
    const cloud = new CloudSagas(cell);
    const record = async (saga: string, name: string, submitted: Promise<{ jobId: string }>): Promise<void> => {
      const { jobId: id } = await submitted;
      await cell.settle(id);
      await save(saga, name, id);
    };
    const withCheck = { server: { metadata: { __boot_check: 'true' } } };
    await record('server-create', 'success', cloud.createServers(image));
    await record('server-create', 'success-with-boot-check', cloud.createServers(image, withCheck));
    await record('server-create', 'failure', cloud.createServers(image, { plan: { releaseImages: failBefore } }));
    await record(
      'server-create',
      'cancelled-in-start',
      cloud.createServers(image, { plan: { startServers: cancelIn } }),
    );
    await record('volume-create', 'success', cloud.createVolume(image));
    await record('volume-create', 'failure', cloud.createVolume(image, { plan: { releaseImages: failBefore } }));
    await record('volume-create', 'cancelled', cloud.createVolume(image, { plan: { createVolumes: cancelIn } }));
    await record('cloud-change', 'success', cloud.changeServers('stop-servers', [serverId]));
    await record('cloud-change', 'success-change-os', cloud.changeOs(serverId, image));
    await record('cloud-change', 'failure', cloud.changeOs(serverId, image, { plan: { changeCloud: failBefore } }));
    await record('cloud-change', 'cancelled', cloud.changeOs(serverId, image, { plan: { checkImages: cancelIn } }));
  });

  it('server-backup', async () => {
    const runBackup = async (plan: FaultPlan) => {
      const vault = await cell.aVault();
      const { id } = await cell.aServer(raw);
      const request = { serverId: id, vaultId: vault.id };
      const { jobId: job } = await submitServerBackup(cell, request, (started) => cell.faults.plan(started, plan));
      await cell.settle(job);
      return job;
    };
    const childOf = (jobId: string): string => diskBackupWorkflowId({ jobId, disk: 0, epoch: 1 });
    const [success, failure, cancelled] = [
      await runBackup({}),
      await runBackup({ copyDisk: failBefore }),
      await runBackup({ copyDisk: cancelIn }),
    ];
    await save('server-backup', 'success', success);
    await save('server-backup', 'failure', await runBackup({ releaseMoment: failBefore }));
    await save('server-backup', 'failure-of-a-disk', failure);
    await save('server-backup', 'cancelled', cancelled);
    await save('disk-backup', 'success', childOf(success));
    await save('disk-backup', 'failure', childOf(failure));
    await save('disk-backup', 'cancelled', childOf(cancelled));
    const runImage = async (plan: FaultPlan) => {
      const { id: vaultId } = await cell.aVault();
      const { id } = await cell.aServer(raw);
      const request = { serverId: id, vaultId };
      const job = await cell.submitWholeServerImage(request, { before: (started) => cell.faults.plan(started, plan) });
      await cell.settle(job.jobId);
      return job.jobId;
    };
    await save('image-create', 'whole-server-success', await runImage({}));
    await save('image-create', 'whole-server-failure', await runImage({ openUsage: failBefore }));
    await save('image-create', 'whole-server-cancelled-in-copy', await runImage({ copyDisk: cancelIn }));
  });

  it('image-replicate and image-receive', async () => {
    const regions = await TestRegions.start();
    const { here, there } = regions;
    const image = await here.anImage(raw);
    const cancelThere: Fault = async ({ real, call, jobId: id }) => {
      if (call === 1) await there.temporal.client.workflow.getHandle(id).cancel();
      return real();
    };
    const copy = async (plan: FaultPlan, planThere: FaultPlan) => {
      const job = await regions.submitReplication(image, {
        before: (id) => {
          here.faults.plan(id, plan);
          there.faults.plan(regions.receiveJobOf(id), planThere);
        },
      });
      await here.settle(job.jobId);
      await there.settle(job.receiveJobId);
      return job;
    };
    const success = await copy({}, {});
    await save('image-replicate', 'success', success.jobId);
    await save('image-receive', 'success', success.receiveJobId);
    await save('image-replicate', 'failure', (await copy({ releaseReplicated: failBefore }, {})).jobId);
    await save('image-replicate', 'cancelled', (await copy({ awaitReceive: cancelIn }, {})).jobId);
    await save('image-receive', 'failure', (await copy({}, { openUsage: failBefore })).receiveJobId);
    await save('image-receive', 'cancelled', (await copy({}, { verifyDisk: cancelThere })).receiveJobId);
    await regions.stop();
  });

  it('image-copy', async () => {
    const image = await cell.anImage(raw);
    const copy = async (plan: FaultPlan, source = image) => {
      const job = await submitCopy(cell, source, {
        cmkId: await aKey(cell),
        before: (id) => cell.faults.plan(id, plan),
      });
      await cell.settle(job.jobId);
      return job;
    };
    await save('image-copy', 'success', (await copy({})).jobId);
    await save('image-copy', 'failure', (await copy({ openUsage: failBefore })).jobId);
    await save('image-copy', 'cancelled', (await copy({ copyImageDisk: cancelIn })).jobId);
    const kept = await cell.submitUpload(await readFile(await convertDisk(raw, 'qcow2-v3')), 'qcow2');
    await cell.settle(kept.jobId);
    await save('image-copy', 'success-of-a-file', (await copy({}, kept.imageId)).jobId);
  });

  it('image-create of files that are kept', async () => {
    const file = await readFile(await convertDisk(raw, 'qcow2-v3'));
    const upload = async (plan: FaultPlan, format = 'qcow2') => {
      const job = await cell.submitUpload(file, format, { before: (id) => cell.faults.plan(id, plan) });
      await cell.settle(job.jobId);
      return job;
    };
    await save('image-create', 'staged-success', (await upload({})).jobId);
    await save('image-create', 'staged-refused', (await upload({}, 'vhd')).jobId);
    await save('image-create', 'staged-failure', (await upload({ openUsage: failBefore })).jobId);
    await save('image-create', 'staged-cancelled-in-ingest', (await upload({ ingestDisk: cancelIn })).jobId);
  });

  it('image-digest', async () => {
    const { imageId: id } = await run({});
    const workflowId = imageDigestWorkflowId(imageId(id));
    await waitFor(
      async () => {
        // Leaves young rows to whoever wrote them, so it takes a few turns.
        await cell.starter.relay();
        return (await cell.temporal.client.workflow.getHandle(workflowId).describe()).status.name === 'COMPLETED';
      },
      { deadlineMs: 30_000, what: 'the digest is done' },
    );
    await save('image-digest', 'success', workflowId);
  });

  const ended = async (started: Promise<{ jobId: string }>): Promise<string> => {
    const { jobId: id } = await started;
    await cell.settle(id);
    return id;
  };

  it('image-delete', async () => {
    const runDeletion = async (plan: FaultPlan): Promise<string> => {
      const { imageId: id } = await run({});
      return ended(submitDeletion(cell, { imageId: id }, (job) => cell.faults.plan(job, plan)));
    };
    await save('image-delete', 'success', await runDeletion({}));
    await save('image-delete', 'failure', await runDeletion({ releaseOrigin: failBefore }));
    await save('image-delete', 'cancelled-and-goes-on', await runDeletion({ releaseOrigin: cancelIn }));
  });

  it('image-export', async () => {
    const { imageId: id } = await run({});
    const runExport = (plan: FaultPlan, key: string): Promise<string> =>
      ended(submitExport(cell, { imageId: id, format: 'vmdk', key }, (job) => cell.faults.plan(job, plan)));
    await save('image-export', 'success', await runExport({}, 'a.vmdk'));
    await save('image-export', 'failure', await runExport({ releaseExport: failBefore }, 'b.vmdk'));
    await save('image-export', 'cancelled-in-export', await runExport({ exportImage: cancelIn }, 'c.vmdk'));
    const { imageId: sent, jobId } = await cell.submitUpload(await readFile(raw), 'raw');
    await cell.settle(jobId);
    const file = submitExport(cell, { imageId: sent, format: 'zvhd2', key: 'd.zvhd2' });
    await save('image-export', 'success-derive-first', await ended(file));
  });

  it('store-collect', async () => {
    const runCollection = (plan: FaultPlan): Promise<string> =>
      ended(submitCollection(cell, (job) => cell.faults.plan(job, plan)));
    await save('store-collect', 'success', await runCollection({}));
    await save('store-collect', 'failure', await runCollection({ auditStore: failBefore }));
    await save('store-collect', 'cancelled-in-collect', await runCollection({ collectStore: cancelIn }));
  });
});
