import { type CreateServersRequest, ImsError, jobId, projectId } from '@ims/contract';
import { decideCreateServers } from './server-create.decider';
import { aDataImage, anImage, IMAGE_ID } from './servers.spec-support';
import type { UsableImage } from './image-use.rules';

const GIB = 2 ** 30;
const JOB = jobId('a'.repeat(32));

const decide = (
  server: Partial<CreateServersRequest['server']> = {},
  image: UsableImage | null = anImage(),
  kind: 'ecs' | 'bms' = 'ecs',
) => {
  const data = aDataImage();
  return decideCreateServers(
    { image: image ?? undefined, dataImages: new Map([[data.id, data]]) },
    {
      projectId: projectId('b'.repeat(32)),
      jobId: JOB,
      kind,
      request: {
        server: {
          name: 'web',
          imageRef: IMAGE_ID,
          flavorRef: kind === 'ecs' ? 's6.large.2' : 'physical.s4.medium',
          ...server,
        },
      },
      idOf: (name) => `id of ${name}`,
      region: 'region-1',
      now: new Date('2026-11-24T00:00:00Z'),
    },
  );
};
const refusal = (...of: Parameters<typeof decide>): string => {
  try {
    decide(...of);
  } catch (error) {
    if (error instanceof ImsError) return `${error.code} ${error.detail ?? ''}`;
    throw error;
  }
  return 'accepted';
};

describe(decideCreateServers.name, () => {
  it('plans one server whose system disk reads from the image (IMG-09)', () => {
    const { events, input } = decide();
    expect(events).toMatchObject([
      {
        type: 'job.accepted',
        data: {
          jobType: 'createServer',
          saga: 'server-create',
          imageId: null,
          steps: ['check-image', 'create-volumes', 'create-servers', 'start', 'release-image'],
        },
      },
    ]);
    expect(input).toMatchObject({
      flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86' },
      images: [{ imageId: IMAGE_ID, parts: ['content'] }],
      metadata: { 'metering.image_id': IMAGE_ID, os_bit: '64', charging_mode: '0' },
      servers: [
        {
          id: 'id of server:0',
          name: 'web',
          volumes: [
            {
              id: 'id of server:0:root',
              sizeGib: 10,
              use: 'system',
              bootIndex: 0,
              deleteOnTermination: true,
              origin: { from: 'image', imageId: IMAGE_ID, part: 'content', role: 'system' },
            },
          ],
        },
      ],
    });
  });

  it('gives each of several servers a name and ids of its own (SCN-03)', () => {
    const { servers } = decide({ count: 10 }).input;
    expect(servers[9]).toMatchObject({ name: 'web-0010', id: 'id of server:9' });
    expect(new Set(servers.flatMap(({ id, volumes }) => [id, ...volumes.map((each) => each.id)])).size).toBe(20);
  });

  it('gives an installation medium a blank system disk beside it (IMG-11, CRE-11)', () => {
    const iso = anImage({
      virtualEnvType: 'IsoImage',
      disk: { part: 'content', virtualSizeBytes: 700 * 2 ** 20, isDerived: true },
    });
    const { input } = decide({ root_volume: { size: 20 } }, iso);
    expect(input.servers[0]?.volumes).toMatchObject([
      { origin: { from: 'blank' }, bootIndex: 0, sizeGib: 20, use: 'system' },
      { origin: { from: 'image' }, bootIndex: 1, sizeGib: 1, device: '/dev/sr0' },
    ]);
    expect(input.metadata.virtual_env_type).toBe('IsoImage');
  });

  it('derives the disk in a file first, where nobody has (CRE-09)', () => {
    const file = anImage({ disk: { part: 'disk', virtualSizeBytes: 1, isDerived: false } });
    const { input, events } = decide({}, file);
    expect(input.derive).toEqual([IMAGE_ID]);
    expect(input.images).toEqual([{ imageId: IMAGE_ID, parts: ['disk'] }]);
    expect(events[0]).toMatchObject({ data: { steps: expect.arrayContaining(['derive-disk', 'check-image']) } });
    expect(decide().input).not.toHaveProperty('derive');
  });

  it('brings every disk of an image of a whole server back (IMG-08)', () => {
    const whole = anImage({
      dataDisks: [
        { device: '/dev/vdb', part: 'data:/dev/vdb', virtualSizeBytes: 10 * GIB },
        { device: '/dev/vdc', part: 'data:/dev/vdc', virtualSizeBytes: 30 * GIB },
      ],
    });
    const { input } = decide({ data_volumes: [{ size: 40, extendparam: { snapshotId: 's' } }, { size: 11 }] }, whole);
    expect(input.servers[0]?.volumes.slice(1)).toMatchObject([
      { device: '/dev/vdb', sizeGib: 40, origin: { part: 'data:/dev/vdb', role: 'data' } },
      { device: '/dev/vdc', sizeGib: 30, origin: { part: 'data:/dev/vdc', role: 'data' } },
      { sizeGib: 11, origin: { from: 'blank' } },
    ]);
    expect(input.images).toEqual([{ imageId: IMAGE_ID, parts: ['content', 'data:/dev/vdb', 'data:/dev/vdc'] }]);
  });

  it('carries the product code of a marketplace image (SCN-02)', () => {
    expect(decide({}, anImage({ productCode: 'pc-1' })).input.metadata.__productcode).toBe('pc-1');
  });

  it('warns of ended support and of what no table has, and makes the server (OS-01, OS-12, CRE-33)', () => {
    const ended = decide({}, anImage({ osVersion: 'CentOS 7.6 64bit' }));
    expect(ended.warnings).toEqual([expect.stringContaining('support of CentOS 7 has ended (2024-06-30)')]);
    expect(ended.events).toMatchObject([{ data: { warnings: ended.warnings } }]);
    const unknown = decide({ flavorRef: 'p2v.large.2' }, anImage({ osVersion: 'Other_Linux (64_bit)' }));
    expect(unknown.warnings).toEqual(['no table says whether Other_Linux (64_bit) runs on series P2V']);
    const fine = decide({}, anImage({ osVersion: 'Rocky Linux 8.5 64bit' }));
    expect(fine.warnings).toEqual([]);
    expect(fine.events[0]?.data).not.toHaveProperty('warnings');
    expect(decide({}, anImage({ osVersion: undefined })).warnings).toEqual([]);
  });

  it('takes a data disk image for a data disk, one server at a time (CRE-07, IMG-10)', () => {
    const data_volumes = [{ size: 40, data_image_id: aDataImage().id }];
    expect(decide({ data_volumes }).input.servers[0]?.volumes[1]).toMatchObject({
      use: 'data',
      origin: { from: 'image', role: 'data', imageId: aDataImage().id },
    });
    expect(refusal({ data_volumes, count: 2 })).toMatch('only one disk at a time');
  });

  it('asks for a boot check with the text that must be seen, as an own step', () => {
    const { input, events } = decide({ metadata: { __boot_check: 'ready' } });
    expect(input.bootCheck).toEqual({ expect: 'ready' });
    expect(input.metadata).not.toHaveProperty('__boot_check');
    expect(events[0]).toMatchObject({ data: { steps: expect.arrayContaining(['boot-check']) } });
  });

  const boundaries: [string, Partial<CreateServersRequest['server']>, UsableImage | null, RegExp][] = [
    ['CRE-26, CRE-27', { flavorRef: 'kc1.large.2' }, anImage(), /is for x86 and flavour kc1.large.2 is arm/],
    ['CRE-27', {}, anImage({ architecture: 'arm' }), /is for arm/],
    ['CRE-28: above 4 GB', { flavorRef: 's6.large.4' }, anImage({ osBit: '32' }), /32-bit/],
    ['CRE-28: 4 GB', { flavorRef: 's6.large.2' }, anImage({ osBit: '32' }), /accepted/],
    [
      'OS-10: Debian 9 on I3',
      { flavorRef: 'i3.large.2' },
      anImage({ osVersion: 'Debian GNU/Linux 9.0.0 64bit' }),
      /accepted/,
    ],
    [
      'OS-10: and on IR3',
      { flavorRef: 'ir3.large.2' },
      anImage({ osVersion: 'Debian GNU/Linux 9.0.0 64bit' }),
      /not offered/,
    ],
    ['OS-11: CentOS 8.1 on I7', { flavorRef: 'i7.large.2' }, anImage({ osVersion: 'CentOS 8.1 64bit' }), /accepted/],
    ['OS-11: anything else', { flavorRef: 'i7.large.2' }, anImage(), /is not offered on series I7 \(i7.large.2\)/],
    ['OS-12: GPU', { flavorRef: 'p2v.large.2' }, anImage({ osVersion: 'CentOS 8.4 64bit' }), /accepted/],
    [
      'CRE-32: an unknown system',
      { flavorRef: 'i7.large.2' },
      anImage({ osVersion: 'Other_Linux (64_bit)' }),
      /accepted/,
    ],
    ['IMG-10', {}, aDataImage({ id: IMAGE_ID }), /makes disks, not servers/],
    ['a BMS image', {}, anImage({ virtualEnvType: 'Ironic' }), /is for BMSs/],
    ['max_ram', { flavorRef: 's6.large.8' }, anImage({ maxRamMib: 8192 }), /at most/],
    ['min_ram', { flavorRef: 's6.small.1' }, anImage({ minRamMib: 2048 }), /needs 2048 MB/],
    ['a small system disk', { root_volume: { size: 9 } }, anImage(), /system disk of 10 GB/],
    ['a large system disk', { root_volume: { size: 1025 } }, anImage(), /1 to 1024 GB/],
    ['the largest system disk', { root_volume: { size: 1024 } }, anImage(), /accepted/],
    ['a small data disk', { data_volumes: [{ size: 9 }] }, anImage(), /10 to 32768 GB/],
    [
      'a small disk for a data image',
      { data_volumes: [{ size: 39, data_image_id: aDataImage().id }] },
      anImage(),
      /40 to/,
    ],
    ['no image (IMG-19)', {}, null, /no active image/],
    ['an image still being made', {}, anImage({ isActive: false }), /no active image/],
    [
      'an encrypted image, whose bytes would lie in the open (ENC-01)',
      {},
      anImage({ isEncrypted: true }),
      /is encrypted/,
    ],
    ['an image without bytes', {}, anImage({ disk: undefined }), /has no bytes/],
    ['eleven servers', { count: 11 }, anImage(), /1 to 10/],
    ['no server', { count: 0 }, anImage(), /1 to 10/],
    ['an unknown flavour', { flavorRef: 'nope' }, anImage(), /no flavour/],
    ['bare metal as an ECS', { flavorRef: 'physical.s4.medium' }, anImage(), /no flavour/],
    ['a name with blanks', { name: 'a b' }, anImage(), /a name has/],
    ['a prepaid server', { extendparam: { chargingMode: 'prePaid' } }, anImage(), /pay-per-use/],
    ['an encrypted disk', { root_volume: { metadata: { __system__encrypted: '1' } } }, anImage(), /encrypted/],
  ];
  it.each(boundaries)('%s', (_, server, image, expected) => {
    const answer = refusal(server, image);
    expect(answer).toMatch(expected);
    if (answer !== 'accepted') expect(answer).toMatch(/^Ecs\.0000/);
  });

  it('makes bare metal of BMS images alone, on system disks of 40 GB or more (backends E6)', () => {
    expect(refusal({}, anImage(), 'bms')).toMatch('is for ECSs');
    const ironic = anImage({ virtualEnvType: 'Ironic' });
    expect(decide({}, ironic, 'bms').input).toMatchObject({ kind: 'bms', servers: [{ volumes: [{ sizeGib: 40 }] }] });
    expect(refusal({ root_volume: { size: 39 } }, ironic, 'bms')).toMatch('40 to 1024 GB');
    expect(refusal({ root_volume: { volumetype: 'ESSD', size: 40 } }, ironic, 'bms')).toMatch('disk type');
  });
});
