import { imageId, jobId, projectId } from '@ims/contract';
import { decideReceiveImage, targetProjectOf } from './image-receive.decider';
import { decideReplicateImage, type ReplicableImage, type ReplicateImageState } from './image-replicate.decider';

const GIB = 2 ** 30;
const PROJECT = projectId('a'.repeat(32));
const IMAGE: ReplicableImage = {
  id: '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c',
  isActive: true,
  memberStatus: null,
  revokeReason: null,
  imageType: 'private',
  attributes: { virtual_env_type: 'FusionCompute' },
  virtualSizeBytes: 40 * GIB,
  backup: null,
};

interface Changes {
  image?: Partial<ReplicableImage>;
  state?: Partial<ReplicateImageState>;
  region?: string;
  request?: Record<string, string>;
}
const decide = ({ image, state, region = 'eu-west-0', request }: Changes = {}) =>
  decideReplicateImage(
    {
      image: { ...IMAGE, ...image },
      regions: ['eu-west-101'],
      agencies: [{ name: 'ims_copy_agency', regions: ['*'] }],
      running: { ofTenant: 0, ofImage: 0 },
      ...state,
    },
    {
      projectId: PROJECT,
      jobId: jobId('b'.repeat(32)),
      replicaId: imageId('0a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c'),
      region,
      accountName: 'acme',
      request: { name: 'dr-copy', region: 'eu-west-101', agency_name: 'ims_copy_agency', ...request },
    },
  );
const codeOf = (changes: Changes): string | undefined => {
  try {
    decide(changes);
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
};

describe(decideReplicateImage.name, () => {
  it('sends no vault along with an image that has no backup to put there (BIL-11)', () => {
    expect(decide({ request: { vault_id: 'vault' } }).input.target).not.toHaveProperty('vaultId');
  });

  it('accepts a job that is polled where the image is (ims-api 7.2)', () => {
    const { events, input } = decide({ request: { project_name: 'eu-west-101', description: 'dr' } });
    expect(events).toMatchObject([
      { type: 'job.accepted', data: { jobType: 'imsCrossRegionCopyImageJob', saga: 'image-replicate' } },
    ]);
    expect(input).toMatchObject({
      sourceImageId: IMAGE.id,
      replica: { name: 'dr-copy', description: 'dr' },
      target: { region: 'eu-west-101', projectName: 'eu-west-101', accountName: 'acme' },
    });
  });

  it('takes 128 GB from everywhere and 300 GB from the four large regions (REP-04, REP-05)', () => {
    const of = (gib: number, region: string) => codeOf({ image: { virtualSizeBytes: gib * GIB }, region });
    expect(of(128, 'eu-west-0')).toBeUndefined();
    expect(of(129, 'eu-west-0')).toBe('IMG.0146');
    for (const region of ['cn-south-1', 'cn-east-3', 'cn-east-2', 'cn-north-4']) {
      expect(of(300, region)).toBeUndefined();
      expect(of(301, region)).toBe('IMG.0146');
    }
  });

  it.each<[string, Changes]>([
    ['IMG.0157', { image: { imageType: 'gold' } }],
    ['IMG.0157', { image: { imageType: 'market' } }],
    ['IMG.0143', { image: { attributes: { __system__encrypted: '1' } } }],
    ['IMG.0149', { state: { running: { ofTenant: 5, ofImage: 0 } } }],
    ['IMG.0149', { state: { running: { ofTenant: 1, ofImage: 1 } } }],
    ['IMG.0189', { image: { attributes: { __whole_image: 'true' } } }],
    [
      'IMG.0190',
      {
        image: { attributes: { __whole_image: 'true' }, backup: { line: 'CSBS', isComplete: true } },
        request: { vault_id: 'v' },
      },
    ],
    [
      'IMG.0152',
      {
        image: { attributes: { __whole_image: 'true' }, backup: { line: 'CBR', isComplete: false } },
        request: { vault_id: 'v' },
      },
    ],
  ])('refuses with %s: %j (REP-06, REP-09, REP-10, REP-11)', (code, changes) => {
    expect(codeOf(changes)).toBe(code);
  });

  it.each([
    ['eu-west-101', undefined],
    ['eu-west-0', 'IMG.0142'],
    ['eu-west-102', 'IMG.0147'],
    ['', 'IMG.0147'],
  ])('goes to another region that is known: %j (REP-12)', (region, code) => {
    expect(codeOf({ request: { region } })).toBe(code);
  });

  it('both readings of one copy at a time are settings (REP-09)', () => {
    const running = { ofTenant: 6, ofImage: 1 };
    expect(codeOf({ state: { running, limits: { perTenant: 7, isOnePerImage: false } } })).toBeUndefined();
  });
});

describe(targetProjectOf.name, () => {
  const projects = [
    { id: '1', name: 'eu' },
    { id: '2', name: 'eu_dev' },
  ];
  it('is the named one, else the one of the region’s name, else the only one (ims-api 7.2)', () => {
    expect(targetProjectOf(projects, 'eu_dev', 'eu')).toBe('2');
    expect(targetProjectOf(projects, undefined, 'eu')).toBe('1');
    expect(targetProjectOf(projects.slice(1), undefined, 'eu')).toBe('2');
  });
  it('refuses a wrong name with IMG.0145 and asks for one with IMG.0104', () => {
    expect(() => targetProjectOf(projects, 'nowhere', 'eu')).toThrow(expect.objectContaining({ code: 'IMG.0145' }));
    expect(() => targetProjectOf([], undefined, 'eu')).toThrow(expect.objectContaining({ code: 'IMG.0145' }));
    const others = [...projects.slice(1), { id: '3', name: 'eu_test' }];
    expect(() => targetProjectOf(others, undefined, 'eu')).toThrow(expect.objectContaining({ code: 'IMG.0104' }));
  });
});

describe(decideReceiveImage.name, () => {
  it('queues an image that names where it came from, and inherits what its line passes on (ims-api 2.3, EXP-09, BIL-08)', () => {
    const { events } = decideReceiveImage(
      { imageQuota: { limit: 1, used: 0, reserved: 0 }, vault: undefined, hasReplicaOfBackup: false },
      {
        projectId: PROJECT,
        jobId: jobId('c'.repeat(32)),
        from: 'eu-west-0',
        offer: {
          epoch: 1,
          jobId: 'b'.repeat(32),
          accountName: 'acme',
          agencyName: 'ims_copy_agency',
          sourceImageId: IMAGE.id,
          image: {
            imageId: '0a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c',
            name: 'replica',
            diskFormat: 'zvhd2',
            minDiskGib: 40,
            minRamMib: 0,
            tags: [],
            attributes: { __os_type: 'Linux', __data_origin: 'file,a:b', __backup_id: 'backup-of-there' },
          },
          ancestors: [],
          lineage: { publicPlatform: 'Ubuntu', productCode: 'p-1' },
          disks: [],
        },
      },
    );
    expect(events.find(({ type }) => type === 'image.queued')?.data).toMatchObject({
      attributes: {
        __os_type: 'Linux',
        __data_origin: `image,eu-west-0,${IMAGE.id}`,
        __originalimagename: IMAGE.id,
      },
      lineage: { parentImageId: null, publicPlatform: 'Ubuntu', productCode: 'p-1' },
    });
    expect(JSON.stringify(events)).not.toContain('backup-of-there');
  });
});
