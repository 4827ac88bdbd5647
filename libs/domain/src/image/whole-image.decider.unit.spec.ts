import { createWholeImageRequest, imageId, ImsError, jobId, projectId } from '@ims/contract';
import { decideCreateImage, type SourceBackup, type SourceWholeServer } from './image-create.decider';

const UNTOUCHED = { limit: null, used: 0, reserved: 0 };
const BACKUP = '9a6d3c1f-0b57-4e02-9a60-1c2d3e4f5a6b';

const backup: SourceBackup = {
  id: BACKUP,
  line: 'CBR',
  architecture: 'x86',
  systemDiskGib: 40,
  imageId: 'parent',
  isEncrypted: false,
};

const decide = (
  request: object,
  found: SourceBackup | null = backup,
  quota: { limit: number | null; used: number; reserved: number } = UNTOUCHED,
) =>
  decideCreateImage(
    { imageQuota: quota, createTaskQuota: UNTOUCHED },
    {
      projectId: projectId('a'.repeat(32)),
      jobId: jobId('b'.repeat(32)),
      imageId: imageId('00000000-0000-4000-8000-000000000001'),
      request: createWholeImageRequest.parse({ name: 'erp-full', ...request }),
      door: 'whole-images',
      ...(found === null ? {} : { backup: found }),
    },
  );
const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof ImsError) return error.code;
    throw error;
  }
  return 'accepted';
};

describe('an image of a whole server from its backup (CRE-16)', () => {
  it('is as large as the system disk, names its backup and says that it is whole (IMG-08)', () => {
    const { events, input } = decide({ backup_id: BACKUP, whole_image_type: 'CBR', min_ram: 1024, max_ram: 4096 });
    expect(input).toMatchObject({
      source: { kind: 'backup', backupId: BACKUP, line: 'CBR' },
      minDiskGib: 40,
      kind: 'system',
    });
    expect(events[0]).toMatchObject({
      type: 'job.accepted',
      data: {
        jobType: 'imsCreateWholeImageByBackupJob',
        steps: ['claim-backup', 'ingest', 'verify', 'identify-os', 'publish', 'meter'],
      },
    });
    expect(events[1]).toMatchObject({
      type: 'image.queued',
      data: {
        minDiskGib: 40,
        minRamMib: 1024,
        attributes: {
          virtual_env_type: 'FusionCompute',
          max_ram: '4096',
          __whole_image: 'true',
          __backup_id: BACKUP,
          __data_origin: `server_backup,${BACKUP}`,
          __originalimagename: 'parent',
        },
      },
    });
  });

  it('is for arm when its server was', () => {
    const { input, events } = decide(
      { backup_id: BACKUP, whole_image_type: 'CBR' },
      { ...backup, architecture: 'arm', imageId: null },
    );
    expect(input.architecture).toBe('arm');
    expect(events[1]?.data).toMatchObject({
      attributes: { __support_arm: 'true', hw_firmware_type: 'uefi', __originalimagename: '' },
    });
  });

  it('is of CSBS unless the request says CBR (ims-api 6.5)', () => {
    const csbs = decide({ backup_id: BACKUP }, { ...backup, line: 'CSBS' });
    expect(csbs.input.source).toEqual({ kind: 'backup', backupId: BACKUP, line: 'CSBS' });
  });

  it.each([
    ['no source', {}, 'IMG.0019'],
    ['an empty backup id', { backup_id: '' }, 'IMG.0019'],
    ['a server and a backup', { backup_id: BACKUP, instance_id: 'i' }, 'IMG.0001'],
    ['a service that is none', { backup_id: BACKUP, whole_image_type: 'cbr' }, 'IMG.0001'],
    ['a server without a vault', { instance_id: 'i' }, 'IMG.0184'],
    ['a server that is not there', { instance_id: 'i', vault_id: 'v' }, 'IMG.0137'],
    ['a name that is none', { backup_id: BACKUP, name: ' x' }, 'IMG.0003'],
    ['less memory at most than at least', { backup_id: BACKUP, min_ram: 2, max_ram: 1 }, 'IMG.0055'],
  ])('refuses %s with %s', (_, request, code) => {
    expect(codeOf(() => decide(request))).toBe(code);
  });

  it('refuses an unknown backup with the code of its service, an encrypted one, and one image too many', () => {
    for (const [line, code] of [
      ['CBR', 'IMG.0020'],
      ['CSBS', 'IMG.0127'],
    ] as const) {
      expect(codeOf(() => decide({ backup_id: BACKUP, whole_image_type: line }, null))).toBe(code);
    }
    const request = { backup_id: BACKUP, whole_image_type: 'CBR' };
    expect(codeOf(() => decide(request, { ...backup, isEncrypted: true }))).toBe('IMG.0105');
    expect(codeOf(() => decide(request, backup, { limit: 1, used: 1, reserved: 0 }))).toBe('IMG.0015');
  });
});

describe('an image of a whole server by its id (CRE-16)', () => {
  const server: SourceWholeServer = {
    id: 'i',
    vaultId: 'v',
    architecture: 'x86',
    systemDiskGib: 40,
    sizeGib: 140,
    imageId: 'parent',
    isEncrypted: false,
  };
  const decideServer = (wholeServer: SourceWholeServer) =>
    decideCreateImage(
      { imageQuota: UNTOUCHED, createTaskQuota: UNTOUCHED },
      {
        projectId: projectId('a'.repeat(32)),
        jobId: jobId('0123456789abcdef0123456789abcdef'),
        imageId: imageId('00000000-0000-4000-8000-000000000001'),
        request: createWholeImageRequest.parse({ name: 'erp-full', instance_id: 'i', vault_id: 'v' }),
        door: 'whole-images',
        wholeServer,
      },
    );

  it('is backed up first, under a checkpoint that follows from the job', () => {
    const { events, input } = decideServer(server);
    expect(input).toMatchObject({
      source: {
        kind: 'whole-server',
        serverId: 'i',
        vaultId: 'v',
        checkpointId: '01234567-89ab-cdef-0123-456789abcdef',
      },
      minDiskGib: 40,
      kind: 'system',
    });
    expect(events[0]).toMatchObject({
      data: {
        jobType: 'imsCreateWholeImageByInstanceJob',
        steps: [
          ...['quiesce', 'disks', 'seal', 'release-snapshots'],
          ...['claim-backup', 'ingest', 'verify', 'identify-os', 'publish', 'meter'],
        ],
      },
    });
    expect(events[1]).toMatchObject({
      data: {
        attributes: { __whole_image: 'true', __data_origin: 'instance,i', __originalimagename: 'parent' },
      },
    });
  });

  it('is refused when a disk is encrypted, whose bytes would lie in the open (IMG.0105)', () => {
    expect(codeOf(() => decideServer({ ...server, isEncrypted: true }))).toBe('IMG.0105');
  });
});
