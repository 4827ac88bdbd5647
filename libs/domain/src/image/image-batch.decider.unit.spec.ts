import {
  type CreateImageRequest,
  type ErrorCode,
  EVENTS,
  imageBatchInput,
  imageCreateInput,
  imageId,
  ImsError,
  jobId,
  projectId,
} from '@ims/contract';
import { batchSizeOf, type CreateBatchDecision, decideCreateBatch } from './image-batch.decider';
import type { CreateImageState, SourceVolume } from './image-create.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const PARENT = jobId('f'.repeat(32));
const part = (n: number) => ({
  jobId: jobId(String(n).repeat(32)),
  imageId: imageId(`0000000${n}-0000-4000-8000-000000000000`),
});
const EMPTY: CreateImageState = {
  imageQuota: { limit: null, used: 0, reserved: 0 },
  createTaskQuota: { limit: null, used: 0, reserved: 0 },
};
const disks = (...ids: string[]): SourceVolume[] =>
  ids.map((id, n) => ({ id, sizeGib: 10 + n, architecture: 'x86', imageId: null }));

function decide(request: CreateImageRequest, state = EMPTY): CreateBatchDecision {
  const parts = Array.from({ length: batchSizeOf(request) ?? 0 }, (_, n) => part(n));
  return decideCreateBatch(state, { projectId: PROJECT, jobId: PARENT, parts, request, volumes: disks('a', 'b') });
}

/** `undefined` when the call is accepted. */
function refusalOf(request: CreateImageRequest, state = EMPTY): ErrorCode | undefined {
  try {
    decide(request, state);
    return undefined;
  } catch (error) {
    if (error instanceof ImsError) return error.code;
    throw error;
  }
}

const queued = ({ events }: CreateBatchDecision) =>
  events.flatMap((event) => (event.type === 'image.queued' ? [event.data] : []));

const DISKS: CreateImageRequest = {
  data_images: [
    { name: 'one', volume_id: 'a', description: 'logs' },
    { name: 'two', volume_id: 'b', tags: ['team.ops'] },
  ],
  image_tags: [{ key: 'env', value: 'prod' }],
  enterprise_project_id: '9f1c0e7a-0b1c-4d2e-8f3a-4b5c6d7e8f90',
};
const FILES: CreateImageRequest = {
  name: 'db',
  image_url: 'my-images:db.qcow2',
  min_disk: 60,
  os_version: 'Windows Server 2016 Standard 64bit',
  data_images: [{ name: 'db-data', image_url: 'my-images:db-data.qcow2', min_disk: 1, image_tags: [] }],
};

describe(batchSizeOf.name, () => {
  it.each<[string, CreateImageRequest, number | undefined]>([
    ['one disk of a server', { data_images: [{ name: 'one', volume_id: 'a' }] }, 1],
    ['two disks of a server', DISKS, 2],
    ['a system file with a data file', FILES, 2],
    ['a system file alone', { name: 'x', image_url: 'b:x' }, undefined],
    ['a system file with no data files', { name: 'x', image_url: 'b:x', data_images: [] }, undefined],
    ['a server', { name: 'x', instance_id: 'i' }, undefined],
    ['a disk', { name: 'x', volume_id: 'v' }, undefined],
  ])('%s', (_what, request, size) => expect(batchSizeOf(request)).toBe(size));
});

describe('images of several disks of a server (CRE-06, ims-api 6.2 B)', () => {
  it('are a job each under one job, which has no image of its own', () => {
    const { events, batch, images } = decide(DISKS);
    const accepted = events.flatMap((event) => (event.type === 'job.accepted' ? [event.data] : []));
    expect(accepted.map(({ jobType, saga, imageId: id, parentJobId }) => [jobType, saga, id, parentJobId])).toEqual([
      ['imsVolumesToSysDataImagesJob', 'image-batch', null, undefined],
      ['imsCopyVolumeToImageJob', 'image-create', part(0).imageId, PARENT],
      ['imsCopyVolumeToImageJob', 'image-create', part(1).imageId, PARENT],
    ]);
    expect(batch).toEqual({
      jobId: PARENT,
      epoch: 1,
      projectId: PROJECT,
      title: 'one, two',
      subJobIds: [part(0).jobId, part(1).jobId],
    });
    expect(imageBatchInput.parse(batch)).toEqual(batch);
    for (const input of images) expect(imageCreateInput.parse(input)).toEqual(input);
    for (const event of events) EVENTS[event.type].parse(event.data);
  });

  it('know each other, so that whichever comes first freezes one moment for all', () => {
    const set = [
      { jobId: part(0).jobId, volumeId: 'a' },
      { jobId: part(1).jobId, volumeId: 'b' },
    ];
    expect(decide(DISKS).images.map(({ source, minDiskGib, kind }) => [source, minDiskGib, kind])).toEqual([
      [{ kind: 'data-disk', volumeId: 'a', set }, 10, 'data'],
      [{ kind: 'data-disk', volumeId: 'b', set }, 11, 'data'],
    ]);
  });

  it('are data images; what an element says wins over what the call says for all', () => {
    expect(queued(decide(DISKS))).toMatchObject([
      {
        name: 'one',
        tags: ['env=prod'],
        attributes: {
          virtual_env_type: 'DataImage',
          __data_origin: 'volume,a',
          __description: 'logs',
          enterprise_project_id: DISKS.enterprise_project_id,
        },
      },
      { name: 'two', tags: ['team=ops'], attributes: { __data_origin: 'volume,b', __os_type: 'Linux' } },
    ]);
  });

  it('take as much of both quotas as they are, or nothing (CRE-23, CRE-24)', () => {
    const reserved = decide(DISKS).events.filter(({ type }) => type === 'quota.reserved');
    expect(reserved).toHaveLength(4);
    const room = (n: number) => ({ limit: 5, used: 2, reserved: 3 - n });
    expect(refusalOf(DISKS, { ...EMPTY, imageQuota: room(2), createTaskQuota: room(2) })).toBeUndefined();
    expect(refusalOf(DISKS, { ...EMPTY, imageQuota: room(1) })).toBe('IMG.0015');
    expect(refusalOf(DISKS, { ...EMPTY, createTaskQuota: room(1) })).toBe('IMG.0060');
  });

  it('have an event for all that stays short, however much is said of each', () => {
    const [accepted] = decide(DISKS).events;
    expect(accepted?.data).toHaveProperty('request.data_images', [{ volume_id: 'a' }, { volume_id: 'b' }]);
  });

  it.each<[string, NonNullable<CreateImageRequest['data_images']>, ErrorCode]>([
    ['no name', [{ volume_id: 'a' }], 'IMG.0013'],
    ['no disk', [{ name: 'one' }], 'IMG.0120'],
    ['an empty disk id', [{ name: 'one', volume_id: '' }], 'IMG.0120'],
    ['an unknown disk', [{ name: 'one', volume_id: 'z' }], 'IMG.0120'],
    ['none at all', [], 'IMG.0120'],
    [
      'a disk twice',
      [
        { name: 'one', volume_id: 'a' },
        { name: 'two', volume_id: 'a' },
      ],
      'IMG.0120',
    ],
    [
      'a disk and a file',
      [
        { name: 'one', volume_id: 'a' },
        { name: 'two', image_url: 'b:x' },
      ],
      'IMG.0001',
    ],
    [
      'too many tags',
      [{ name: 'one', volume_id: 'a', tags: Array.from({ length: 11 }, (_, n) => `k${n}`) }],
      'IMG.0116',
    ],
  ])('are refused for %s', (_what, data_images, code) => expect(refusalOf({ data_images })).toBe(code));
});

describe('a system file with data files (ims-api 6.2 C)', () => {
  it('is a system image and data images, the system first', () => {
    const { events, images } = decide(FILES);
    const accepted = events.flatMap((event) => (event.type === 'job.accepted' ? [event.data] : []));
    expect(accepted.map(({ jobType, imageName }) => [jobType, imageName])).toEqual([
      ['imsImportImageJob', 'db, db-data'],
      ['imsImportImageJob', 'db'],
      ['imsImportDataImageJob', 'db-data'],
    ]);
    expect(images).toMatchObject([
      { kind: 'system', minDiskGib: 60, source: { kind: 'bucket-file', file: { key: 'db.qcow2' } } },
      { kind: 'data', minDiskGib: 1, source: { kind: 'bucket-file', file: { key: 'db-data.qcow2' } } },
    ]);
    expect(images.map(({ systemJobId }) => systemJobId)).toEqual([undefined, part(0).jobId]);
  });

  it('has data disks of the kind of its system', () => {
    const osTypes = (more: Partial<CreateImageRequest>) =>
      queued(decide({ ...FILES, ...more })).map(({ attributes }) => attributes['__os_type']);
    expect(osTypes({})).toEqual(['Windows', 'Windows']);
    expect(osTypes({ os_version: undefined, os_type: 'Other' })).toEqual(['Other', 'Other']);
    expect(osTypes({ os_version: undefined })).toEqual(['Other', 'Linux']);
  });

  it('names a data disk after its system when nobody does', () => {
    const name = 'n'.repeat(128);
    const [, data] = queued(decide({ ...FILES, name, data_images: [{ image_url: 'b-b:x', min_disk: 1 }] }));
    expect(data?.name).toBe(`${'n'.repeat(121)}-data-1`);
  });

  const file = (n: number, more: object = {}) => ({
    name: `d${n}`,
    image_url: `my-images:d${n}`,
    min_disk: 1,
    ...more,
  });
  it.each<[string, NonNullable<CreateImageRequest['data_images']>, ErrorCode | undefined]>([
    ['three', [file(1), file(2), file(3)], undefined],
    ['four', [file(1), file(2), file(3), file(4)], 'IMG.0001'],
    ['a file twice', [file(1), file(2, { image_url: 'my-images:d1' })], 'IMG.0123'],
    ['the file of the system', [file(1, { image_url: FILES.image_url })], 'IMG.0123'],
    ['no file', [file(1, { image_url: undefined })], 'IMG.0017'],
    ['a disk', [file(1, { volume_id: 'a' })], 'IMG.0001'],
    ['0 GB', [file(1, { min_disk: 0 })], 'IMG.0055'],
    ['1 GB', [file(1, { min_disk: 1 })], undefined],
    ['2048 GB', [file(1, { min_disk: 2048 })], undefined],
    ['2049 GB', [file(1, { min_disk: 2049 })], 'IMG.0055'],
    ['quick import (FMT-03)', [file(1, { is_quick_import: true })], undefined],
  ])('with data disks: %s', (_what, data_images, code) => expect(refusalOf({ ...FILES, data_images })).toBe(code));

  it('is refused for what is wrong with the system file, too', () => {
    expect(refusalOf({ ...FILES, type: 'BMS', cmk_id: 'k' })).toBe('IMG.0118');
    expect(refusalOf({ ...FILES, min_disk: 1025 })).toBe('IMG.0055');
  });
});
