import { type CreateVolumeRequest, ImsError, jobId, projectId } from '@ims/contract';
import type { UsableImage } from './image-use.rules';
import { aDataImage, anImage } from './servers.spec-support';
import { decideCreateVolumes } from './volume-create.decider';

const decide = (
  volume: CreateVolumeRequest['volume'],
  image?: UsableImage,
  source?: { sizeGib: number; bootable: boolean },
) =>
  decideCreateVolumes(
    { image, source },
    {
      projectId: projectId('b'.repeat(32)),
      jobId: jobId('a'.repeat(32)),
      request: { volume },
      idOf: (name) => `id of ${name}`,
    },
  );
const refusal = (...of: Parameters<typeof decide>): string => {
  try {
    decide(...of);
  } catch (error) {
    if (error instanceof ImsError) return `${error.code} ${error.detail ?? ''}`;
    throw error;
  }
  return 'accepted';
};
const data = aDataImage();
const system = anImage();

describe(decideCreateVolumes.name, () => {
  it('plans a data disk from a data disk image, of the size the image needs (IMG-10)', () => {
    expect(decide({ imageRef: data.id }, data).input).toMatchObject({
      images: [{ imageId: data.id, parts: ['content'] }],
      volumes: [{ id: 'id of volume:0', sizeGib: 40, use: 'data', origin: { from: 'image', role: 'data' } }],
    });
  });

  it('refuses a name that is too long once the disks are numbered (backends E5)', () => {
    const name = 'n'.repeat(255);
    expect(decide({ imageRef: system.id, name }, system).input.volumes[0]?.name).toBe(name);
    expect(refusal({ imageRef: system.id, name, count: 2 }, system)).toMatch(/^EVS.1009 .*250/);
  });

  it('plans system disks, several at once', () => {
    const { volumes } = decide({ imageRef: system.id, count: 3, name: 'root' }, system).input;
    expect(volumes.map(({ name, use, sizeGib }) => [name, use, sizeGib])).toEqual([
      ['root-0001', 'system', 10],
      ['root-0002', 'system', 10],
      ['root-0003', 'system', 10],
    ]);
  });

  it('plans blank disks, and disks from snapshots', () => {
    expect(decide({ size: 10 }).input).toMatchObject({
      images: [],
      volumes: [{ origin: { from: 'blank' }, use: 'data' }],
    });
    expect(decide({ snapshot_id: 's' }, undefined, { sizeGib: 12, bootable: true }).input.volumes).toMatchObject([
      { sizeGib: 12, use: 'system', origin: { from: 'snapshot', snapshotId: 's' } },
    ]);
  });

  it.each([
    [
      'two disks from a data disk image (CRE-07)',
      { imageRef: data.id, count: 2 },
      data,
      /EVS.1009 .*one disk at a time/,
    ],
    ['one disk from a data disk image (CRE-07)', { imageRef: data.id, count: 1 }, data, /accepted/],
    ['an unknown image', { imageRef: 'x' }, undefined, /EVS.1009 there is no active image/],
    ['a BMS image', { imageRef: system.id }, anImage({ virtualEnvType: 'Ironic' }), /BMS image/],
    ['an ISO image', { imageRef: system.id }, anImage({ virtualEnvType: 'IsoImage' }), /installation medium/],
    ['below the image', { imageRef: data.id, size: 39 }, data, /EVS.1010 size must be 40 to 32768/],
    ['above a system disk', { imageRef: system.id, size: 1025 }, system, /EVS.1010 size must be 10 to 1024/],
    ['a blank disk without a size', {}, undefined, /EVS.1010/],
    ['a blank disk of 9 GB', { size: 9 }, undefined, /EVS.1010/],
    ['two sources', { imageRef: system.id, snapshot_id: 's' }, system, /one of/],
    ['an unknown snapshot', { snapshot_id: 's', size: 10 }, undefined, /no such snapshot/],
    ['a backup', { backup_id: 'b', size: 10 }, undefined, /not made by this call/],
    ['101 disks', { size: 10, count: 101 }, undefined, /1 to 100/],
    ['an unknown type', { size: 10, volume_type: 'TAPE' }, undefined, /disk type/],
    ['an encrypted disk', { size: 10, metadata: { __system__encrypted: '1' } }, undefined, /encrypted/],
  ] as const)('%s', (_, volume, image, expected) => expect(refusal(volume, image)).toMatch(expected));
});
