import { updateImageRequest } from '@ims/contract';
import { pair, patchOf, tagIn } from './image-changes';
import { queryOf } from './image-list';

const NOTHING = { set: [], unset: [] };

describe(patchOf.name, () => {
  it('sets what is given and nothing else (MGT-01)', () => {
    expect(patchOf(NOTHING)).toEqual([]);
    const patch = patchOf({
      ...NOTHING,
      name: 'web',
      minRam: '1024',
      multiQueue: 'off',
      srIov: 'on',
      protect: 'on',
      set: ['a/b=c=d'],
      unset: ['~old'],
    });
    expect(patch).toEqual([
      { op: 'add', path: '/name', value: 'web' },
      { op: 'add', path: '/min_ram', value: '1024' },
      { op: 'add', path: '/hw_vif_multiqueue_enabled', value: 'false' },
      { op: 'add', path: '/protected', value: 'true' },
      { op: 'add', path: '/__support_kvm_hi1822_hisriov', value: 'true' },
      { op: 'add', path: '/a~1b', value: 'c=d' },
      { op: 'remove', path: '/~0old', value: '' },
    ]);
    expect(updateImageRequest.parse(patch)).toEqual(patch);
  });

  it('takes away what cannot be off', () => {
    expect(patchOf({ ...NOTHING, srIov: 'off' })).toEqual([
      { op: 'remove', path: '/__support_kvm_hi1822_hisriov', value: '' },
    ]);
  });
});

describe(tagIn.name, () => {
  it.each([
    ['env=prod', { key: 'env', value: 'prod' }],
    ['env=a=b', { key: 'env', value: 'a=b' }],
    ['env', { key: 'env', value: '' }],
    ['env=', { key: 'env', value: '' }],
  ])('reads %s', (text, tag) => {
    expect(tagIn(text)).toEqual(tag);
  });
});

describe(pair.name, () => {
  it('collects pairs and refuses what is none', () => {
    expect(pair('a=1', ['b=2'])).toEqual(['b=2', 'a=1']);
    for (const text of ['a', '=1', '']) expect(() => pair(text)).toThrow('It must be key=value.');
  });
});

describe(queryOf.name, () => {
  it('asks for what the options say (ims-api 4.1)', () => {
    expect(queryOf({ public: false, hidden: false, tag: [] }).toString()).toBe('');
    expect(queryOf({ public: true, hidden: true, tag: ['a=b', 'c'], name: 'x y', osType: 'Linux' }).toString()).toBe(
      '__imagetype=gold&visibility=public&name=x+y&__os_type=Linux&os_hidden=true&tag=a%3Db&tag=c',
    );
  });
});
