import {
  type AcquiredSource,
  imageId as toImageId,
  type ImageJob,
  imageSagaOf,
  type Meter,
  type ImageDigestInput,
  imageDigestWorkflowId,
  type IngestedDisk,
  isKeptFile,
  type MeteredImage,
  meteredImage,
} from '@ims/contract';
import { chargeOf, type Database, ImagesRepository, UsageRepository } from '@ims/db';
import {
  backupChargeId,
  type DomainEvent,
  imageChargeId,
  openBackupCharge,
  openImageCharge,
  openProductCharge,
  retireImage,
  voidCharge,
} from '@ims/domain';
import type { Kysely, Transaction } from 'kysely';
import type { ActivityPorts } from '../step/ports';
import { taskGivenBack } from '../catalog/catalog.activities';
import { forgetStaged } from '../step/forget-staged';
import { jobSucceeded } from '../step/job-events';
import { runStep, runUndo } from '../step/run-step';

export interface MeterInput extends ImageJob {
  disk: IngestedDisk;
  /** As in `PublishInput`. */
  acquired?: AcquiredSource;
  /** Bytes of the backup that the image was made from; it is charged by these, not by its own (BIL-03). */
  backupBytes?: number;
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'controlQueue' | 'staged'>;

/** What is charged: an image of a whole server as storage of its backup (BIL-03), every other one as what its segments take up. */
const meterOf = ({ source }: ImageJob): Meter =>
  source?.kind === 'backup' || source?.kind === 'whole-server' ? 'backup.storage' : 'image.storage';

const backupOf = (source: ImageJob['source']): string | undefined =>
  source?.kind === 'backup' ? source.backupId : undefined;

/** The backup that the image is, known from its job or found on the way. */
const backupIdOf = ({ source, acquired }: MeterInput): string | undefined =>
  acquired !== undefined && 'backupId' in acquired ? acquired.backupId : backupOf(source);

export function createBillingActivities(ports: Ports) {
  return {
    /** The last step: with the usage record the job succeeds, and the digests of the file are ordered, all in one transaction. */
    openUsage: async (input: MeterInput): Promise<MeteredImage> => {
      const metered = await runStep(ports, {
        name: 'meter',
        saga: imageSagaOf(input),
        input,
        parse: (output) => meteredImage.parse(output),
        effect: async () => ({
          usageId: await storageChargeId(ports.db, input),
          storedBytes: input.backupBytes ?? input.disk.storedBytes,
        }),
        companions: async (trx, output) => {
          await orderDigests(trx, ports.controlQueue, input);
          return [
            ...(await chargesFor(trx, input, output)),
            ...taskGivenBack(input),
            ...(await supersededBy(trx, input)),
            jobSucceeded(input.jobId, input.imageId),
          ];
        },
      });
      await forgetStaged(ports, input.source);
      return metered;
    },
    voidUsage: (input: ImageJob): Promise<void> =>
      runUndo(ports, {
        name: 'meter',
        saga: imageSagaOf(input),
        input,
        effect: () => Promise.resolve(),
        companions: async (trx) => {
          const open = await new UsageRepository(trx).findOpen(input.imageId);
          return open.map((row) => voidCharge(chargeOf(row), toImageId(input.imageId)));
        },
      }),
  };
}

/**
 * The record by which what the image keeps is charged: its own, or that of its backup, if somebody pays for that already (one payer, once). A public
 * image has none (BIL-01).
 */
async function storageChargeId(db: Kysely<Database>, input: MeterInput): Promise<string | null> {
  if ((await imageOf(db, input)).image_type === 'gold') return null;
  const backupId = backupIdOf(input);
  if (backupId === undefined) return imageChargeId({ imageId: input.imageId, meter: meterOf(input) });
  const charged = await new UsageRepository(db).findOpenOfBackup(backupId);
  return charged?.id ?? backupChargeId({ backupId, imageId: input.imageId });
}

async function chargesFor(
  trx: Transaction<Database>,
  input: MeterInput,
  { usageId, storedBytes: bytes }: MeteredImage,
): Promise<DomainEvent[]> {
  if (usageId === null) return [];
  const imageId = toImageId(input.imageId);
  const backupId = backupIdOf(input);
  // The price of its marketplace ancestor follows the image (BIL-08).
  const { product_code: productCode } = await imageOf(trx, input);
  const product = productCode === null ? [] : [openProductCharge({ imageId, productCode, bytes })];
  if (backupId === undefined) return [openImageCharge({ imageId, meter: meterOf(input), bytes }), ...product];
  const isOurs = usageId === backupChargeId({ backupId, imageId });
  const outlivesImage = imageSagaOf(input) === 'image-receive';
  return [...(isOurs ? [openBackupCharge({ backupId, imageId, bytes, outlivesImage })] : []), ...product];
}

/** A version of a public image that can be used takes the place of those before it, in the same moment (IMG-04). */
async function supersededBy(trx: Transaction<Database>, { imageId }: MeterInput): Promise<DomainEvent[]> {
  const older = await new ImagesRepository(trx).olderVersions(imageId);
  return older.map((image) => retireImage(image, { reason: 'superseded', successorId: imageId }));
}

const imageOf = (db: Kysely<Database>, { imageId }: MeterInput) =>
  db.selectFrom('image').select(['image_type', 'product_code']).where('id', '=', imageId).executeTakeFirstOrThrow();

/** Digests of a file that was sent to this service are known and published with it. An encrypted image has none. */
async function orderDigests(trx: Transaction<Database>, queue: string, input: MeterInput): Promise<void> {
  const { acquired } = input;
  // The digest of an encrypted image would tell everybody who sees it which of the known images it is.
  if (input.cmkId !== undefined) return;
  const isFile = acquired !== undefined && isKeptFile(acquired);
  if (isFile && acquired.digests !== undefined) return;
  const digest: ImageDigestInput = {
    imageId: input.imageId,
    projectId: input.projectId,
    domainId: input.disk.domainId,
    manifestHash: input.disk.manifestHash,
    ...(isFile ? { form: 'file' } : {}),
  };
  await trx
    .insertInto('outbox')
    .values({
      workflow_type: 'imageDigest',
      workflow_id: imageDigestWorkflowId(toImageId(input.imageId)),
      task_queue: queue,
      input: JSON.stringify(digest),
      summary: `Digest ${input.imageName}`,
    })
    .execute();
}
