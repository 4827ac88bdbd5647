import { findFlavor } from './flavor';

describe(findFlavor.name, () => {
  it.each([
    ['s6.small.1', { vcpus: 1, ramMib: 1024, architecture: 'x86', kind: 'ecs' }],
    ['s6.large.2', { vcpus: 2, ramMib: 4096, architecture: 'x86', kind: 'ecs' }],
    ['c7.16xlarge.4', { vcpus: 64, ramMib: 262_144, architecture: 'x86', series: 'C7' }],
    ['kc1.large.2', { vcpus: 2, ramMib: 4096, architecture: 'arm', series: 'kC1' }],
    ['physical.s4.medium', { vcpus: 16, ramMib: 65_536, architecture: 'x86', kind: 'bms' }],
    ['physical.ks1.large', { architecture: 'arm', kind: 'bms' }],
  ] as const)('%s', (id, flavor) => expect(findFlavor(id)).toMatchObject({ id, ...flavor }));

  it.each([
    '',
    's6',
    's6.large',
    's6.large.3',
    'z9.large.2',
    's6.1xlarge.2',
    's6.33xlarge.2',
    's6.large.2.1',
    'physical.s4.constructor',
  ])('none by the name %j', (id) => expect(findFlavor(id)).toBeUndefined());
});
