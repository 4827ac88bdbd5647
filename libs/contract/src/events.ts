import { z } from 'zod';
import { catalogueFacts, listingParty } from './catalogue';
import { imageAttributes } from './image-attributes';
import { endedSubJobs } from './image-batch';
import {
  bootCheckResult,
  changedThings,
  checkedImages,
  createdVolumes,
  namedServers,
  releasedImages,
} from './cloud-jobs';
import {
  claimedBackup,
  derivedDisks,
  fetchedFile,
  identifiedOs,
  ingestedDisk,
  inspectedSource,
  meteredImage,
  publishedImage,
  releasedSnapshot,
  snapshottedDisk,
  verifiedDisk,
} from './image-create';
import { droppedStaged, releasedOrigin } from './image-delete';
import { receivedDisk, recordedBackup } from './image-receive';
import { endedReceive, requestedReceive } from './image-replicate';
import { checkedObject, exportedObject } from './image-export';
import { auditedStore, collectedStore } from './store-collect';

import {
  copiedDisk,
  copiedDisks,
  isDiskStep,
  madeCheckpoint,
  quiescedServer,
  releasedMoment,
  sealedCheckpoint,
} from './server-backup';
import { imageLineage } from './image-lineage';
import { changedMembers, MEMBER_STATUSES, memberName } from './image-member';
import { METERS } from './usage';

/** Who caused an event. `system` acts for the service itself (workers, reconciler). */
export const actor = z.object({
  kind: z.enum(['user', 'system']),
  userId: z.string().optional(),
  userName: z.string().optional(),
  accountId: z.string().optional(),
  accountName: z.string().optional(),
  accessKeyId: z.string().optional(),
  sourceIp: z.string().optional(),
  userAgent: z.string().optional(),
  /** The call of the API by which it came: its name, version and the status of its success. */
  call: z.object({ operation: z.string(), apiVersion: z.string(), status: z.number().int() }).optional(),
});
export type Actor = z.infer<typeof actor>;
export const SYSTEM: Actor = { kind: 'system' };

const stepOutputs = {
  fetch: fetchedFile,
  inspect: inspectedSource,
  'claim-backup': claimedBackup,
  snapshot: snapshottedDisk,
  'release-snapshot': releasedSnapshot,
  ingest: ingestedDisk,
  verify: verifiedDisk,
  'identify-os': identifiedOs,
  publish: publishedImage,
  meter: meteredImage,
} as const;

/** A disk in the image store. */
const storedDisk = z.object({
  domainId: z.string(),
  manifestHash: z.string(),
  contentRoot: z.string(),
  virtualSizeBytes: z.number().int(),
  storedBytes: z.number().int(),
});

/** Of a server that is backed up, for its own sake or for an image. */
const backUpSteps = [
  z.object({ step: z.literal('quiesce'), output: quiescedServer }),
  z.object({ step: z.literal('disks'), output: copiedDisks }),
  z.object({ step: z.literal('seal'), output: sealedCheckpoint }),
  z.object({ step: z.literal('release-snapshots'), output: releasedMoment }),
] as const;

const stepUndone = z.object({ step: z.string() });

/** What a change of an image is about, each with the value it had or has; an attribute that is not there is null. */
const imageFields = z.object({
  name: z.string().optional(),
  minDiskGib: z.number().int().optional(),
  minRamMib: z.number().int().optional(),
  protected: z.boolean().optional(),
  hidden: z.boolean().optional(),
  tags: z.array(z.string()).optional(),
  attributes: imageAttributes.optional(),
});
export type ImageFields = z.infer<typeof imageFields>;

/** All tags of an image, before and after. */
const changedTags = z.object({ name: z.string(), before: z.array(z.string()), after: z.array(z.string()) });

/** Steps that could not be undone: what they made may still be there. Absent when all were. */
const leftBehind = z.array(z.string()).optional();

/**
 * Every event type, with the schema of its `data`. The catalogue `docs/reference/events.md` is generated from this map.
 * Data is complete enough to show to an auditor without a join, holds no secret and no payload bytes.
 */
export const EVENTS = {
  'job.accepted': z.object({
    jobType: z.string(),
    saga: z.string(),
    imageId: z.string().nullable(),
    imageName: z.string(),
    /** The request as the caller sent it, secrets masked. */
    request: z.unknown(),
    steps: z.array(z.string()),
    /** The job that this one is a part of. */
    parentJobId: z.string().optional(),
    /** What the caller was told beside the answer (OS-01, CRE-33). */
    warnings: z.array(z.string()).optional(),
  }),
  'job.started': z.object({}),
  'job.cancel-requested': z.object({ reason: z.string() }),
  /** Its steps wait from now on; what they have done stays. */
  'job.paused': z.object({ reason: z.string() }),
  'job.resumed': z.object({ reason: z.string() }),
  /** The reconciler starts the workflow again, with a new fencing epoch. */
  'job.restarted': z.object({ epoch: z.number().int(), reason: z.string() }),
  'job.succeeded': z.object({ imageId: z.string().nullable() }),
  'job.failed': z.object({
    errorCode: z.string(),
    reason: z.string(),
    step: z.string().nullable(),
    leftBehind,
  }),
  'job.cancelled': z.object({ reason: z.string(), leftBehind }),
  'image-create.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('fetch'), output: stepOutputs.fetch }),
    z.object({ step: z.literal('inspect'), output: stepOutputs.inspect }),
    ...backUpSteps,
    z.object({ step: z.literal('claim-backup'), output: stepOutputs['claim-backup'] }),
    z.object({ step: z.literal('snapshot'), output: stepOutputs.snapshot }),
    z.object({ step: z.literal('release-snapshot'), output: stepOutputs['release-snapshot'] }),
    z.object({ step: z.literal('ingest'), output: stepOutputs.ingest }),
    z.object({ step: z.literal('verify'), output: stepOutputs.verify }),
    z.object({ step: z.literal('identify-os'), output: stepOutputs['identify-os'] }),
    z.object({ step: z.literal('boot-check'), output: bootCheckResult }),
    z.object({ step: z.literal('publish'), output: stepOutputs.publish }),
    z.object({ step: z.literal('meter'), output: stepOutputs.meter }),
  ]),
  'image-create.step-undone': stepUndone,
  'image-copy.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('derive-disk'), output: derivedDisks }),
    z.object({ step: z.literal('check-image'), output: checkedImages }),
    z.object({ step: z.literal('copy-disk'), output: stepOutputs.ingest }),
    z.object({ step: z.literal('verify'), output: stepOutputs.verify }),
    z.object({ step: z.literal('publish'), output: stepOutputs.publish }),
    z.object({ step: z.literal('meter'), output: stepOutputs.meter }),
  ]),
  'image-copy.step-undone': stepUndone,
  'image-export.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('derive-disk'), output: derivedDisks }),
    z.object({ step: z.literal('check-image'), output: checkedImages }),
    z.object({ step: z.literal('export'), output: exportedObject }),
    z.object({ step: z.literal('check-object'), output: checkedObject }),
    z.object({ step: z.literal('release-image'), output: releasedImages }),
  ]),
  'image-export.step-undone': stepUndone,
  'image-delete.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('release-origin'), output: releasedOrigin }),
    z.object({ step: z.literal('drop-staged'), output: droppedStaged }),
  ]),
  'image-delete.step-undone': stepUndone,
  'store-collect.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('collect'), output: collectedStore }),
    z.object({ step: z.literal('audit'), output: auditedStore }),
  ]),
  'store-collect.step-undone': stepUndone,
  'image-batch.step-completed': z.object({ step: z.literal('sub-jobs'), output: endedSubJobs }),
  'image-batch.step-undone': stepUndone,
  'server-create.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('derive-disk'), output: derivedDisks }),
    z.object({ step: z.literal('check-image'), output: checkedImages }),
    z.object({ step: z.literal('create-volumes'), output: createdVolumes }),
    z.object({ step: z.literal('create-servers'), output: namedServers }),
    z.object({ step: z.literal('start'), output: namedServers }),
    z.object({ step: z.literal('boot-check'), output: bootCheckResult }),
    z.object({ step: z.literal('release-image'), output: releasedImages }),
  ]),
  'server-create.step-undone': stepUndone,
  'volume-create.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('derive-disk'), output: derivedDisks }),
    z.object({ step: z.literal('check-image'), output: checkedImages }),
    z.object({ step: z.literal('create-volumes'), output: createdVolumes }),
    z.object({ step: z.literal('release-image'), output: releasedImages }),
  ]),
  'volume-create.step-undone': stepUndone,
  'cloud-change.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('derive-disk'), output: derivedDisks }),
    z.object({ step: z.literal('check-image'), output: checkedImages }),
    z.object({ step: z.literal('change'), output: changedThings }),
  ]),
  'cloud-change.step-undone': stepUndone,
  'server-backup.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('checkpoint'), output: madeCheckpoint }),
    ...backUpSteps,
  ]),
  'server-backup.step-undone': stepUndone,
  'image-replicate.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('check-image'), output: checkedImages }),
    z.object({ step: z.literal('request-receive'), output: requestedReceive }),
    z.object({ step: z.literal('await-receive'), output: endedReceive }),
    z.object({ step: z.literal('release-image'), output: releasedImages }),
  ]),
  'image-replicate.step-undone': stepUndone,
  'image-receive.step-completed': z.discriminatedUnion('step', [
    z.object({ step: z.literal('receive'), output: receivedDisk }),
    z.object({ step: z.literal('verify'), output: stepOutputs.verify }),
    z.object({ step: z.literal('record-backup'), output: recordedBackup }),
    z.object({ step: z.literal('publish'), output: stepOutputs.publish }),
    z.object({ step: z.literal('meter'), output: stepOutputs.meter }),
  ]),
  'image-receive.step-undone': stepUndone,
  'member-change.step-completed': z.object({ step: z.literal('change-members'), output: changedMembers }),
  'member-change.step-undone': stepUndone,
  /** One disk of a server that is being backed up, copied by a workflow of its own; in the stream of the job that it belongs to. */
  'disk-backup.step-completed': z.object({
    step: z.string().refine(isDiskStep, 'disk- and the number of the disk'),
    output: copiedDisk,
  }),
  'disk-backup.step-undone': stepUndone,
  /** A call that would have changed something, refused or failed; which one it was says the actor's `call`. */
  'call.refused': z.object({
    errorCode: z.string(),
    reason: z.string(),
    /** What its address names, if anything. */
    resourceId: z.string().nullable(),
    /** Calls before this one that were refused and are told of by this number alone: a trail is not to be filled by refusals. */
    unrecorded: z.number().int(),
  }),
  'image.queued': z.object({
    name: z.string(),
    diskFormat: z.string(),
    minDiskGib: z.number().int(),
    minRamMib: z.number().int(),
    tags: z.array(z.string()),
    attributes: imageAttributes,
    /** It cannot be deleted until that is taken back; not protected when left out. */
    protected: z.boolean().optional(),
    /** `__imagetype` (ims-api 2.2); private when left out. */
    imageType: z.enum(['private', 'gold', 'market']).optional(),
    /** What it was made from, where that was an image or came from one. */
    lineage: imageLineage.optional(),
    /** The entry of the catalogue that it is, for a public image. */
    catalogue: catalogueFacts.optional(),
  }),
  /** The entry of a public image says something else of it than before, or lists it again; its bytes stay what they are. */
  'image.catalogued': z.object({
    name: z.string(),
    minDiskGib: z.number().int(),
    minRamMib: z.number().int(),
    attributes: imageAttributes,
    catalogue: catalogueFacts,
  }),
  /** A public image is offered no more; servers made from it live on, and by its id it can still be used. */
  'image.retired': z.object({
    reason: z.enum(['removed', 'superseded']),
    /** The newer version. */
    successorId: z.string().optional(),
  }),
  /** Its owner asks for it to be sold on the marketplace under this code (IMG-14). */
  'image.listing-requested': z.object({ round: z.number().int().positive(), productCode: z.string() }),
  'image.listing-approved': z.object({ round: z.number().int().positive(), by: listingParty }),
  /** Both have approved: from now on everybody sees it. */
  'image.listed': z.object({ round: z.number().int().positive(), productCode: z.string() }),
  'image.listing-refused': z.object({ round: z.number().int().positive(), by: listingParty, reason: z.string() }),
  /** It is on sale no more, and its owner's private image again. */
  'image.delisted': z.object({ round: z.number().int().positive(), by: listingParty, reason: z.string() }),
  /** Bytes of the image begin to arrive in a staged file, by an upload of several requests. */
  'image.uploading': z.object({ uploadId: z.string() }),
  'image.saving': z.object({}),
  'image.published': z.object({
    domainId: z.string(),
    manifestHash: z.string(),
    contentRoot: z.string(),
    virtualSizeBytes: z.number().int(),
    storedBytes: z.number().int(),
    fileBytes: z.number().int(),
    attributes: imageAttributes,
    /** What the stored bytes are: a disk (when left out), or the file as it came, in its declared format. */
    form: z.enum(['disk', 'file']).optional(),
    /** What a plain download serves from now on, where that differs from what was declared. */
    diskFormat: z.string().optional(),
    /** The further disks of an image of a whole server, by device. */
    dataDisks: z.array(storedDisk.extend({ device: z.string() })).optional(),
  }),
  /** The disk inside the file that the image is, made readable when it was first needed. */
  'image.disk-derived': storedDisk,
  /** What was to bring the image's bytes, a job or an upload, came to nothing; the image itself was there before and waits for another try. */
  'image.requeued': z.object({
    reason: z.string(),
    /** The format it was declared to have, where publishing had changed that. */
    diskFormat: z.string().optional(),
  }),
  /** The job that made the image failed or was cancelled: nothing of it remains. */
  'image.withdrawn': z.object({ reason: z.string() }),
  'image.digested': z.object({
    md5: z.string(),
    /** Known of files that were sent to this service. */
    sha256: z.string().optional(),
    sha512: z.string(),
    sizeBytes: z.number().int(),
  }),
  /** Its owner changed what it says of itself: all that differs, as it was and as it is. */
  'image.updated': z.object({
    /** The name it has from now on. */
    name: z.string(),
    before: imageFields,
    after: imageFields,
  }),
  'image.tagged': changedTags,
  'image.untagged': changedTags,
  /** It went into the recycle bin: out of sight and out of the quota, and purged after this time unless it is restored. */
  'image.binned': z.object({
    name: z.string(),
    purgeAfter: z.iso.datetime(),
    /** The backup that it was made from goes with it when it is purged (ims-api 12.6). */
    isBackupDeleted: z.boolean(),
  }),
  /** It came out of the recycle bin as it had gone in. */
  'image.restored': z.object({ name: z.string() }),
  /** Nothing may delete it while a legal hold lies on it. */
  'image.held': z.object({ name: z.string(), reason: z.string(), by: z.string() }),
  'image.hold-released': z.object({ name: z.string(), reason: z.string().nullable(), by: z.string() }),
  /** It gives no bytes and makes nothing until it is active again. */
  'image.deactivated': z.object({ name: z.string() }),
  'image.reactivated': z.object({ name: z.string() }),
  /** From this time on another image should be used; nothing else changes. */
  'image.deprecated': z.object({
    name: z.string(),
    deprecatedAt: z.iso.datetime(),
    replacementImageId: z.string().nullable(),
  }),
  'image.deprecation-ended': z.object({ name: z.string() }),
  /** Neither it nor what descends from it makes servers and disks any more, for this reason. */
  'image.revoked': z.object({ name: z.string(), reason: z.string() }),
  'image.reinstated': z.object({ name: z.string(), reason: z.string().nullable() }),
  'image.deleted': z.object({}),
  /** Deleted images stay in the project's recycle bin for so many days; with 0 they are gone at once, with `null` the installation says. */
  'recycle-bin.retention-set': z.object({ retentionDays: z.number().int().nonnegative().nullable() }),
  /** Its owner shares the image from now on: with a project, an account, or an organization. */
  'image.member-added': memberName,
  /**
   * A project that it is shared with has accepted it; with a vault of its own, where the image is one of a whole server. `via` is the account or the
   * organization by which the project has it, where it is no member itself.
   */
  'image.member-accepted': z.object({
    memberId: z.string(),
    via: z.string().optional(),
    vaultId: z.string().optional(),
  }),
  'image.member-rejected': z.object({ memberId: z.string(), via: z.string().optional() }),
  /** The member's answer is open again. */
  'image.member-reopened': z.object({ memberId: z.string(), via: z.string().optional() }),
  /** Its owner shares the image no longer. */
  'image.member-removed': memberName,
  /** The member gave the image back. */
  'image.member-left': memberName,
  /** The same in the trail of the project that answered. */
  'share.answered': z.object({
    imageId: z.string(),
    imageName: z.string(),
    status: z.enum(MEMBER_STATUSES),
    vaultId: z.string().optional(),
  }),
  'share.left': z.object({ imageId: z.string(), imageName: z.string() }),
  'quota.limit-set': z.object({ resource: z.string(), limit: z.number().int() }),
  'quota.reserved': z.object({ resource: z.string(), amount: z.number().int(), holder: z.string() }),
  /** A reservation became use (its image is active). */
  'quota.settled': z.object({ resource: z.string(), amount: z.number().int(), holder: z.string() }),
  /** A reservation (`from: reserved`) or use (`from: used`) ended. */
  'quota.released': z.object({
    resource: z.string(),
    amount: z.number().int(),
    holder: z.string(),
    from: z.enum(['reserved', 'used']),
  }),
  'usage.opened': z.object({
    usageId: z.string(),
    /** `null` where a backup is kept that no image was made from. */
    imageId: z.string().nullable(),
    meter: z.string(),
    quantityBytes: z.number().int(),
    /** The backup that is kept (BIL-03). */
    backupId: z.string().optional(),
    /** What the price of a marketplace image goes by (BIL-05, BIL-08). */
    productCode: z.string().optional(),
  }),
  /** A quantity that was used up at once, not kept over time (traffic). */
  'usage.recorded': z.object({
    usageId: z.string(),
    imageId: z.string(),
    meter: z.enum(METERS),
    quantityBytes: z.number().int().nonnegative(),
  }),
  'usage.voided': z.object({ usageId: z.string() }),
  'usage.closed': z.object({ usageId: z.string() }),
} as const;

export type EventType = keyof typeof EVENTS;
/** Every saga has events of its own, so the catalogue is the list of them. */
export type SagaName = EventType extends infer T ? (T extends `${infer Saga}.step-completed` ? Saga : never) : never;
export type EventData<T extends EventType> = z.infer<(typeof EVENTS)[T]>;
/** Schema version of each type's data; older ones are upcast on read. */
export const EVENT_SCHEMA_VERSION = 1;
