import {
  type CreateImageRequest,
  DISK_IMAGE_CREATE_STEPS,
  type ErrorCode,
  EVENTS,
  imageCreateInput,
  imageId,
  ImsError,
  jobId,
  projectId,
} from '@ims/contract';
import {
  type CreateImageCommand,
  type CreateImageState,
  decideCreateImage,
  type SourceServer,
  type SourceVolume,
} from './image-create.decider';
import type { CreateDoor } from './image-create.rules';

const JOB = jobId('ff8080828f9a1c33018fa0b7d2c41e55');
const IMAGE = imageId('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c');
const PROJECT = projectId('0123456789abcdef0123456789abcdef');

const EMPTY: CreateImageState = {
  imageQuota: { limit: null, used: 0, reserved: 0 },
  createTaskQuota: { limit: null, used: 0, reserved: 0 },
};
const FILE: CreateImageRequest = { name: 'db-sys', image_url: 'my-images:exports/db.qcow2', min_disk: 60 };
const UBUNTU = 'Ubuntu 18.04 Server 64bit';

type Request = CreateImageCommand['request'];

const decide = (request: Request, state: CreateImageState = EMPTY, maxTags?: number, door?: CreateDoor) =>
  decideCreateImage(state, {
    projectId: PROJECT,
    jobId: JOB,
    imageId: IMAGE,
    request,
    ...(maxTags === undefined ? {} : { maxTags }),
    ...(door === undefined ? {} : { door }),
  });

/** `undefined` when the call is accepted. */
function refusalOf(
  request: Request,
  state: CreateImageState = EMPTY,
  maxTags?: number,
  door?: CreateDoor,
): ErrorCode | undefined {
  try {
    decide(request, state, maxTags, door);
    return undefined;
  } catch (error) {
    if (error instanceof ImsError) return error.code;
    throw error;
  }
}

function queued(request: Request, door?: CreateDoor) {
  for (const event of decide(request, EMPTY, undefined, door).events)
    if (event.type === 'image.queued') return event.data;
  throw new Error('no image.queued');
}

describe(decideCreateImage.name, () => {
  it('accepts a file: job, image and both reservations, in that order (CRE-09, CRE-23, CRE-24)', () => {
    const { events, input } = decide(FILE);
    expect(events).toEqual([
      {
        type: 'job.accepted',
        stream: `job:${JOB}`,
        key: 'accepted',
        data: {
          jobType: 'imsImportImageJob',
          saga: 'image-create',
          imageId: IMAGE,
          imageName: 'db-sys',
          request: FILE,
          steps: ['inspect', 'ingest', 'verify', 'identify-os', 'publish', 'meter'],
        },
      },
      {
        type: 'image.queued',
        stream: `image:${IMAGE}`,
        key: 'queued',
        data: {
          name: 'db-sys',
          diskFormat: 'zvhd2',
          minDiskGib: 60,
          minRamMib: 0,
          tags: [],
          attributes: {
            virtual_env_type: 'FusionCompute',
            enterprise_project_id: '0',
            __isregistered: 'true',
            __image_source_type: 'uds',
            __root_origin: 'file',
            __data_origin: 'file,my-images:exports/db.qcow2',
            __is_config_init: 'false',
            __description: '',
            __os_type: 'Other',
            __support_kvm: 'true',
          },
        },
      },
      {
        type: 'quota.reserved',
        stream: `quota:${PROJECT}:image`,
        key: `reserve:${IMAGE}`,
        data: { resource: 'image', amount: 1, holder: IMAGE },
      },
      {
        type: 'quota.reserved',
        stream: `quota:${PROJECT}:create_task`,
        key: `reserve:${JOB}`,
        data: { resource: 'create_task', amount: 1, holder: JOB },
      },
    ]);
    expect(input).toEqual({
      jobId: JOB,
      epoch: 1,
      projectId: PROJECT,
      imageId: IMAGE,
      imageName: 'db-sys',
      source: { kind: 'bucket-file', file: { bucket: 'my-images', key: 'exports/db.qcow2' } },
      minDiskGib: 60,
      architecture: 'x86',
      kind: 'system',
      quickImport: false,
      existing: false,
    });
  });

  it('decides only what the schemas of events and saga take', () => {
    const { events, input } = decide({
      ...FILE,
      os_version: UBUNTU,
      tags: ['a.b'],
      max_ram: 2048,
      architecture: 'arm',
    });
    for (const event of events) EVENTS[event.type].parse(event.data);
    expect(imageCreateInput.parse(input)).toEqual(input);
  });

  it('decides the same every time', () => {
    expect(decide(FILE)).toEqual(decide(FILE));
  });

  it('sets what an OS version tells', () => {
    expect(queued({ ...FILE, os_version: UBUNTU }).attributes).toMatchObject({
      __os_type: 'Linux',
      __os_version: UBUNTU,
      __platform: 'Ubuntu',
      __os_bit: '64',
    });
    expect(decide({ ...FILE, os_version: UBUNTU }).input.osVersion).toBe(UBUNTU);
  });

  it('makes an ISO image (CRE-11)', () => {
    const iso: CreateImageRequest = { ...FILE, type: 'IsoImage', os_version: 'CentOS 7.6 64bit' };
    expect(queued(iso)).toMatchObject({ diskFormat: 'iso', attributes: { virtual_env_type: 'IsoImage' } });
    expect(decide(iso).input.source).toEqual({
      kind: 'iso-file',
      file: { bucket: 'my-images', key: 'exports/db.qcow2' },
    });
  });

  it('makes a BMS image (CRE-02)', () => {
    const { attributes } = queued({ ...FILE, type: 'BMS' });
    expect(attributes.virtual_env_type).toBe('Ironic');
    expect(attributes).not.toHaveProperty('__support_kvm');
  });

  it('forces UEFI on arm and marks the image (OS-16)', () => {
    const attributes = { hw_firmware_type: 'uefi', __support_arm: 'true' };
    expect(queued({ ...FILE, architecture: 'arm', os_version: 'Kylin V10 64bit' }).attributes).toMatchObject(
      attributes,
    );
    expect(queued({ ...FILE, architecture: 'arm', hw_firmware_type: 'bios' }).attributes).toMatchObject(attributes);
  });

  it('caps the memory of a 32-bit system at 4 GB (CRE-28)', () => {
    const system = { ...FILE, os_version: 'CentOS 6.9 32bit' };
    expect(queued(system).attributes.max_ram).toBe('4096');
    expect(queued({ ...system, max_ram: 8192 }).attributes.max_ram).toBe('4096');
    expect(queued({ ...system, max_ram: 2048 }).attributes.max_ram).toBe('2048');
    expect(queued({ ...FILE, os_version: UBUNTU, max_ram: 8192 }).attributes.max_ram).toBe('8192');
    expect(queued(FILE).attributes).not.toHaveProperty('max_ram');
  });

  it.each<[string, CreateImageRequest, ErrorCode | undefined]>([
    ['no name', { ...FILE, name: undefined }, 'IMG.0013'],
    ['an empty name', { ...FILE, name: '' }, 'IMG.0013'],
    ['a name of 1 character', { ...FILE, name: 'a' }, undefined],
    ['a name of 128 characters', { ...FILE, name: 'a'.repeat(128) }, undefined],
    ['a name of 129 characters', { ...FILE, name: 'a'.repeat(129) }, 'IMG.0002'],
    ['a name of 128 Chinese characters', { ...FILE, name: '像'.repeat(128) }, undefined],
    ['every kind of allowed character', { ...FILE, name: 'aZ9镜像-._ x' }, undefined],
    ['a blank in front', { ...FILE, name: ' a' }, 'IMG.0003'],
    ['a blank behind', { ...FILE, name: 'a ' }, 'IMG.0003'],
    ['a blank alone', { ...FILE, name: ' ' }, 'IMG.0003'],
    ['a slash', { ...FILE, name: 'a/b' }, 'IMG.0003'],
    ['markup', { ...FILE, name: '<b>' }, 'IMG.0003'],
    ['a line break at the end', { ...FILE, name: 'a\n' }, 'IMG.0003'],
    ['an emoji', { ...FILE, name: 'a🙂' }, 'IMG.0003'],
  ])('name: %s (ims-api 2.1)', (_what, request, code) => {
    expect(refusalOf(request)).toBe(code);
  });

  it.each<[string, string, ErrorCode | undefined]>([
    ['1024 characters', 'd'.repeat(1024), undefined],
    ['1025 characters', 'd'.repeat(1025), 'IMG.0004'],
    ['a tab', 'a\tb', undefined],
    ['a carriage return', 'a\rb', 'IMG.0054'],
    ['a line feed', 'a\nb', 'IMG.0054'],
    ['<', 'a<b', 'IMG.0054'],
    ['>', 'a>b', 'IMG.0054'],
    ['NUL', 'a\0b', 'IMG.0054'],
    ['half a surrogate pair', 'a\ud800', 'IMG.0054'],
  ])('description: %s', (_what, description, code) => {
    expect(refusalOf({ ...FILE, description })).toBe(code);
  });

  const tag = (key: string, value: string): CreateImageRequest => ({ ...FILE, image_tags: [{ key, value }] });
  const tags = (count: number): CreateImageRequest => ({
    ...FILE,
    tags: Array.from({ length: count }, (_, i) => `k${i}.v`),
  });
  it.each<[string, CreateImageRequest, ErrorCode | undefined]>([
    ['both forms', { ...FILE, tags: ['a.b'], image_tags: [{ key: 'c', value: 'd' }] }, 'IMG.0115'],
    ['10', tags(10), undefined],
    ['11', tags(11), 'IMG.0116'],
    ['11 of 10 keys', { ...FILE, tags: [...(tags(10).tags ?? []), 'k0.other'] }, undefined],
    ['an empty key', { ...FILE, tags: ['.v'] }, 'IMG.0115'],
    ['an empty text', { ...FILE, tags: [''] }, 'IMG.0115'],
    ['a key of 128', tag('k'.repeat(128), ''), undefined],
    ['a key of 129', tag('k'.repeat(129), ''), 'IMG.0115'],
    ['a value of 255', tag('k', 'v'.repeat(255)), undefined],
    ['a value of 256', tag('k', 'v'.repeat(256)), 'IMG.0115'],
    ['allowed characters', tag('aZ9键 _.:+-@x', 'aZ9值 _.:+-@/x'), undefined],
    ['a slash in a key', tag('a/b', ''), 'IMG.0115'],
    ['a blank before a key', tag(' a', ''), 'IMG.0115'],
    ['an equals sign', tag('a=b', ''), 'IMG.0115'],
    ['markup', tag('a', '<b>'), 'IMG.0115'],
  ])('tags: %s (MGT-03, ims-api 8.1)', (_what, request, code) => {
    expect(refusalOf(request)).toBe(code);
  });

  it('takes as many tags as the operator allows (MGT-03)', () => {
    expect(refusalOf(tags(20), EMPTY, 20)).toBeUndefined();
    expect(refusalOf(tags(21), EMPTY, 20)).toBe('IMG.0116');
  });

  it('shows tags as key=value, cut at the first dot, the last value of a key counting', () => {
    expect(queued({ ...FILE, tags: ['a.b.c', 'alone', 'x.1', 'x.2'] }).tags).toEqual(['a=b.c', 'alone', 'x=2']);
  });

  it.each<[string, string, ErrorCode | undefined]>([
    ['a bucket and an object', 'my-images:disk.raw', undefined],
    ['no colon', 'my-images', 'IMG.0017'],
    ['no bucket', ':disk.raw', 'IMG.0068'],
    ['nothing', '', 'IMG.0017'],
    ['no object', 'my-images:', 'IMG.0017'],
    ['a web address', 'https://my-images.example.test/disk.raw', 'IMG.0017'],
    ['capitals in the bucket', 'My-Images:disk.raw', 'IMG.0109'],
    ['a slash in the bucket', 'a/b:disk.raw', 'IMG.0109'],
    ['a way up as bucket', '..:disk.raw', 'IMG.0109'],
    ['a bucket of 2 characters', 'ab:disk.raw', 'IMG.0109'],
    ['a bucket of 3 characters', 'abc:disk.raw', undefined],
    ['a bucket of 63 characters', `${'a'.repeat(63)}:disk.raw`, undefined],
    ['a bucket of 64 characters', `${'a'.repeat(64)}:disk.raw`, 'IMG.0109'],
    ['a blank in the file', 'my-images:my disk.raw', 'IMG.0175'],
    ['a blank in the folder', 'my-images:my folder/disk.raw', 'IMG.0175'],
    ['a way up', 'my-images:../other/disk.raw', 'IMG.0017'],
    ['a leading slash', 'my-images:/disk.raw', 'IMG.0017'],
    ['a folder', 'my-images:folder/', 'IMG.0017'],
    ['NUL', 'my-images:a\0b', 'IMG.0017'],
    ['a colon in the object', 'my-images:a:b', undefined],
    ['1024 bytes', `my-images:${'é'.repeat(512)}`, undefined],
    ['1025 bytes', `my-images:${'é'.repeat(512)}x`, 'IMG.0017'],
  ])('image_url: %s (CRE-10)', (_what, image_url, code) => {
    expect(refusalOf({ ...FILE, image_url })).toBe(code);
  });

  it.each<[number | undefined, ErrorCode | undefined]>([
    [undefined, 'IMG.0055'],
    [-1, 'IMG.0055'],
    [0, 'IMG.0055'],
    [1, undefined],
    [1024, undefined],
    [1025, 'IMG.0055'],
    [1.5, 'IMG.0055'],
    [Number.NaN, 'IMG.0055'],
  ])('min_disk %s GB', (min_disk, code) => {
    expect(refusalOf({ ...FILE, min_disk })).toBe(code);
  });

  it.each<[string, Partial<CreateImageRequest>, ErrorCode | undefined]>([
    ['x86 (CRE-27)', { architecture: 'x86' }, undefined],
    ['arm', { architecture: 'arm' }, undefined],
    ['another architecture (CRE-27)', { architecture: 'riscv' }, 'IMG.0212'],
    ['an empty architecture', { architecture: '' }, 'IMG.0212'],
    ['a listed system', { os_version: UBUNTU }, undefined],
    ['the spelling of the API reference', { os_version: 'Ubuntu 18.04 server 64bit' }, undefined],
    ['a fallback name (CRE-32)', { os_version: 'Other_Linux (64_bit)' }, undefined],
    ['an unlisted system', { os_version: 'Plan 9 64bit' }, 'IMG.0056'],
    ['other case', { os_version: 'ubuntu 18.04 Server 64bit' }, 'IMG.0056'],
    ['a name from the prototype', { os_version: 'constructor' }, 'IMG.0056'],
    ['an arm system on arm', { os_version: 'Kylin V10 64bit', architecture: 'arm' }, undefined],
    ['an arm system on x86', { os_version: 'Kylin V10 64bit' }, 'IMG.0056'],
    ['an x86 system on arm', { os_version: 'CentOS 8.2 64bit', architecture: 'arm' }, 'IMG.0056'],
    ['ECS', { type: 'ECS' }, undefined],
    ['FusionCompute', { type: 'FusionCompute' }, undefined],
    ['BMS', { type: 'BMS' }, undefined],
    ['Ironic', { type: 'Ironic' }, undefined],
    ['another type', { type: 'VM' }, 'IMG.0024'],
    ['a data image', { type: 'DataImage' }, 'IMG.0117'],
    ['an ISO with its system', { type: 'IsoImage', os_version: UBUNTU }, undefined],
    ['an ISO without its system (CRE-11)', { type: 'IsoImage' }, 'IMG.0166'],
    ['an encrypted ISO (CRE-12)', { type: 'IsoImage', os_version: UBUNTU, cmk_id: 'k' }, 'IMG.0105'],
    ['an encrypted BMS image', { type: 'BMS', cmk_id: 'k' }, 'IMG.0118'],
    ['an encrypted image (ENC-02)', { cmk_id: 'k' }, undefined],
    ['an encrypted image that is to be seen booting', { cmk_id: 'k', boot_check: true }, 'IMG.0105'],
    ['no key', { cmk_id: '' }, undefined],
    ['os_type Linux', { os_type: 'Linux' }, undefined],
    ['os_type Other', { os_type: 'Other' }, undefined],
    ['os_type linux', { os_type: 'linux' }, 'IMG.0122'],
    ['BIOS', { hw_firmware_type: 'bios' }, undefined],
    ['UEFI without a system', { hw_firmware_type: 'uefi' }, undefined],
    ['UEFI with a system of table 7-9 (OS-18)', { hw_firmware_type: 'uefi', os_version: UBUNTU }, undefined],
    ['UEFI with another system (OS-18)', { hw_firmware_type: 'uefi', os_version: 'CentOS 6.3 64bit' }, 'IMG.0141'],
    ['UEFI in capitals (OS-17)', { hw_firmware_type: 'UEFI' }, 'IMG.0141'],
    ['equal memory bounds', { min_ram: 1024, max_ram: 1024 }, undefined],
    ['crossed memory bounds', { min_ram: 1025, max_ram: 1024 }, 'IMG.0055'],
    ['no upper bound', { min_ram: 1024, max_ram: 0 }, undefined],
    ['more memory than 32 bits address', { min_ram: 4097, os_version: 'CentOS 6.9 32bit' }, 'IMG.0055'],
    ['the default enterprise project', { enterprise_project_id: '0' }, undefined],
    ['an enterprise project', { enterprise_project_id: '9f1c0e7a-0b1c-4d2e-8f3a-4b5c6d7e8f90' }, undefined],
    ['no enterprise project id', { enterprise_project_id: 'all_granted_eps' }, 'IMG.0155'],
    ['no data disks', { data_images: [] }, undefined],
    ['quick import without a system', { is_quick_import: true }, 'IMG.0159'],
    ['quick import (FMT-03)', { is_quick_import: true, os_version: UBUNTU }, undefined],
    ['quick import of an ISO', { is_quick_import: true, os_version: UBUNTU, type: 'IsoImage' }, 'IMG.0157'],
    ['quick import of a data image', { is_quick_import: true, os_version: UBUNTU, type: 'DataImage' }, 'IMG.0117'],
    ['quick import off', { is_quick_import: false }, undefined],
  ])('%s', (_what, change, code) => {
    expect(refusalOf({ ...FILE, ...change })).toBe(code);
  });

  it.each<[string, CreateImageRequest, ErrorCode]>([
    ['none', { name: 'x' }, 'IMG.0012'],
    ['an empty server id', { name: 'x', instance_id: '' }, 'IMG.0012'],
    ['a server and a file', { ...FILE, instance_id: 'i' }, 'IMG.0001'],
    ['a volume and a file', { ...FILE, volume_id: 'v' }, 'IMG.0001'],
    ['a server and a volume', { name: 'x', instance_id: 'i', volume_id: 'v' }, 'IMG.0001'],
    ['a server and data disks', { name: 'x', instance_id: 'i', data_images: [] }, 'IMG.0001'],
    ['a server as an ISO file', { name: 'x', instance_id: 'i', type: 'IsoImage' }, 'IMG.0117'],
    ['an unknown server', { name: 'x', instance_id: 'i' }, 'IMG.0005'],
    ['an unknown volume', { name: 'x', volume_id: 'v' }, 'IMG.0120'],
    ['a volume as an ISO file', { name: 'x', volume_id: 'v', type: 'IsoImage' }, 'IMG.0117'],
    ['a volume and data disks', { name: 'x', volume_id: 'v', data_images: [] }, 'IMG.0001'],
    ['no volumes', { data_images: [] }, 'IMG.0120'],
  ])('source: %s', (_what, request, code) => {
    expect(refusalOf(request)).toBe(code);
  });

  it.each<[string, CreateImageState, ErrorCode | undefined]>([
    ['the 50th image', { ...EMPTY, imageQuota: { limit: null, used: 40, reserved: 9 } }, undefined],
    ['the 51st image (CRE-23)', { ...EMPTY, imageQuota: { limit: null, used: 41, reserved: 9 } }, 'IMG.0015'],
    ['the last of a raised quota', { ...EMPTY, imageQuota: { limit: 60, used: 59, reserved: 0 } }, undefined],
    ['one over a raised quota', { ...EMPTY, imageQuota: { limit: 60, used: 60, reserved: 0 } }, 'IMG.0015'],
    ['a quota of nothing', { ...EMPTY, imageQuota: { limit: 0, used: 0, reserved: 0 } }, 'IMG.0015'],
    ['the 40th task', { ...EMPTY, createTaskQuota: { limit: null, used: 0, reserved: 39 } }, undefined],
    ['the 41st task (CRE-24)', { ...EMPTY, createTaskQuota: { limit: null, used: 0, reserved: 40 } }, 'IMG.0060'],
    ['a free name', { ...EMPTY, isNameTaken: false }, undefined],
    ['a name in use where that is forbidden', { ...EMPTY, isNameTaken: true }, 'IMG.0009'],
  ])('%s', (_what, state, code) => {
    expect(refusalOf(FILE, state)).toBe(code);
  });
});

describe('the call for data disks (CRE-14, IMG-10)', () => {
  const DATA: Request = { name: 'db-data', image_url: 'my-images:db-data.qcow2', min_disk: 80 };
  const refusal = (change: Partial<Request>) => refusalOf({ ...DATA, ...change }, EMPTY, undefined, 'data-images');

  it('makes a data image by a job of its own type', () => {
    const { events, input } = decide({ ...DATA, tags: ['team.ops'] }, EMPTY, undefined, 'data-images');
    expect(events[0]).toMatchObject({ type: 'job.accepted', data: { jobType: 'imsImportDataImageJob' } });
    expect(events[1]).toMatchObject({
      type: 'image.queued',
      data: {
        diskFormat: 'zvhd2',
        minDiskGib: 80,
        minRamMib: 0,
        tags: ['team=ops'],
        attributes: {
          virtual_env_type: 'DataImage',
          enterprise_project_id: '0',
          __isregistered: 'true',
          __image_source_type: 'uds',
          __root_origin: 'file',
          __data_origin: 'file,my-images:db-data.qcow2',
          __description: '',
          __os_type: 'Linux',
        },
      },
    });
    expect(events.slice(2).map(({ type }) => type)).toEqual(['quota.reserved', 'quota.reserved']);
    expect(input).toMatchObject({ kind: 'data', quickImport: false, minDiskGib: 80 });
    for (const event of events) EVENTS[event.type].parse(event.data);
    expect(imageCreateInput.parse(input)).toEqual(input);
  });

  it('keeps the os_type it is given', () => {
    expect(queued({ ...DATA, os_type: 'Windows' }, 'data-images').attributes).toMatchObject({ __os_type: 'Windows' });
  });

  it.each<[number | undefined, ErrorCode | undefined]>([
    [undefined, 'IMG.0055'],
    [39, 'IMG.0055'],
    [40, undefined],
    [40.5, 'IMG.0055'],
    [2048, undefined],
    [2049, 'IMG.0055'],
  ])('min_disk %s GB (CRE-15)', (min_disk, code) => {
    expect(refusal({ min_disk })).toBe(code);
  });

  it.each<[string, Partial<Request>, ErrorCode | undefined]>([
    ['os_type Linux', { os_type: 'Linux' }, undefined],
    ['os_type Other', { os_type: 'Other' }, 'IMG.0122'],
    ['os_type linux', { os_type: 'linux' }, 'IMG.0122'],
    ['no file', { image_url: undefined }, 'IMG.0017'],
    ['no name', { name: undefined }, 'IMG.0013'],
    ['a key (ENC-02)', { cmk_id: 'k' }, undefined],
    ['an enterprise project that is none', { enterprise_project_id: 'x' }, 'IMG.0155'],
    ['12 tags', { tags: Array.from({ length: 12 }, (_, i) => `k${i}`) }, 'IMG.0116'],
  ])('%s', (_what, change, code) => {
    expect(refusal(change)).toBe(code);
  });

  it('counts against the same quotas (CRE-23, CRE-24)', () => {
    const full = { limit: 1, used: 1, reserved: 0 };
    expect(refusalOf(DATA, { ...EMPTY, imageQuota: full }, undefined, 'data-images')).toBe('IMG.0015');
    expect(refusalOf(DATA, { ...EMPTY, createTaskQuota: full }, undefined, 'data-images')).toBe('IMG.0060');
  });
});

describe('the call for quick import (FMT-03, ims-api 6.3)', () => {
  const QUICK: Request = { name: 'big', image_url: 'my-images:big.zvhd2', min_disk: 300 };
  const WINDOWS = 'Windows Server 2016 Standard 64bit';
  const refusal = (change: Partial<Request>) => refusalOf({ ...QUICK, ...change }, EMPTY, undefined, 'quick-import');

  it('makes a system image of its OS version', () => {
    const { events, input } = decide({ ...QUICK, os_version: UBUNTU }, EMPTY, undefined, 'quick-import');
    expect(events[0]).toMatchObject({ data: { jobType: 'imsImportImageJob' } });
    expect(events[1]).toMatchObject({
      data: { attributes: { virtual_env_type: 'FusionCompute', __os_version: UBUNTU, __support_kvm: 'true' } },
    });
    expect(input).toMatchObject({ kind: 'system', quickImport: true, osVersion: UBUNTU });
  });

  it('makes a data image, which has no OS version even when one is sent (IMG-10)', () => {
    const data: Request = { ...QUICK, type: 'DataImage', os_version: UBUNTU, os_type: 'Windows' };
    const { input } = decide(data, EMPTY, undefined, 'quick-import');
    expect(input).toMatchObject({ kind: 'data', quickImport: true });
    expect(input).not.toHaveProperty('osVersion');
    const { attributes } = queued(data, 'quick-import');
    expect(attributes).toMatchObject({ virtual_env_type: 'DataImage', __os_type: 'Windows' });
    expect(attributes).not.toHaveProperty('__os_version');
  });

  it('is what is_quick_import asks of the general call', () => {
    expect(decide({ ...QUICK, os_version: UBUNTU, is_quick_import: true }).input).toEqual(
      decide({ ...QUICK, os_version: UBUNTU }, EMPTY, undefined, 'quick-import').input,
    );
  });

  it.each<[string, Partial<Request>, ErrorCode | undefined]>([
    ['a system image without its OS version', {}, 'IMG.0159'],
    ['ECS', { type: 'ECS', os_version: UBUNTU }, undefined],
    ['BMS', { type: 'BMS', os_version: UBUNTU }, undefined],
    ['an ISO image', { type: 'IsoImage', os_version: UBUNTU }, 'IMG.0157'],
    ['another type', { type: 'VM', os_version: UBUNTU }, 'IMG.0157'],
    ['an unlisted OS version', { os_version: 'Plan 9 64bit' }, 'IMG.0056'],
    ['a system disk of 1 GB', { min_disk: 1, os_version: UBUNTU }, undefined],
    ['a system disk of 1024 GB', { min_disk: 1024, os_version: UBUNTU }, undefined],
    ['a system disk of 1025 GB', { min_disk: 1025, os_version: UBUNTU }, 'IMG.0055'],
    ['a data disk of 39 GB', { min_disk: 39, type: 'DataImage' }, 'IMG.0055'],
    ['a data disk of 40 GB', { min_disk: 40, type: 'DataImage' }, undefined],
    ['a data disk of 2048 GB', { min_disk: 2048, type: 'DataImage' }, undefined],
    ['a data disk of 2049 GB', { min_disk: 2049, type: 'DataImage' }, 'IMG.0055'],
    ['a data disk for another system', { type: 'DataImage', os_type: 'Other' }, 'IMG.0122'],
    ['a licence of Windows', { os_version: WINDOWS, license_type: 'byol' }, undefined],
    ['a licence of Linux', { os_version: UBUNTU, license_type: 'byol' }, 'IMG.0001'],
    ['an unknown licence', { os_version: WINDOWS, license_type: 'free' }, 'IMG.0001'],
  ])('%s', (_what, change, code) => {
    expect(refusal(change)).toBe(code);
  });

  it('takes inputs that were recorded before there were kinds and quick imports', () => {
    const { kind, quickImport, ...recorded } = decide(FILE).input;
    expect([kind, quickImport]).toEqual(['system', false]);
    expect(imageCreateInput.parse(recorded)).toMatchObject({ kind: 'system', quickImport: false });
  });
});

describe('an image of a server (CRE-01)', () => {
  const server = { id: 'srv', isBareMetal: false, architecture: 'x86', systemDiskGib: 40, imageId: 'parent' } as const;
  const plenty = { limit: null, used: 0, reserved: 0 };
  const decide = (facts: SourceServer) =>
    decideCreateImage(
      { imageQuota: plenty, createTaskQuota: plenty },
      {
        projectId: projectId('0'.repeat(32)),
        jobId: jobId('1'.repeat(32)),
        imageId: imageId('00000000-0000-4000-8000-000000000000'),
        request: { name: 'web', instance_id: 'srv', description: 'golden' },
        server: facts,
      },
    );

  it('is as large as the system disk, knows its server and takes a snapshot first', () => {
    const { events, input } = decide(server);
    expect(input).toMatchObject({ source: { kind: 'server', serverId: 'srv' }, minDiskGib: 40, kind: 'system' });
    expect(events).toMatchObject([
      { type: 'job.accepted', data: { jobType: 'imsCreateImageByInstance', steps: [...DISK_IMAGE_CREATE_STEPS] } },
      {
        type: 'image.queued',
        data: {
          minDiskGib: 40,
          attributes: {
            virtual_env_type: 'FusionCompute',
            __data_origin: 'instance,srv',
            __originalimagename: 'parent',
            __support_kvm: 'true',
          },
        },
      },
      { type: 'quota.reserved' },
      { type: 'quota.reserved' },
    ]);
    expect(events[1]?.data).not.toHaveProperty('attributes.__root_origin');
  });

  it('is for bare metal when its server is (CRE-02), and for arm likewise', () => {
    const { events, input } = decide({ ...server, isBareMetal: true, architecture: 'arm' });
    expect(input.architecture).toBe('arm');
    expect(events[1]).toMatchObject({ data: { attributes: { virtual_env_type: 'Ironic', __support_arm: 'true' } } });
  });
});

describe('an image of a disk by its id (ims-api 6.2 E)', () => {
  const plenty = { limit: null, used: 0, reserved: 0 };
  const volume: SourceVolume = { id: 'vol', sizeGib: 100, architecture: null, imageId: null };
  const decide = (request: CreateImageRequest, facts = volume) =>
    decideCreateImage(
      { imageQuota: plenty, createTaskQuota: plenty },
      { projectId: PROJECT, jobId: JOB, imageId: IMAGE, request, volume: facts },
    );
  const REQUEST: CreateImageRequest = { name: 'from-vol', volume_id: 'vol', os_version: UBUNTU };

  it('is as large as the disk, knows it, takes a snapshot first and believes what is found on it', () => {
    const { events, input } = decide(REQUEST);
    expect(input).toMatchObject({
      source: { kind: 'volume', volumeId: 'vol' },
      minDiskGib: 100,
      osVersion: UBUNTU,
      detectedOsWins: true,
    });
    expect(imageCreateInput.parse(input)).toEqual(input);
    expect(events[0]).toMatchObject({
      data: { jobType: 'imsVolumeCreateImageJob', steps: [...DISK_IMAGE_CREATE_STEPS] },
    });
    expect(events[1]).toMatchObject({
      data: { minDiskGib: 100, attributes: { virtual_env_type: 'FusionCompute', __data_origin: 'volume,vol' } },
    });
    for (const event of events) EVENTS[event.type].parse(event.data);
  });

  it('is for the architecture of the server that has the disk, else for the one the caller names', () => {
    const { os_version: _, ...plain } = REQUEST;
    const arm = { ...plain, os_version: 'Other_Linux (64_bit)' };
    expect(decide({ ...arm, architecture: 'x86' }, { ...volume, architecture: 'arm' }).input.architecture).toBe('arm');
    expect(decide({ ...arm, architecture: 'arm' }).input.architecture).toBe('arm');
    expect(decide(REQUEST).input.architecture).toBe('x86');
  });

  it('needs an OS version, and is for bare metal when told so', () => {
    expect(() => decide({ name: 'x', volume_id: 'vol' })).toThrow(expect.objectContaining({ code: 'IMG.0056' }));
    expect(decide({ ...REQUEST, type: 'BMS' }).events[1]).toMatchObject({
      data: { attributes: { virtual_env_type: 'Ironic' } },
    });
  });
});

describe('a boot check', () => {
  const stepsOf = (request: Request, door?: CreateDoor): string[] => {
    const [accepted] = decide(request, EMPTY, undefined, door).events;
    return accepted?.type === 'job.accepted' ? accepted.data.steps : [];
  };

  it('is the last step before the image can be seen, and only where it is asked for', () => {
    expect(stepsOf({ ...FILE, boot_check: true })).toEqual([
      'inspect',
      'ingest',
      'verify',
      'identify-os',
      'boot-check',
      'publish',
      'meter',
    ]);
    for (const boot_check of [false, undefined]) expect(stepsOf({ ...FILE, boot_check })).not.toContain('boot-check');
    expect(decide({ ...FILE, boot_check: 'ready' }).input.bootCheck).toEqual({ expect: 'ready' });
  });

  it('is for system disks alone', () => {
    expect(refusalOf({ ...FILE, boot_check: '' })).toBe('IMG.0001');
    expect(refusalOf({ ...FILE, boot_check: true }, EMPTY, undefined, 'data-images')).toBe('IMG.0001');
    expect(refusalOf({ ...FILE, type: 'IsoImage', os_version: UBUNTU, boot_check: true })).toBe('IMG.0001');
  });
});
