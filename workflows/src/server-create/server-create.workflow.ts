import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { serverCreateSteps, type ServerCreateInput, type ServerCreateStep } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { CLOUD, cloudQueue, QUICK, UNDO } from '../activity-options';
import { deriveFirst } from '../derive-first';
import { Saga } from '../saga';

export interface ServerCreateOutput {
  serverIds: string[];
}

/** Makes servers from an image, all or none: their disks read the image's bytes when they are first asked, so nothing is copied on the way. */
export async function serverCreate(input: ServerCreateInput): Promise<ServerCreateOutput> {
  const saga = new Saga<ServerCreateStep>(`Create server ${input.name}`, serverCreateSteps(input));
  const quick = proxyActivities<ImsActivities>(QUICK);
  const cloud = proxyActivities<ImsActivities>({ ...CLOUD, taskQueue: cloudQueue() });
  const undo = proxyActivities<ImsActivities>(UNDO);
  const undoInCloud = proxyActivities<ImsActivities>({ ...UNDO, taskQueue: cloudQueue() });
  const job = { jobId: input.jobId, epoch: input.epoch, projectId: input.projectId };
  const shared = { ...job, saga: 'server-create' as const };
  const servers = { ...job, servers: input.servers.map(({ id }) => ({ id })) };
  const volumes = input.servers.flatMap((server) => server.volumes);
  const output = { serverIds: input.servers.map(({ id }) => id) };
  const count = `${input.servers.length} of flavour ${input.flavor.id}`;
  return saga.run(job, output, async () => {
    await deriveFirst(saga, undo, { ...shared, imageIds: input.derive });
    const { disks } = await saga.step(
      'check-image',
      () => quick.checkImages.executeWithOptions({ summary: 'Hold the image' }, [{ ...shared, images: input.images }]),
      () => undo.dropImageHolds.executeWithOptions({ summary: 'Let go of the image' }, [shared]),
    );
    await saga.step(
      'create-volumes',
      () =>
        cloud.createVolumes.executeWithOptions({ summary: `Make ${volumes.length} disks` }, [
          { ...shared, availabilityZone: input.availabilityZone, volumes, disks },
        ]),
      () => undoInCloud.deleteVolumes.executeWithOptions({ summary: 'Delete the disks' }, [{ ...shared, volumes }]),
    );
    await saga.step(
      'create-servers',
      () => cloud.createServers.executeWithOptions({ summary: `Make ${count}` }, [{ ...input, disks }]),
      () => undoInCloud.deleteServers.executeWithOptions({ summary: 'Delete the servers' }, [servers]),
    );
    await saga.step(
      'start',
      () => cloud.startServers.executeWithOptions({ summary: 'Start them' }, [servers]),
      () => undoInCloud.stopServers.executeWithOptions({ summary: 'Stop them' }, [servers]),
    );
    const { bootCheck } = input;
    if (bootCheck !== null) {
      await saga.step('boot-check', () =>
        cloud.bootCheckServers.executeWithOptions({ summary: 'Watch the serial consoles' }, [
          { ...servers, expect: bootCheck.expect },
        ]),
      );
    }
    // With this step the job succeeds. A cancellation that arrives while it commits is too late, not half a success.
    await saga.step('release-image', () =>
      CancellationScope.nonCancellable(() =>
        quick.releaseImages.executeWithOptions({ summary: 'Let go of the image' }, [
          { ...shared, images: input.images },
        ]),
      ),
    );
    return output;
  });
}
