import { cloudImage, glanceImage } from '@ims/contract';
import type { SeenImage } from '@ims/db';
import { toGlanceImage } from './image.glance';
import { toCloudImage } from './image.wire';

const at = new Date('2026-02-03T08:15:42.987Z');

const anImage = (changes: Partial<SeenImage> = {}): SeenImage => ({
  seen_as: 'owner',
  is_shared: false,
  member_status: null,
  id: '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c',
  project_id: '0f3a5c1e9b7d4c21a8e64b2f7d9c0e13',
  name: 'web-base-01',
  status: 'active',
  image_type: 'private',
  form: 'disk',
  parent_id: null,
  public_platform: null,
  catalogue_key: null,
  catalogue: null,
  retired_at: null,
  listing: null,
  product_code: null,
  disk_format: 'zvhd2',
  min_disk_gib: 40,
  min_ram_mib: 0,
  tags: ['env=prod', 'keyonly'],
  tag_terms: [],
  attributes: {
    __os_type: 'Linux',
    __os_bit: '64',
    max_ram: 4096,
    __is_config_init: false,
    __system_support_market: true,
    __productcode: null,
  },
  protected: false,
  hidden: false,
  domain_id: null,
  manifest_hash: null,
  content_root: null,
  virtual_size_bytes: null,
  stored_bytes: null,
  file_bytes: null,
  md5: null,
  sha512: null,
  created_at: at,
  updated_at: at,
  active_at: null,
  deleted_at: null,
  binned_at: null,
  purge_after: null,
  purges_backup: false,
  held_at: null,
  hold_reason: null,
  held_by: null,
  deprecated_at: null,
  replacement_id: null,
  revoked_at: null,
  revoke_reason: null,
  ...changes,
});

const dialects = [
  ['extension', toCloudImage, cloudImage],
  ['OpenStack', toGlanceImage, glanceImage],
] as const;

describe.each(dialects)('an image in the %s dialect', (_name, map, schema) => {
  it('tells from when on another image should be used, and which, as texts', () => {
    const image = anImage({ deprecated_at: at, replacement_id: '6a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c' });
    expect(schema.parse(map(image))).toMatchObject({
      __deprecated_at: '2026-02-03T08:15:42Z',
      __replacement_image_id: '6a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c',
    });
    expect(map(anImage())).not.toHaveProperty('__deprecated_at');
  });

  it('fits its published schema before and after it has bytes', () => {
    const done = anImage({
      active_at: at,
      file_bytes: 1_845_624_832,
      virtual_size_bytes: 42_949_672_960,
      md5: 'a'.repeat(32),
      sha512: 'b'.repeat(128),
    });
    for (const row of [anImage({ status: 'queued' }), done]) expect(() => schema.parse(map(row))).not.toThrow();
  });

  it('has no key but strings where typed clients expect strings (ims-api 19.1 row 3)', () => {
    const image: Record<string, unknown> = map(anImage());
    expect(image).toMatchObject({
      max_ram: '4096',
      __is_config_init: 'false',
      __os_bit: '64',
      __image_size: '0',
      __isregistered: 'true',
    });
    expect(image).not.toHaveProperty('__productcode');
  });

  it.each([
    [
      'CentOS 7.6 64bit',
      {
        __os_support: 'ended',
        __os_supported_by: 'vendor',
        __os_eos: '2020-08-06',
        __os_eos_extended: '2024-06-30',
        __os_eos_effective: '2024-06-30',
      },
    ],
    ['Debian GNU/Linux 12.4.0 64bit', { __os_support: 'unknown', __os_eos: 'Unknown', __os_supported_by: 'vendor' }],
    [
      'Windows Server 2008 R2 Standard 64bit',
      { __os_support: 'ended', __os_eos: 'Ended', __os_eos_extended: 'Ended', __os_supported_by: 'vendor' },
    ],
    ['EulerOS 2.3 64bit', { __os_support: 'ended', __os_eos: '2022-12-31', __os_supported_by: 'platform' }],
    ['Other_Linux (64_bit)', {}],
  ])('tells the support of %s (OS-01, OS-03, OS-04, OS-05)', (name, expected) => {
    const image: Record<string, unknown> = map(anImage({ attributes: { __os_version: name } }));
    expect(image).toMatchObject(expected);
    for (const key of ['__os_support', '__os_eos', '__os_eos_extended'])
      if (!Object.hasOwn(expected, key)) expect(image).not.toHaveProperty(key);
    if (name.startsWith('Debian')) expect(image).not.toHaveProperty('__os_eos_effective');
    expect(map(anImage({ attributes: { __os_version: name, virtual_env_type: 'DataImage' } }))).not.toHaveProperty(
      '__os_support',
    );
  });

  it('always has the keys typed clients rely on (ims-api 4.2)', () => {
    const image: Record<string, unknown> = map(anImage({ attributes: {}, tags: [] }));
    expect(image).toMatchObject({
      tags: [],
      active_at: '',
      updated_at: '2026-02-03T08:15:42Z',
      created_at: '2026-02-03T08:15:42Z',
      __image_source_type: 'uds',
      __os_type: 'Other',
      virtual_env_type: 'FusionCompute',
      self: '/v2/images/5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c',
      visibility: 'private',
      __imagetype: 'private',
    });
  });

  it('has no placeholder for a digest that is not known (ims-api 12.8)', () => {
    const image = map(anImage({ file_bytes: 10 }));
    for (const key of ['checksum', 'os_hash_algo', 'os_hash_value']) expect(image).not.toHaveProperty(key);
  });

  it('cannot be told another identity by an attribute', () => {
    expect(map(anImage({ attributes: { id: 'x', owner: 'y', status: 'z', protected: 'no' } }))).toMatchObject({
      id: anImage().id,
      owner: anImage().project_id,
      status: 'active',
      protected: false,
    });
  });
});

describe('sizes', () => {
  const large = anImage({ file_bytes: 2 ** 31, virtual_size_bytes: 2 ** 40 });
  const largest = anImage({ file_bytes: 2 ** 31 - 1, virtual_size_bytes: 2 ** 31 - 1 });

  it('fit into 32 bits in the extension dialect or are left out (ims-api 19.1 row 2)', () => {
    expect(toCloudImage(large)).not.toHaveProperty('size');
    expect(toCloudImage(large)).toMatchObject({ virtual_size: null, __image_size: '2147483648' });
    expect(toCloudImage(largest)).toMatchObject({ size: 2_147_483_647, virtual_size: 2_147_483_647 });
  });

  it('are whole in the OpenStack dialect', () => {
    expect(toGlanceImage(large)).toMatchObject({ size: 2_147_483_648, virtual_size: null });
  });
});

describe('a hidden image', () => {
  it('says so in the OpenStack dialect always, in the other one only then (ims-api 12.2)', () => {
    expect(toGlanceImage(anImage())).toHaveProperty('os_hidden', false);
    expect(toCloudImage(anImage())).not.toHaveProperty('os_hidden');
    for (const map of [toGlanceImage, toCloudImage])
      expect(map(anImage({ hidden: true }))).toHaveProperty('os_hidden', true);
  });
});

describe('the market flag', () => {
  it('is a boolean in the extension dialect and absent in the other (ims-api 2.2)', () => {
    expect(toCloudImage(anImage())).toHaveProperty('__system_support_market', true);
    expect(toGlanceImage(anImage())).not.toHaveProperty('__system_support_market');
  });
});

describe('digests', () => {
  it('are those of the file that a download serves', () => {
    const row = anImage({ file_bytes: 5, md5: 'm'.repeat(32), sha512: 's'.repeat(128) });
    expect(toGlanceImage(row)).toMatchObject({
      checksum: 'm'.repeat(32),
      os_hash_algo: 'sha512',
      os_hash_value: 's'.repeat(128),
    });
    expect(toCloudImage(row)).toMatchObject({ checksum: 'm'.repeat(32) });
  });
});
