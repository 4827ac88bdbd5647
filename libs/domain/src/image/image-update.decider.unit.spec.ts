import {
  EVENTS,
  type EventData,
  type ImageFields,
  imageId,
  type ImagePatchOperation,
  projectId,
  updateImageRequest,
} from '@ims/contract';
import fc from 'fast-check';
import { decideUpdateImage, movesEnterpriseProject, type UpdatableImage } from './image-update.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const OTHER = projectId('f'.repeat(32));
const GIB = 1024 ** 3;

const anImage = (changes: Partial<UpdatableImage> = {}): UpdatableImage => ({
  id: imageId('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c'),
  projectId: PROJECT,
  imageType: 'private',
  status: 'active',
  name: 'web',
  diskFormat: 'zvhd2',
  minDiskGib: 40,
  minRamMib: 1024,
  protected: false,
  hidden: false,
  tags: ['env=prod', 'web'],
  attributes: {
    virtual_env_type: 'FusionCompute',
    enterprise_project_id: '0',
    __os_version: 'CentOS 7.6 64bit',
    __os_bit: '64',
    __support_kvm: 'true',
    __description: 'a base',
    own: 'x',
  },
  virtualSizeBytes: 40 * GIB,
  ...changes,
});
const bit32 = { attributes: { ...anImage().attributes, __os_version: 'CentOS 6.9 32bit', __os_bit: '32' } };
const dataDisk = { attributes: { virtual_env_type: 'DataImage' }, minDiskGib: 100 };
const iso = { attributes: { virtual_env_type: 'IsoImage' } };
const arm = { attributes: { ...anImage().attributes, __support_arm: 'true', hw_firmware_type: 'uefi' } };

const DEFAULTS = { __description: '', max_ram: '0', hw_firmware_type: 'bios' };
type Operations = readonly ImagePatchOperation[];
const add = (path: string, value: unknown): ImagePatchOperation => ({ op: 'add', path, value });
const replace = (path: string, value: unknown): ImagePatchOperation => ({ op: 'replace', path, value });
const remove = (path: string): ImagePatchOperation => ({ op: 'remove', path });
const move = (from: string, path: string): ImagePatchOperation => ({ op: 'move', from, path });

const decide = (
  operations: Operations,
  image: Partial<UpdatableImage> | undefined = {},
  dialect: 'extension' | 'openstack' = 'extension',
  by = PROJECT,
) =>
  decideUpdateImage(image && anImage(image), {
    projectId: by,
    dialect,
    operations,
    shownDefaults: DEFAULTS,
    requestId: 'r1',
  });

function updated(...args: Parameters<typeof decide>): EventData<'image.updated'> {
  const events = decide(...args);
  const [event] = events;
  if (event?.type !== 'image.updated' || events.length !== 1) throw new Error('not one image.updated');
  return EVENTS['image.updated'].parse(event.data);
}
const openStack = (operations: Operations, image: Partial<UpdatableImage> = {}) =>
  updated(operations, image, 'openstack');

const refusal = (code: string, status: number) => expect.objectContaining({ code, status }) as Error;

/** The image with these fields; a null takes an attribute away. */
function after(image: UpdatableImage, fields: ImageFields): UpdatableImage {
  const { attributes = {}, ...others } = fields;
  const all = Object.entries({ ...image.attributes, ...attributes }).filter(([, value]) => value !== null);
  return { ...image, ...(others as Partial<UpdatableImage>), attributes: Object.fromEntries(all) };
}

describe(decideUpdateImage.name, () => {
  it('tells all that differs in one event, before and after (MGT-01)', () => {
    const operations = [
      replace('/name', 'web 2'),
      replace('/__description', 'another'),
      replace('/min_ram', 2048),
      add('/max_ram', '65536'),
      add('/hw_vif_multiqueue_enabled', 'true'),
      add('/__support_kvm_hi1822_hisriov', 'true'),
      remove('/own'),
    ];
    expect(updated(operations)).toEqual({
      name: 'web 2',
      before: {
        name: 'web',
        minRamMib: 1024,
        attributes: {
          __description: 'a base',
          own: 'x',
          max_ram: null,
          hw_vif_multiqueue_enabled: null,
          __support_kvm_hi1822_hisriov: null,
        },
      },
      after: {
        name: 'web 2',
        minRamMib: 2048,
        attributes: {
          __description: 'another',
          own: null,
          max_ram: '65536',
          hw_vif_multiqueue_enabled: 'true',
          __support_kvm_hi1822_hisriov: 'true',
        },
      },
    });
  });

  it.each<[string, Operations]>([
    ['nothing', []],
    ['what it is already', [replace('/name', 'web'), replace('/own', 'x'), add('/protected', false)]],
    ['something and back', [replace('/own', 'y'), replace('/own', 'x')]],
    ['an attribute that was not there, and takes it away', [add('/new', '1'), remove('/new')]],
  ])('says nothing of a patch that asks for %s', (_what, operations) => {
    expect(decide(operations)).toEqual([]);
    expect(decide(operations, {}, 'openstack')).toEqual([]);
  });

  it('applies operations one after the other, all or none (ims-api 5)', () => {
    expect(updated([add('/new', '1'), replace('/new', '2')]).after.attributes).toEqual({ new: '2' });
    expect(() => decide([replace('/name', 'web2'), replace('/none', '1')])).toThrow(refusal('IMG.0035', 400));
  });

  describe('whose image it is', () => {
    it.each<[string, Partial<UpdatableImage> | undefined, typeof PROJECT, string, number, number]>([
      ['another’s private one', {}, OTHER, 'IMG.0144', 404, 404],
      ['one that somebody shares', { imageType: 'shared' }, OTHER, 'IMG.0106', 400, 403],
      ['a public one', { imageType: 'gold' }, PROJECT, 'IMG.0083', 400, 403],
      ['another’s public one', { imageType: 'gold' }, OTHER, 'IMG.0083', 400, 403],
      ['one of the market', { imageType: 'market' }, OTHER, 'IMG.0083', 400, 403],
      ['a deleted one', { status: 'deleted' }, PROJECT, 'IMG.0144', 404, 404],
    ])('refuses %s', (_what, image, by, code, status, glanceStatus) => {
      const operations = [replace('/name', 'mine')];
      expect(() => decide(operations, image, 'extension', by)).toThrow(refusal(code, status));
      expect(() => decide(operations, image, 'openstack', by)).toThrow(refusal(code, glanceStatus));
    });

    it('refuses one that is not there', () => {
      const command = { projectId: PROJECT, operations: [], shownDefaults: DEFAULTS, requestId: 'r1' };
      for (const dialect of ['extension', 'openstack'] as const)
        expect(() => decideUpdateImage(undefined, { ...command, dialect })).toThrow(refusal('IMG.0144', 404));
    });

    it('takes the owner’s own that is shared with others', () => {
      expect(updated([replace('/name', 'x')], { imageType: 'shared' }).name).toBe('x');
    });

    it.each(['queued', 'saving', 'killed'])(
      'waits for the bytes of one that is %s, in the vendor’s dialect',
      (status) => {
        expect(() => decide([replace('/name', 'x')], { status })).toThrow(refusal('IMG.0046', 400));
        expect(openStack([replace('/name', 'x')], { status }).name).toBe('x');
      },
    );
  });

  it.each<[string, Operations, string, Partial<UpdatableImage>?]>([
    ['no name', [replace('/name', '')], 'IMG.0013'],
    ['a name of 129 characters', [replace('/name', 'x'.repeat(129))], 'IMG.0002'],
    ['a name with a slash', [replace('/name', 'a/b')], 'IMG.0003'],
    ['a name that is a number', [replace('/name', 7)], 'IMG.0001'],
    ['a description of 1025 characters', [replace('/__description', 'x'.repeat(1025))], 'IMG.0004'],
    ['a description with a bracket', [replace('/__description', 'a<b')], 'IMG.0054'],
    ['memory that is no number', [replace('/min_ram', 'much')], 'IMG.0055'],
    ['half a megabyte', [replace('/min_ram', 0.5)], 'IMG.0055'],
    ['less than none', [add('/max_ram', -1)], 'IMG.0055'],
    ['more than 32 bits of memory', [add('/max_ram', '2147483648')], 'IMG.0055'],
    ['a cap below the floor', [add('/max_ram', '1023')], 'IMG.0055'],
    ['a floor above the cap', [add('/max_ram', 2048), replace('/min_ram', 2049)], 'IMG.0055'],
    ['a cap of 4097 MB with a 32-bit system (CRE-28)', [add('/max_ram', 4097)], 'IMG.0055', bit32],
    ['a floor of 4097 MB with a 32-bit system (CRE-28)', [replace('/min_ram', 4097)], 'IMG.0055', bit32],
    ['a system disk of 1025 GB', [replace('/min_disk', 1025)], 'IMG.0055'],
    ['a system disk of none', [replace('/min_disk', 0)], 'IMG.0055', { virtualSizeBytes: null }],
    ['a disk smaller than the image', [replace('/min_disk', 39)], 'IMG.0055'],
    ['a data disk of 39 GB (CRE-15)', [replace('/min_disk', 39)], 'IMG.0055', { ...dataDisk, virtualSizeBytes: GIB }],
    ['a data disk of 2049 GB (CRE-15)', [replace('/min_disk', 2049)], 'IMG.0055', dataDisk],
    ['an unknown firmware', [add('/hw_firmware_type', 'coreboot')], 'IMG.0141'],
    ['BIOS on arm', [replace('/hw_firmware_type', 'bios')], 'IMG.0141', arm],
    ['a flag that is false', [replace('/__support_kvm', 'false')], 'IMG.0001'],
    ['a switch that is maybe', [add('/__is_config_init', 'maybe')], 'IMG.0001'],
    ['a GPU that nobody has', [add('/__support_kvm_gpu_type', 'H100')], 'IMG.0001'],
    ['59 seconds to shut down', [add('/os_shutdown_timeout', '59')], 'IMG.0001'],
    ['301 seconds to shut down', [add('/os_shutdown_timeout', '301')], 'IMG.0001'],
    ['a GPU beside plain KVM', [add('/__support_kvm_gpu_type', 'V100')], 'IMG.0035'],
    ['an enterprise project that is none', [replace('/enterprise_project_id', 'x')], 'IMG.0155'],
    ['the key (ENC-03)', [add('/__system__cmkid', 'a')], 'IMG.0105'],
    ['the size', [replace('/size', 1)], 'IMG.0105'],
    ['the system', [replace('/__os_version', 'CentOS 7.6 64bit')], 'IMG.0105'],
    ['tags', [replace('/tags', ['a'])], 'IMG.0105'],
    ['an unknown attribute of the vendor’s', [add('/__what', 'a')], 'IMG.0105'],
    ['another owner', [replace('/owner', OTHER)], 'IMG.0105'],
    ['no name at all', [remove('/name')], 'IMG.0105'],
    ['no enterprise project', [remove('/enterprise_project_id')], 'IMG.0105'],
    ['a cap that is not set', [replace('/max_ram', '1')], 'IMG.0035'],
    ['to take away what is not set', [remove('/max_ram')], 'IMG.0035'],
    ['an own attribute with capitals', [add('/Own', '1')], 'IMG.0001'],
    ['an own attribute of 256 characters', [add(`/${'x'.repeat(256)}`, '1')], 'IMG.0001'],
    ['an own attribute that is a list', [add('/own', ['1'])], 'IMG.0001'],
    ['a prototype', [add('/__proto__', '1')], 'IMG.0105'],
    ['nothing as a value', [add('/own', null)], 'IMG.0001'],
    ['no value', [{ op: 'replace', path: '/own' }], 'IMG.0001'],
    ['a part of a property', [replace('/own/0', 'y')], 'IMG.0001'],
    ['the whole image', [replace('/', 'y')], 'IMG.0001'],
    ['a broken pointer', [replace('/own~', 'y')], 'IMG.0001'],
    ['memory for a data disk', [replace('/min_ram', 1)], 'IMG.0168', dataDisk],
    ['multi-queue for a data disk', [add('/hw_vif_multiqueue_enabled', 'true')], 'IMG.0168', dataDisk],
    ['a time to shut down an ISO', [add('/os_shutdown_timeout', '60')], 'IMG.0105', iso],
  ])('refuses %s in the vendor’s dialect', (_what, operations, code, image = {}) => {
    expect(() => decide(operations, image)).toThrow(refusal(code, 400));
  });

  it('takes what is just allowed (MGT-01)', () => {
    expect(updated([replace('/name', 'x'.repeat(128))]).name).toHaveLength(128);
    expect(updated([replace('/__description', 'x'.repeat(1024))]).after.attributes?.__description).toHaveLength(1024);
    expect(updated([add('/max_ram', 1024)]).after.attributes).toEqual({ max_ram: '1024' });
    expect(updated([replace('/min_ram', 4096)], bit32).after.minRamMib).toBe(4096);
    expect(updated([add('/max_ram', '4096')], bit32).after.attributes).toEqual({ max_ram: '4096' });
    expect(updated([replace('/min_disk', '1024')]).after.minDiskGib).toBe(1024);
    expect(updated([replace('/min_disk', 41)]).after.minDiskGib).toBe(41);
    expect(updated([replace('/min_disk', 2048)], dataDisk).after.minDiskGib).toBe(2048);
    for (const seconds of ['60', '300'])
      expect(updated([add('/os_shutdown_timeout', seconds)]).after.attributes).toEqual({
        os_shutdown_timeout: seconds,
      });
    expect(updated([remove('/__support_kvm'), add('/__support_kvm_gpu_type', 'V100')]).after.attributes).toEqual({
      __support_kvm: null,
      __support_kvm_gpu_type: 'V100',
    });
    expect(updated([add('/own', 'again')]).after.attributes).toEqual({ own: 'again' });
    expect(updated([add('/a~1b~0', 7)]).after.attributes).toEqual({ 'a/b~': '7' });
  });

  it('caps the memory of a 32-bit system whatever is taken away (CRE-28)', () => {
    const capped = { attributes: { ...bit32.attributes, max_ram: '2048' } };
    expect(updated([remove('/max_ram')], capped).after.attributes).toEqual({ max_ram: '4096' });
    expect(updated([replace('/max_ram', 0)], capped).after.attributes).toEqual({ max_ram: '4096' });
    const free = { attributes: { ...anImage().attributes, max_ram: '2048' } };
    expect(updated([replace('/max_ram', 0)], free).after.attributes).toEqual({ max_ram: null });
  });

  it('moves an image to another enterprise project, in the vendor’s dialect alone (ims-api 5)', () => {
    const to = '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c';
    const operations = [replace('/enterprise_project_id', to)];
    expect(updated(operations).after.attributes).toEqual({ enterprise_project_id: to });
    expect(movesEnterpriseProject(operations)).toBe(true);
    expect(movesEnterpriseProject([replace('/name', 'x')])).toBe(false);
    expect(() => decide(operations, {}, 'openstack')).toThrow(refusal('IMG.0105', 403));
  });

  it('protects and hides (ims-api 2.2, 12.2)', () => {
    const both = [replace('/protected', true), replace('/os_hidden', 'true')];
    expect(updated(both)).toEqual(openStack(both));
    expect(updated(both)).toMatchObject({
      before: { protected: false, hidden: false },
      after: { protected: true, hidden: true },
    });
  });

  describe('in OpenStack’s dialect (ims-api 12.5)', () => {
    it.each<[string, Operations, string, number]>([
      ['a name of 256 characters', [replace('/name', 'x'.repeat(256))], 'IMG.0062', 400],
      ['a property that is not there', [replace('/none', '1')], 'IMG.0035', 409],
      ['to remove what is not there', [remove('/none')], 'IMG.0035', 409],
      ['to remove a name', [remove('/name')], 'IMG.0105', 403],
      ['to remove its memory', [remove('/min_ram')], 'IMG.0105', 403],
      ['a status', [replace('/status', 'active')], 'IMG.0105', 403],
      ['a checksum', [add('/checksum', 'x')], 'IMG.0105', 403],
      ['a location', [add('/locations', [])], 'IMG.0105', 403],
      ['a reserved name', [add('/os_glance_x', '1')], 'IMG.0105', 403],
      ['a key (ENC-03)', [replace('/__system__cmkid', 'x')], 'IMG.0105', 403],
      ['another owner', [replace('/owner', OTHER)], 'IMG.0105', 403],
      ['a public image', [replace('/visibility', 'public')], 'IMG.0105', 403],
      ['another format', [replace('/disk_format', 'raw')], 'IMG.0105', 403],
      ['a tag that is none', [replace('/tags', [''])], 'IMG.0115', 400],
      ['tags that are no list', [replace('/tags', 'a')], 'IMG.0115', 400],
      ['11 tags (MGT-03)', [replace('/tags', [...'abcdefghijk'])], 'IMG.0116', 413],
      ['a tag that is not there', [remove('/tags/2')], 'IMG.0035', 409],
      ['a description with a bracket', [replace('/__description', '>')], 'IMG.0054', 400],
      ['a property of another type', [add('/p', { a: 1 })], 'IMG.0001', 400],
      ['a prototype', [add('/__proto__', 'x')], 'IMG.0001', 400],
      ['a part of a property', [add('/p/q', 'x')], 'IMG.0001', 400],
      ['129 properties', Array.from({ length: 129 }, (_, n) => add(`/p${n}`, '1')), 'IMG.0001', 413],
      ['a value of 20,000 characters', [add('/p', 'x'.repeat(20_000))], 'IMG.0001', 413],
    ])('refuses %s', (_what, operations, code, status) => {
      expect(() => decide(operations, {}, 'openstack')).toThrow(refusal(code, status));
    });

    it('replaces a property that the image shows without having it', () => {
      expect(openStack([replace('/max_ram', '2048')]).after.attributes).toEqual({ max_ram: '2048' });
    });

    it('takes properties in any letters, base properties, and those that stay what they are', () => {
      expect(openStack([add('/OwnKey', 'a'), replace('/name', ''), replace('/min_disk', 0)]).after).toEqual({
        name: '',
        minDiskGib: 0,
        attributes: { OwnKey: 'a' },
      });
      const same = [replace('/owner', PROJECT), replace('/visibility', 'private'), replace('/disk_format', 'zvhd2')];
      expect(decide(same, {}, 'openstack')).toEqual([]);
    });

    it.each<[string, Operations, string[]]>([
      ['as a list', [replace('/tags', ['b', 'a', 'b'])], ['b', 'a']],
      ['none', [replace('/tags', [])], []],
      ['one more at the end', [add('/tags/-', 'z')], ['env=prod', 'web', 'z']],
      ['one more before the others', [add('/tags/0', 'z')], ['z', 'env=prod', 'web']],
      ['one in the place of another', [replace('/tags/1', 'z')], ['env=prod', 'z']],
      ['one less', [remove('/tags/0')], ['web']],
      ['in another order', [move('/tags/1', '/tags/0')], ['web', 'env=prod']],
    ])('changes tags: %s', (_what, operations, tags) => {
      expect(openStack(operations)).toEqual({ name: 'web', before: { tags: ['env=prod', 'web'] }, after: { tags } });
    });

    it('moves a property to another name', () => {
      expect(openStack([move('/own', '/other')]).after.attributes).toEqual({ own: null, other: 'x' });
      expect(() => decide([move('/none', '/other')], {}, 'openstack')).toThrow(refusal('IMG.0035', 409));
    });
  });

  it('refuses what one event cannot hold', () => {
    const own = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`p${n}`, 'x'.repeat(390)]));
    const all = Object.keys(own).map((name) => replace(`/${name}`, '键'.repeat(390)));
    expect(() => decide(all, { attributes: { ...anImage().attributes, ...own } }, 'openstack')).toThrow(
      refusal('IMG.0001', 413),
    );
  });

  it('leaves behind what it tells: nothing more to do for the same patch, and one back undoes it', () => {
    const values = fc.oneof(fc.string({ maxLength: 20 }), fc.integer(), fc.boolean());
    const operations = fc.array(
      fc.oneof(
        fc.record({ op: fc.constant('add' as const), path: fc.constantFrom('/own', '/a', '/b~1c'), value: values }),
        fc.record({ op: fc.constant('add' as const), path: fc.constant('/min_ram'), value: fc.nat(4096) }),
        fc.record({
          op: fc.constant('add' as const),
          path: fc.constant('/tags/-'),
          value: fc.constantFrom('x', 'y=1'),
        }),
        fc.record({ op: fc.constant('add' as const), path: fc.constant('/os_hidden'), value: fc.boolean() }),
      ),
    );
    fc.assert(
      fc.property(operations, (all) => {
        const patch = all.filter(({ path }, at) => all.findLastIndex((later) => later.path === path) === at);
        const [event] = decide(patch, {}, 'openstack');
        if (event === undefined) return;
        if (event.type !== 'image.updated') throw new Error(event.type);
        const changed = after(anImage(), event.data.after);
        const again = patch.filter(({ path }) => path !== '/tags/-');
        expect(decide(again, changed, 'openstack')).toEqual([]);
        expect(after(changed, event.data.before)).toEqual(anImage());
      }),
    );
  });

  it('reads the patch of the Terraform provider, numbers and all (ims-api 5, 19.2)', () => {
    const [operation] = updateImageRequest.parse([{ op: 'replace', path: '/max_ram', value: 65536 }]);
    if (operation === undefined) throw new Error('no operation');
    expect(() => decide([operation])).toThrow(refusal('IMG.0035', 400));
    expect(updated([{ ...operation, op: 'add' }]).after.attributes).toEqual({ max_ram: '65536' });
  });
});
