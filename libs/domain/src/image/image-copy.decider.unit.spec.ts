import { type CopyImageRequest, EVENTS, imageCopyInput, imageId, ImsError, jobId, projectId } from '@ims/contract';
import { type CopyableImage, decideCopyImage } from './image-copy.decider';

const GIB = 2 ** 30;
const SOURCE = '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c';
const COPY = '9f1c0e7a-0b1c-4d2e-8f3a-4b5c6d7e8f90';

const anImage = ({ attributes, ...more }: Partial<CopyableImage> = {}): CopyableImage => ({
  id: SOURCE,
  isActive: true,
  memberStatus: null,
  minDiskGib: 20,
  minRamMib: 512,
  disk: { part: 'content', virtualSizeBytes: 10 * GIB, isDerived: true },
  lineage: { parentImageId: SOURCE, publicPlatform: 'Ubuntu', productCode: null },
  attributes: {
    virtual_env_type: 'FusionCompute',
    __os_type: 'Linux',
    __root_origin: 'file',
    __data_origin: 'file,images:a.qcow2',
    'owner_specified.openstack.md5': 'abc',
    __description: 'the source',
    ...attributes,
  },
  ...more,
});
const decide = (image: CopyableImage | undefined, request: CopyImageRequest = { name: 'a copy' }, used = 0) =>
  decideCopyImage(
    { image, imageQuota: { limit: 5, used, reserved: 0 } },
    {
      projectId: projectId('a'.repeat(32)),
      jobId: jobId('b'.repeat(32)),
      imageId: imageId(COPY),
      region: 'region-1',
      request,
    },
  );
const codeOf = (act: () => unknown): string | undefined => {
  try {
    act();
    return undefined;
  } catch (error) {
    if (error instanceof ImsError) return error.code;
    throw error;
  }
};

describe(decideCopyImage, () => {
  it('accepts a copy under a key, with what the source is but for what is its own (REP-01, REP-02, ENC-01)', () => {
    const { events, input } = decide(anImage(), { name: 'a copy', description: 'mine', cmk_id: 'key-1' });
    for (const event of events) EVENTS[event.type].parse(event.data);
    expect(imageCopyInput.parse(input)).toEqual(input);
    expect(input).toMatchObject({ sourceImageId: SOURCE, part: 'content', imageId: COPY, cmkId: 'key-1' });
    expect(events.map(({ type }) => type)).toEqual(['job.accepted', 'image.queued', 'quota.reserved']);
    expect(events[0]?.data).toMatchObject({ jobType: 'imsCopyImageInRegionJob', imageId: COPY });
    expect(events[1]?.data).toEqual({
      name: 'a copy',
      diskFormat: 'zvhd2',
      minDiskGib: 20,
      minRamMib: 512,
      tags: [],
      attributes: {
        virtual_env_type: 'FusionCompute',
        enterprise_project_id: '0',
        __os_type: 'Linux',
        __root_origin: 'file',
        __description: 'mine',
        __data_origin: `image,region-1,${SOURCE}`,
        __originalimagename: SOURCE,
        __lazyloading: 'true',
        __system__encrypted: '1',
        __system__cmkid: 'key-1',
      },
      lineage: { parentImageId: SOURCE, publicPlatform: 'Ubuntu', productCode: null },
    });
  });

  it('takes the encryption away where no key is named (REP-01)', () => {
    const source = anImage({ attributes: { __system__encrypted: '1', __system__cmkid: 'key-1' } });
    for (const cmk_id of [undefined, null, '']) {
      const { events, input } = decide(source, { name: 'a copy', ...(cmk_id === undefined ? {} : { cmk_id }) });
      expect(input).not.toHaveProperty('cmkId');
      expect(JSON.stringify(events[1]?.data)).not.toContain('__system__');
    }
  });

  it('makes the disk in a file readable first', () => {
    const { input, events } = decide(anImage({ disk: { part: 'disk', virtualSizeBytes: GIB, isDerived: false } }));
    expect(input).toMatchObject({ part: 'disk', derive: [SOURCE] });
    expect(events[0]?.data).toMatchObject({ steps: expect.arrayContaining(['derive-disk', 'copy-disk']) as unknown });
  });

  it.each<[string, string, Partial<CopyableImage>, Partial<CopyImageRequest>]>([
    ['IMG.0046', 'an image that is not active (REP-07)', { isActive: false }, {}],
    ['IMG.0046', 'an image without bytes', { disk: undefined }, {}],
    ['IMG.0130', 'an image of a whole server (REP-08, CRE-19, CRE-21)', { attributes: { __whole_image: 'true' } }, {}],
    ['IMG.0167', 'an ISO image (REP-08, CRE-12)', { attributes: { virtual_env_type: 'IsoImage' } }, {}],
    ['IMG.0118', 'a BMS image under a key', { attributes: { virtual_env_type: 'Ironic' } }, { cmk_id: 'k' }],
    ['IMG.0096', 'an image under the key it has (REP-01)', { attributes: { __system__cmkid: 'k' } }, { cmk_id: 'k' }],
    ['IMG.0013', 'a copy without a name', {}, { name: undefined }],
    ['IMG.0155', 'an enterprise project that is none', {}, { enterprise_project_id: 'x' }],
  ])('refuses with %s %s', (code, _what, image, request) => {
    expect(codeOf(() => decide(anImage(image), { name: 'a copy', ...request }))).toBe(code);
  });

  it('refuses what is unknown, too large (REP-04) or too much', () => {
    expect(codeOf(() => decide(undefined))).toBe('IMG.0144');
    const sized = (virtualSizeBytes: number) =>
      anImage({ disk: { part: 'content', virtualSizeBytes, isDerived: true } });
    expect(codeOf(() => decide(sized(128 * GIB)))).toBeUndefined();
    expect(codeOf(() => decide(sized(128 * GIB + 512)))).toBe('IMG.0059');
    expect(codeOf(() => decide(anImage(), { name: 'a copy' }, 5))).toBe('IMG.0015');
  });
});
