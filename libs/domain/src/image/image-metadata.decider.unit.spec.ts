import { EVENTS, imageId, imageMetadataRequest, projectId } from '@ims/contract';
import { decideCreateMetadata } from './image-metadata.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const IMAGE = imageId('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c');
const UNTOUCHED = { limit: null, used: 0, reserved: 0 };

const decide = (body: object, imageQuota = UNTOUCHED) =>
  decideCreateMetadata(
    { imageQuota },
    { projectId: PROJECT, imageId: IMAGE, request: imageMetadataRequest.parse(body) },
  );

const queued = (request: object) => {
  const [event] = decide(request).events;
  if (event?.type !== 'image.queued') throw new Error('no image.queued');
  return event.data;
};

describe(decideCreateMetadata.name, () => {
  it('queues an image with the defaults of the contract and takes its place in the quota (ims-api 12.3, CRE-23)', () => {
    const { events } = decide({});
    expect(events.map(({ type }) => type)).toEqual(['image.queued', 'quota.reserved']);
    for (const event of events) EVENTS[event.type].parse(event.data);
    expect(queued({})).toEqual({
      name: '',
      diskFormat: 'vhd',
      minDiskGib: 0,
      minRamMib: 0,
      tags: [],
      attributes: {
        virtual_env_type: 'FusionCompute',
        enterprise_project_id: '0',
        __isregistered: 'true',
        __image_source_type: 'uds',
        __root_origin: 'file',
        __os_version: 'Other Linux(64 bit)',
        __os_type: 'Linux',
        __os_bit: '64',
        __platform: 'Other',
      },
    });
  });

  it('takes null as nothing, as OpenStack clients mean it', () => {
    expect(
      queued({ name: null, disk_format: null, min_disk: null, tags: null, protected: null, kernel_id: null }),
    ).toEqual(queued({}));
  });

  it.each([
    ['CentOS 6.9 32bit', { __os_type: 'Linux', __os_bit: '32', __platform: 'CentOS' }],
    ['Windows Server 2016 Standard 64bit', { __os_type: 'Windows', __os_bit: '64', __platform: 'Windows' }],
    ['Ubuntu 18.04 server 64bit', { __os_type: 'Linux', __platform: 'Ubuntu' }],
    ['Kylin V10 64bit', { __support_arm: 'true', hw_firmware_type: 'uefi' }],
  ])('derives from %s what follows from it (ims-api 16.1)', (__os_version, attributes) => {
    expect(queued({ __os_version }).attributes).toMatchObject(attributes);
  });

  it.each([
    ['a system of table 7-9', { __os_version: 'CentOS 7.6 64bit' }],
    ['an image whose system is not named', {}],
  ])('takes UEFI for %s (OS-18)', (_, request) => {
    expect(queued({ ...request, hw_firmware_type: 'uefi' }).attributes).toMatchObject({ hw_firmware_type: 'uefi' });
  });

  it('makes an ISO an installation medium (IMG-11)', () => {
    expect(queued({ disk_format: 'iso' }).attributes).toMatchObject({ virtual_env_type: 'IsoImage' });
  });

  it('keeps properties of the caller’s own, those of one SDK among them (ims-api 12.3)', () => {
    const own = { 'owner_specified.openstack.md5': 'd41d8', 'owner_specified.openstack.object': 'images/x', empty: '' };
    expect(queued(own).attributes).toMatchObject(own);
    expect(queued({ protected: true, tags: ['test=1', 'a', 'a'] })).toMatchObject({
      protected: true,
      tags: ['test=1', 'a'],
    });
  });

  it.each<[string, object, string, number]>([
    [
      'UEFI for a system that cannot (OS-18)',
      { __os_version: 'CentOS 6.3 64bit', hw_firmware_type: 'uefi' },
      'IMG.0141',
      400,
    ],
    ['a system that is not listed', { __os_version: 'Plan 9' }, 'IMG.0056', 400],
    ['a format that is no disk', { disk_format: 'ami' }, 'IMG.0072', 400],
    ['a container', { container_format: 'ova' }, 'IMG.0072', 400],
    ['a name of 256 characters', { name: 'x'.repeat(256) }, 'IMG.0062', 400],
    ['a name of two lines', { name: 'a\nb' }, 'IMG.0062', 400],
    ['1025 GB', { min_disk: 1025 }, 'IMG.0055', 400],
    ['a public image', { visibility: 'public' }, 'IMG.0105', 403],
    ['another owner', { owner: 'f'.repeat(32) }, 'IMG.0105', 403],
    ['a status', { status: 'active' }, 'IMG.0105', 403],
    ['a checksum', { checksum: 'd41d8' }, 'IMG.0105', 403],
    ['a location', { locations: 'x' }, 'IMG.0105', 403],
    ['an own kind of image', { __imagetype: 'gold' }, 'IMG.0105', 403],
    ['a key', { __system__cmkid: 'x' }, 'IMG.0105', 403],
    ['a seal', { __system__encrypted: '1' }, 'IMG.0105', 403],
    ['a reserved name', { os_glance_x: '1' }, 'IMG.0105', 403],
    ['an empty tag', { tags: [''] }, 'IMG.0115', 400],
    ['a tag of 256 characters', { tags: ['x'.repeat(256)] }, 'IMG.0115', 400],
    ['11 tags (MGT-03)', { tags: [...'abcdefghijk'] }, 'IMG.0116', 413],
    ['a property name of 256 characters', { ['x'.repeat(256)]: '1' }, 'IMG.0001', 400],
    ['129 properties', Object.fromEntries(Array.from({ length: 129 }, (_, n) => [`p${n}`, '1'])), 'IMG.0001', 413],
    ['properties of 20,000 characters', { long: 'x'.repeat(20_000) }, 'IMG.0001', 413],
  ])('refuses %s', (_what, request, code, status) => {
    expect(() => decide(request)).toThrow(expect.objectContaining({ code, status }));
  });

  it('takes what is just allowed', () => {
    expect(
      queued({ name: 'x'.repeat(255), min_disk: 1024, tags: [...'abcdefghij'], visibility: 'private' }),
    ).toMatchObject({
      minDiskGib: 1024,
    });
    expect(queued({ owner: PROJECT })).toEqual(queued({}));
  });

  it('refuses the image beyond the quota (CRE-23)', () => {
    expect(decide({}, { limit: null, used: 20, reserved: 29 }).events).toHaveLength(2);
    expect(() => decide({}, { limit: null, used: 20, reserved: 30 })).toThrow(
      expect.objectContaining({ code: 'IMG.0015' }),
    );
  });
});
