import type { SagaName } from '@ims/contract';

/** What a trace says its operation was done to: the service, and its kind of resource (cts-api 7). */
export interface Operation {
  name: string;
  serviceType: string;
  resourceType: string;
}

export const ims = (name: string): Operation => ({ name, serviceType: 'IMS', resourceType: 'ims' });
/** Operations of the component that speaks OpenStack, which the vendor lists under a type of their own. */
export const native = (name: string): Operation => ({ name, serviceType: 'IMS', resourceType: 'image' });

/**
 * The operation that a job carries out, by the saga that does it. Servers, disks and backups are traced under the service whose API they were
 * asked for by, as tools that watch those services expect.
 */
const OF_SAGA: Readonly<Record<SagaName, Operation>> & Readonly<Record<string, Operation>> = {
  'image-create': ims('createImage'),
  'image-batch': ims('createImage'),
  'image-delete': native('deleteImage'),
  'image-copy': ims('copyImage'),
  'image-replicate': ims('copyImage'),
  // The other half of a copy into this region.
  'image-receive': ims('copyImage'),
  'image-export': ims('exportImage'),
  'server-create': { name: 'createServer', serviceType: 'ECS', resourceType: 'ecs' },
  'cloud-change': { name: 'updateServer', serviceType: 'ECS', resourceType: 'ecs' },
  'volume-create': { name: 'createVolume', serviceType: 'EVS', resourceType: 'evs' },
  'server-backup': { name: 'createBackup', serviceType: 'CBR', resourceType: 'backup' },
  // Its steps are in the stream of the job that it is a part of.
  'disk-backup': { name: 'createBackup', serviceType: 'CBR', resourceType: 'backup' },
  'store-collect': ims('collectStore'),
  // Which of the three it is says the type of the job.
  'member-change': ims('updateMember'),
};

const server = (name: string): Operation => ({ name, serviceType: 'ECS', resourceType: 'ecs' });

/** Calls that change something, by the operation that a route documents: what they would have been traced as (cts-api 7). */
const OF_CALL: ReadonlyMap<string, Operation> = new Map([
  ...['CreateImage', 'CreateDataImage', 'ImportImageQuick'].flatMap(
    (call) =>
      [
        [call, ims('createImage')],
        [`${call}InSafeMode`, ims('createImage')],
      ] as const,
  ),
  ['CreateWholeImage', ims('createImage')],
  ['RegisterImage', ims('createImage')],
  ['CopyImageInRegion', ims('copyImage')],
  ['CopyImageInRegionInSafeMode', ims('copyImage')],
  ['CopyImageCrossRegion', ims('copyImage')],
  ['ExportImage', ims('exportImage')],
  ['ExportImageInSafeMode', ims('exportImage')],
  ['CancelJob', ims('cancelJob')],
  ['PauseJob', ims('pauseJob')],
  ['ResumeJob', ims('resumeJob')],
  ['GlanceCreateImageMetadata', native('createImage')],
  ['GlanceDeleteImage', native('deleteImage')],
  ['UpdateImageQuota', ims('updateQuota')],
  ['RestoreImage', ims('restoreImage')],
  ['PurgeImage', native('deleteImage')],
  ['UpdateRecycleBin', ims('updateRecycleBin')],
  ['HoldImage', ims('holdImage')],
  ['ReleaseImage', ims('releaseImage')],
  ['DeprecateImage', ims('deprecateImage')],
  ['EndImageDeprecation', ims('undeprecateImage')],
  ['RevokeImage', ims('revokeImage')],
  ['ReinstateImage', ims('reinstateImage')],
  ['GlanceDeactivateImage', native('deactivateImage')],
  ['GlanceReactivateImage', native('reactivateImage')],
  ['UpdateImage', ims('updateImage')],
  ['GlanceUpdateImage', native('updateImage')],
  ...['CreateOrUpdateTags', 'AddImageTag', 'BatchAddOrDeleteTags', 'GlanceCreateTag'].map(
    (call) => [call, native('addTag')] as const,
  ),
  ...['DeleteImageTag', 'BatchDeleteTags', 'GlanceDeleteTag'].map((call) => [call, native('deleteTag')] as const),
  ['DeleteImageV11', native('deleteImage')],
  ...[
    'GlanceUploadImage',
    'GlanceStageImage',
    'GlanceImportImage',
    'BeginUpload',
    'AppendToUpload',
    'CompleteUpload',
    'EndUpload',
  ].map((call) => [call, native('updateImage')] as const),
  ['LoadCatalogue', native('updateImage')],
  ['ChangeMarketListing', native('updateImage')],
  ['BatchAddMembers', ims('addMember')],
  ['BatchUpdateMembers', ims('updateMember')],
  ['BatchDeleteMembers', ims('deleteMemeber')],
  ['GlanceAddImageMember', native('addMember')],
  ['GlanceUpdateImageMember', native('updateMember')],
  ['GlanceDeleteImageMember', native('deleteMember')],
  ['CreateServers', OF_SAGA['server-create']],
  ['CreatePostPaidServers', OF_SAGA['server-create']],
  ['CreateBareMetalServers', { name: 'createServer', serviceType: 'BMS', resourceType: 'bms' }],
  ['SwitchServer', server('updateServer')],
  ['SwitchServers', server('updateServer')],
  ['DeleteServers', server('deleteServer')],
  ['ChangeServerOs', server('changeServerOs')],
  ['ReinstallServerOs', server('reinstallServerOs')],
  ['CreateVolume', OF_SAGA['volume-create']],
  ['CreateVolumeV21', OF_SAGA['volume-create']],
  ['DeleteVolume', { name: 'deleteVolume', serviceType: 'EVS', resourceType: 'evs' }],
  ['CreateCheckpoint', OF_SAGA['server-backup']],
  ['DeleteBackup', { name: 'deleteBackup', serviceType: 'CBR', resourceType: 'backup' }],
  ['CreateVault', { name: 'createVault', serviceType: 'CBR', resourceType: 'vault' }],
]);

/** The operation that a call is traced as when it is refused; `undefined` for calls that read (cts-api 7). */
export const operationOfCall = (call: string): Operation | undefined => OF_CALL.get(call);

/** Where the type of the job says more than its saga. */
const OF_JOB_TYPE: ReadonlyMap<string, Operation> = new Map([
  // A file for an image that was there: the native calls count as a change of it (cts-api 7).
  ['imsGoofysUploadImageJob', native('updateImage')],
  ['imsAddImageMembersJob', ims('addMember')],
  ['imsUpdateImageMembersJob', ims('updateMember')],
  // The vendor spells it so (cts-api 7).
  ['imsDelImageMembersJob', ims('deleteMemeber')],
  ['baremetalBatchCreate', { name: 'createServer', serviceType: 'BMS', resourceType: 'bms' }],
  ['changeServerOs', server('changeServerOs')],
  ['reinstallServerOs', server('reinstallServerOs')],
  ['deleteServer', server('deleteServer')],
  ['startServer', server('startServer')],
  ['stopServer', server('stopServer')],
  ['deleteVolume', { name: 'deleteVolume', serviceType: 'EVS', resourceType: 'evs' }],
]);

/**
 * The operation that a job carries out. A saga of another version of the service is traced by its own name: a trail that stops at what it does
 * not know would show nothing at all.
 */
export function operationOf(job: { jobType: string; saga: string }): Operation {
  const known = OF_JOB_TYPE.get(job.jobType) ?? (Object.hasOwn(OF_SAGA, job.saga) ? OF_SAGA[job.saga] : undefined);
  return (
    known ?? ims(job.saga.replace(/[^0-9a-zA-Z]+(.)?/g, (_, next: string | undefined) => (next ?? '').toUpperCase()))
  );
}

// cts-api 2.3.
const MAX_NAME = 64;

/** The name of what was done within an operation, such as `createImage.ingest`. */
export const nameWithin = (operation: Operation, what: string): string =>
  `${operation.name}.${what}`.slice(0, MAX_NAME);
