import { backupUsageStream, type ImageId, type JobId, type Meter, usageStream } from '@ims/contract';
import type { DomainEvent } from '../domain-event';

/** A charge, as far as it takes to end it. */
export interface Charge {
  usageId: string;
  /** The backup that it is for; `null` for an image. */
  backupId: string | null;
}

/** What is kept of an image is charged from now on. Its record's id follows from the image, so it cannot be opened twice. */
export const openImageCharge = (image: { imageId: ImageId; meter: Meter; bytes: number }): DomainEvent => ({
  stream: usageStream(image.imageId),
  key: 'opened',
  type: 'usage.opened',
  data: { usageId: imageChargeId(image), imageId: image.imageId, meter: image.meter, quantityBytes: image.bytes },
});

export const imageChargeId = ({ imageId, meter }: { imageId: string; meter: Meter }): string =>
  `${meter.replace('.', '-')}:${imageId}`;

/**
 * What a backup keeps in its vault is charged from now on (BIL-03). Until the backup is deleted: from its checkpoint (`imageId` is `null`), or from
 * the image that it came along with from another region (`outlivesImage`, BIL-11). One that was here and not charged yet: from the image that is
 * made from it until that is deleted.
 */
export const openBackupCharge = (backup: {
  backupId: string;
  imageId: ImageId | null;
  bytes: number;
  outlivesImage?: boolean;
}): DomainEvent => ({
  stream: backupUsageStream(backup.backupId),
  key: backup.imageId === null ? 'opened' : `opened:${backup.imageId}`,
  type: 'usage.opened',
  data: {
    usageId: backupChargeId(backup),
    imageId: backup.outlivesImage === true ? null : backup.imageId,
    backupId: backup.backupId,
    meter: 'backup.storage',
    quantityBytes: backup.bytes,
  },
});

export const backupChargeId = ({ backupId, imageId }: { backupId: string; imageId: string | null }): string =>
  imageId === null ? `backup-storage:${backupId}` : `backup-storage:${backupId}:${imageId}`;

/** An image of the marketplace, or one that was made from such a one at any depth, is charged by its product (BIL-05, BIL-08). */
export const openProductCharge = (image: { imageId: ImageId; productCode: string; bytes: number }): DomainEvent => ({
  stream: usageStream(image.imageId),
  key: 'opened:market.image',
  type: 'usage.opened',
  data: {
    usageId: imageChargeId({ imageId: image.imageId, meter: 'market.image' }),
    imageId: image.imageId,
    meter: 'market.image',
    quantityBytes: image.bytes,
    productCode: image.productCode,
  },
});

/**
 * What a job used up at once: one record for the job and meter, however often the step that says so is tried (BIL-09 to BIL-11). Goes into the transaction
 * of that step.
 *
 * @param used `bytes` as the finished work tells them, never as counted on the way
 */
export const recordUsage = (used: {
  jobId: JobId;
  imageId: ImageId;
  meter: Extract<Meter, 'replication.traffic' | 'backup-replication.traffic' | 'export'>;
  bytes: number;
}): DomainEvent => ({
  stream: usageStream(used.imageId),
  key: `recorded:${used.meter}:${used.jobId}`,
  type: 'usage.recorded',
  data: {
    usageId: `${used.meter.replace('.', '-')}:${used.jobId}`,
    imageId: used.imageId,
    meter: used.meter,
    quantityBytes: used.bytes,
  },
});

const streamOf = ({ backupId }: Charge, imageId: ImageId | null) => {
  if (backupId !== null) return backupUsageStream(backupId);
  if (imageId === null) throw new TypeError('a charge is for an image or a backup');
  return usageStream(imageId);
};

/** Nothing is charged by it any more; what was used stays. */
export const closeCharge = (charge: Charge, imageId: ImageId | null): DomainEvent => ({
  stream: streamOf(charge, imageId),
  key: `closed:${charge.usageId}`,
  type: 'usage.closed',
  data: { usageId: charge.usageId },
});

/** It never was: the work that it was for came to nothing. */
export const voidCharge = (charge: Charge, imageId: ImageId | null): DomainEvent => ({
  stream: streamOf(charge, imageId),
  key: `voided:${charge.usageId}`,
  type: 'usage.voided',
  data: { usageId: charge.usageId },
});
