import {
  type AcquiredSource,
  type ClaimedBackup,
  type IdentifiedOs,
  type ImageCreateInput,
  type ImageCreateStep,
  type ImageSource,
  type IngestedDisk,
  isKeptFile,
} from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import type { ActivityInterfaceFor } from '@temporalio/workflow';
import type { Saga } from '../saga';
import { backUp } from '../server-backup/back-up';

/** What is particular to a kind of source: how it is acquired, and what is let go once its bytes are stored and verified. */
export interface ImageSourceSteps {
  acquire(): Promise<AcquiredSource>;
  release(): Promise<void>;
  /** Looks what system is on the stored disk; null where it is not asked for. */
  identify(disk: IngestedDisk): Promise<IdentifiedOs | null>;
  /** What is stored, in a word, for the engine's console. */
  nameOf(acquired: AcquiredSource): string;
  /** What the image is charged by, when that is not what it takes up itself (BIL-03). */
  charge?(acquired: AcquiredSource): { backupBytes?: number };
}

interface Proxies {
  quick: ActivityInterfaceFor<ImsActivities>;
  undo: ActivityInterfaceFor<ImsActivities>;
  /** What waits for servers of strangers. */
  fetch: ActivityInterfaceFor<ImsActivities>;
  /** Where servers run, which is the only place that can stand their disks still. */
  cloud: ActivityInterfaceFor<ImsActivities>;
  undoInCloud: ActivityInterfaceFor<ImsActivities>;
}

/** The steps of the input's source; the saga itself knows no kinds. */
export function sourceOf(input: ImageCreateInput, saga: Saga<ImageCreateStep>, proxies: Proxies): ImageSourceSteps {
  const { source } = input;
  switch (source.kind) {
    case 'bucket-file':
      return fileSource(input, source.file.key, saga, proxies);
    case 'iso-file':
    case 'kept-file':
      return keptFile(input, source.file.key, saga, proxies);
    case 'staged-file':
      return keptFile(input, 'what was sent', saga, proxies);
    case 'web-file':
      return webFile(input, source.uri, saga, proxies);
    case 'server':
      return diskSource(input, `the system disk of server ${source.serverId}`, saga, proxies);
    case 'backup':
      return backupSource(input, source.backupId, saga, proxies);
    case 'whole-server':
      return wholeServerSource(input, source, saga, proxies);
    case 'volume':
    case 'data-disk':
      return diskSource(input, `disk ${source.volumeId}`, saga, proxies);
    default:
      return source satisfies never;
  }
}

/** A file is only looked at, so nothing has to be let go. */
function fileSource(
  input: ImageCreateInput,
  key: string,
  saga: Saga<ImageCreateStep>,
  { quick }: Proxies,
): ImageSourceSteps {
  return {
    acquire: () =>
      saga.step('inspect', () => quick.inspectSource.executeWithOptions({ summary: `Inspect ${key}` }, [input])),
    release: () => Promise.resolve(),
    identify: identifyBy(input, saga, { quick }),
    nameOf: (acquired) => ('format' in acquired ? acquired.format : 'raw'),
  };
}

/** A file that is stored as it is, so nobody looks for a system in it. */
function keptFile(
  input: ImageCreateInput,
  key: string,
  saga: Saga<ImageCreateStep>,
  proxies: Proxies,
): ImageSourceSteps {
  return {
    ...fileSource(input, key, saga, proxies),
    identify: () => Promise.resolve(null),
    nameOf: (acquired) => (isKeptFile(acquired) ? `a file of format ${acquired.format}` : 'a file'),
  };
}

/** It arrives in the staging area; from there on it is as if it had been sent. */
function webFile(
  input: ImageCreateInput,
  uri: string,
  saga: Saga<ImageCreateStep>,
  proxies: Proxies,
): ImageSourceSteps {
  const { fetch, undo } = proxies;
  const fetched = keptFile(input, 'what was fetched', saga, proxies);
  return {
    ...fetched,
    acquire: async () => {
      await saga.step(
        'fetch',
        () => fetch.fetchWebFile.executeWithOptions({ summary: `Fetch from ${hostOf(uri)}` }, [input]),
        () => undo.dropFetched.executeWithOptions({ summary: 'Drop what was fetched' }, [input]),
      );
      return fetched.acquire();
    },
  };
}

/** The address itself may hold a secret. */
const hostOf = (uri: string): string => /^\w+:\/\/([^/?#]+)/.exec(uri)?.[1] ?? 'the web';

function identifyBy(
  input: ImageCreateInput,
  saga: Saga<ImageCreateStep>,
  { quick }: Pick<Proxies, 'quick'>,
): ImageSourceSteps['identify'] {
  return (disk) =>
    saga.step('identify-os', () =>
      quick.identifyOs.executeWithOptions({ summary: 'Look what is inside' }, [
        {
          jobId: input.jobId,
          epoch: input.epoch,
          disk,
          osVersion: input.osVersion ?? null,
          detectedWins: input.detectedOsWins === true,
          architecture: input.architecture,
        },
      ]),
    );
}

/** A disk goes on changing, so its moment is frozen for as long as the copy takes. */
function diskSource(
  input: ImageCreateInput,
  name: string,
  saga: Saga<ImageCreateStep>,
  { quick, cloud, undoInCloud }: Proxies,
): ImageSourceSteps {
  const job = { jobId: input.jobId, epoch: input.epoch, projectId: input.projectId };
  return {
    acquire: () =>
      saga.step(
        'snapshot',
        () => cloud.snapshotDisk.executeWithOptions({ summary: `Snapshot ${name}` }, [input]),
        () => undoInCloud.dropSnapshot.executeWithOptions({ summary: 'Drop the snapshot' }, [job]),
      ),
    release: async () => {
      await saga.step('release-snapshot', () =>
        cloud.releaseSnapshot.executeWithOptions({ summary: 'Release the snapshot' }, [job]),
      );
    },
    identify: identifyBy(input, saga, { quick }),
    nameOf: () => 'disk',
  };
}

/** A server is backed up first; the image is one of that backup, which the job drops again with it when it does not get to its end. */
function wholeServerSource(
  input: ImageCreateInput,
  { serverId, vaultId, checkpointId }: Extract<ImageSource, { kind: 'whole-server' }>,
  saga: Saga<ImageCreateStep>,
  proxies: Proxies,
): ImageSourceSteps {
  const { jobId, epoch, projectId, imageId } = input;
  return {
    ...claimedSource(input, saga, proxies),
    acquire: async () => {
      const { backupId } = await backUp(saga, {
        saga: 'image-create',
        jobId,
        epoch,
        projectId,
        checkpointId,
        vaultId,
        serverId,
        name: `ims-${imageId}`,
        imageId,
      });
      return claim({ ...input, backupId }, backupId, saga, proxies);
    },
  };
}

/** A backup never changes. It stays the image's own for as long as the image lives, so only an undo lets it go. */
function backupSource(
  input: ImageCreateInput,
  backupId: string,
  saga: Saga<ImageCreateStep>,
  proxies: Proxies,
): ImageSourceSteps {
  return { ...claimedSource(input, saga, proxies), acquire: () => claim(input, backupId, saga, proxies) };
}

/** What images of backups have in common, whoever made the backup. */
function claimedSource(
  input: ImageCreateInput,
  saga: Saga<ImageCreateStep>,
  { quick }: Proxies,
): Omit<ImageSourceSteps, 'acquire'> {
  const isClaimed = (acquired: AcquiredSource): acquired is ClaimedBackup => 'backupId' in acquired;
  return {
    release: () => Promise.resolve(),
    identify: identifyBy(input, saga, { quick }),
    nameOf: (acquired) => (isClaimed(acquired) ? `${acquired.disks.length} disks` : 'disks'),
    charge: (acquired) => (isClaimed(acquired) ? { backupBytes: acquired.backupBytes } : {}),
  };
}

function claim(
  input: ImageCreateInput & { backupId?: string },
  backupId: string,
  saga: Saga<ImageCreateStep>,
  { quick, undo }: Proxies,
): Promise<AcquiredSource> {
  const { jobId, epoch, projectId, imageId } = input;
  return saga.step(
    'claim-backup',
    () => quick.claimBackup.executeWithOptions({ summary: `Claim backup ${backupId}` }, [input]),
    () =>
      undo.releaseBackup.executeWithOptions({ summary: 'Let go of the backup' }, [
        { jobId, epoch, projectId, imageId, backupId },
      ]),
  );
}
