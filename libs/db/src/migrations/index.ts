import type { Migration } from 'kysely/migration';
import * as eventLog from './20261124000001-event-log';
import * as catalog from './20261124000002-catalog';
import * as jobEvidence from './20261124000003-job-evidence';
import * as imageStore from './20261124000004-image-store';
import * as access from './20261124000005-access';
import * as serviceRole from './20261124000006-service-role';
import * as neighbours from './20261124000010-neighbours';
import * as imageForms from './20261124000011-image-forms';
import * as stagedFiles from './20261124000014-staged-files';
import * as holdsOfSeveralDisks from './20261124000016-holds-of-several-disks';
import * as forgottenDigests from './20261124000017-forgotten-digests';
import * as imageLineage from './20261124000018-image-lineage';
import * as pausedJobs from './20261124000020-paused-jobs';
import * as sealedLog from './20261124000021-sealed-log';
import * as usageOfBackups from './20261124000022-usage-of-backups';
import * as keys from './20261124000023-keys';
import * as replication from './20261124000025-replication';
import * as exportsUnderWay from './20261124000024-exports';
import * as diskCopies from './20261124000026-disk-copies';
import * as receiveFence from './20261124000027-receive-fence';
import * as imageMembers from './20261124000030-image-members';
import * as hiddenImages from './20261124000031-hidden-images';
import * as imageRetention from './20261124000032-image-retention';
import * as recycleBin from './20261124000033-recycle-bin';
import * as idempotencyKeys from './20261124000037-idempotency-keys';
import * as catalogue from './20261124000034-catalogue';
import * as marketListings from './20261124000035-market-listings';

/** Every migration by its name, which is its file name. Named here, not found on disk, so a bundle of the service can migrate too. */
export const migrations: Readonly<Record<string, Migration>> = {
  '20261124000001-event-log': eventLog,
  '20261124000002-catalog': catalog,
  '20261124000003-job-evidence': jobEvidence,
  '20261124000004-image-store': imageStore,
  '20261124000005-access': access,
  '20261124000006-service-role': serviceRole,
  '20261124000010-neighbours': neighbours,
  '20261124000011-image-forms': imageForms,
  '20261124000014-staged-files': stagedFiles,
  '20261124000016-holds-of-several-disks': holdsOfSeveralDisks,
  '20261124000017-forgotten-digests': forgottenDigests,
  '20261124000018-image-lineage': imageLineage,
  '20261124000020-paused-jobs': pausedJobs,
  '20261124000021-sealed-log': sealedLog,
  '20261124000022-usage-of-backups': usageOfBackups,
  '20261124000023-keys': keys,
  '20261124000025-replication': replication,
  '20261124000024-exports': exportsUnderWay,
  '20261124000026-disk-copies': diskCopies,
  '20261124000027-receive-fence': receiveFence,
  '20261124000030-image-members': imageMembers,
  '20261124000031-hidden-images': hiddenImages,
  '20261124000032-image-retention': imageRetention,
  '20261124000033-recycle-bin': recycleBin,
  '20261124000037-idempotency-keys': idempotencyKeys,
  '20261124000034-catalogue': catalogue,
  '20261124000035-market-listings': marketListings,
};
