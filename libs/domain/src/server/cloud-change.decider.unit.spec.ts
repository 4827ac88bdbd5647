import { ImsError, jobId, projectId } from '@ims/contract';
import { type ChangeableServer, decideChangeOs, decideDeleteVolume, decideServersChange } from './cloud-change.decider';
import type { UsableImage } from './image-use.rules';
import { aDataImage, anImage, IMAGE_ID } from './servers.spec-support';

const ids = { projectId: projectId('b'.repeat(32)), jobId: jobId('a'.repeat(32)), request: {} };

const aServer = (changes: Partial<ChangeableServer> = {}): ChangeableServer => ({
  id: 'server-1',
  kind: 'ecs',
  status: 'SHUTOFF',
  isBusy: false,
  isFrozen: false,
  flavor: { id: 's6.large.2', architecture: 'x86', ramMib: 4096 },
  rootSizeGib: 20,
  imageId: IMAGE_ID,
  ...changes,
});

const codeOf = (decide: () => unknown): string => {
  try {
    decide();
  } catch (error) {
    if (error instanceof ImsError) return `${error.code} ${error.detail ?? ''}`;
    throw error;
  }
  return 'accepted';
};

const changeOs = (server: ChangeableServer, image: UsableImage | undefined = anImage(), mode?: string) =>
  decideChangeOs(server, image, {
    ...ids,
    jobType: 'changeServerOs',
    imageId: IMAGE_ID,
    mode,
    idOf: (name) => `id of ${name}`,
    region: 'region-1',
  });

describe(decideServersChange.name, () => {
  it.each([
    ['start-servers', 'startServer'],
    ['stop-servers', 'stopServer'],
    ['delete-servers', 'deleteServer'],
  ] as const)('%s is one step of one job', (kind, jobType) => {
    const { events, input } = decideServersChange(kind, [aServer(), aServer()], ids);
    expect(events).toMatchObject([{ data: { jobType, saga: 'cloud-change', steps: ['change'] } }]);
    // Named twice is meant once.
    expect(input.change).toMatchObject({ kind, serverIds: ['server-1'] });
  });

  it.each([
    ['none', 'stop-servers', []],
    ['a busy one', 'stop-servers', [aServer({ isBusy: true })]],
    ['a frozen one that is to start (CRE-25)', 'start-servers', [aServer({ isFrozen: true })]],
  ] as const)('refuses %s', (_, kind, servers) =>
    expect(codeOf(() => decideServersChange(kind, servers, ids))).toMatch(/^Ecs\.0000/),
  );
  it('stops a frozen server', () =>
    expect(codeOf(() => decideServersChange('stop-servers', [aServer({ isFrozen: true })], ids))).toBe('accepted'));
});

describe(decideChangeOs.name, () => {
  it('plans a new system disk of the size of the old one (CRE-09, SCN-04)', () => {
    const { input, events } = changeOs(aServer());
    expect(events).toMatchObject([{ data: { steps: ['check-image', 'change'] } }]);
    expect(input).toMatchObject({
      change: { kind: 'change-os', rootVolume: { id: 'id of root', sizeGib: 20 }, stopFirst: false },
      images: [{ imageId: IMAGE_ID, parts: ['content'] }],
    });
    expect(changeOs(aServer({ rootSizeGib: 5 })).input.change).toMatchObject({ rootVolume: { sizeGib: 10 } });
  });

  it.each([
    ['a running server', aServer({ status: 'ACTIVE' }), anImage(), undefined, /stop it first/],
    ['a running server that may be stopped', aServer({ status: 'ACTIVE' }), anImage(), 'withStopServer', /accepted/],
    ['a paused server', aServer({ status: 'PAUSED' }), anImage(), 'withStopServer', /stop it first/],
    ['another mode', aServer(), anImage(), 'gently', /mode/],
    [
      'a system that the series has not (OS-14)',
      aServer({ flavor: { id: 'ki1.large.2', architecture: 'arm', ramMib: 4096, series: 'kI1' } }),
      anImage({ architecture: 'arm', osVersion: 'CentOS 7.5 64bit' }),
      undefined,
      /CentOS 7.5 64bit is not offered on series kI1/,
    ],
    [
      'a system that the series has (OS-14)',
      aServer({ flavor: { id: 'ki1.large.2', architecture: 'arm', ramMib: 4096, series: 'kI1' } }),
      anImage({ architecture: 'arm', osVersion: 'CentOS 7.6 64bit' }),
      undefined,
      /accepted/,
    ],
    ['a busy server', aServer({ isBusy: true }), anImage(), undefined, /busy/],
    ['a frozen server (CRE-25)', aServer({ isFrozen: true }), anImage(), undefined, /frozen/],
    [
      'a Kunpeng server (CRE-26)',
      aServer({ flavor: { id: 'kc1.large.2', architecture: 'arm', ramMib: 4096 } }),
      anImage(),
      undefined,
      /is arm/,
    ],
    [
      'a 32-bit system above 4 GB (CRE-28)',
      aServer({ flavor: { id: 's6.large.4', architecture: 'x86', ramMib: 8192 } }),
      anImage({ osBit: '32' }),
      undefined,
      /32-bit/,
    ],
    ['a data disk image (IMG-10)', aServer(), aDataImage(), undefined, /makes disks/],
    ['an ISO image (IMG-11)', aServer(), anImage({ virtualEnvType: 'IsoImage' }), undefined, /installation medium/],
    ['an image that is gone', aServer(), anImage({ isActive: false }), undefined, /no active image/],
    ['a server without a system disk', aServer({ rootSizeGib: undefined }), anImage(), undefined, /no system disk/],
  ] as const)('%s', (_, server, image, mode, expected) =>
    expect(codeOf(() => changeOs(server, image, mode))).toMatch(expected),
  );
});

describe(decideDeleteVolume.name, () => {
  it('deletes a disk that no server has', () =>
    expect(decideDeleteVolume({ id: 'v', name: '', isAttached: false }, 'v', ids).input.change).toEqual({
      kind: 'delete-volume',
      volumeId: 'v',
    }));
  it.each([
    ['an unknown one', undefined, /^EVS\.1002/],
    ['an attached one', { id: 'v', name: '', isAttached: true }, /^EVS\.2024/],
  ] as const)('refuses %s', (_, volume, expected) =>
    expect(codeOf(() => decideDeleteVolume(volume, 'v', ids))).toMatch(expected),
  );
});
