import { type CatalogueEntry, catalogueDocument, imageId, ImsError, jobId, PLATFORM_PROJECT } from '@ims/contract';
import { evolveImage, type ImageState } from '../trail/image.evolver';
import type { DomainEvent } from '../domain-event';
import { type CataloguedImage, decideCatalogue } from './catalogue.decider';

const DIGEST = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);
const AT = new Date('2026-11-24T10:00:00Z');

const entry = (changes: Record<string, unknown> = {}) => ({
  key: 'debian-10',
  version: '10.7',
  name: 'Debian 10.7 64bit',
  os_version: 'Debian GNU/Linux 10.7.0 64bit',
  min_disk: 10,
  source: { bucket: 'images', object: 'debian.qcow2' },
  sha256: DIGEST,
  vendor: 'The Debian Project',
  licence: 'DFSG',
  features: { user_data: true, disk_hotplug: true, ssh_key: false },
  ...changes,
});

const catalogueOf = (...images: Record<string, unknown>[]) => catalogueDocument.parse({ version: 1, images });

/** A catalogue that is loaded again and again, with the images that its events make. */
function anInstallation() {
  const images = new Map<string, ImageState | undefined>();
  let n = 0;
  const id = (): string => String(++n).padStart(12, '0');
  const take = (events: readonly DomainEvent[]): void => {
    for (const { type, stream, data } of events) {
      if (!stream.startsWith('image:')) continue;
      const name = stream.slice('image:'.length);
      // The event is one of the catalogue's, whichever it is.
      const event = { type, data, streamId: stream, projectId: PLATFORM_PROJECT, occurredAt: AT } as Parameters<
        typeof evolveImage
      >[1];
      images.set(name, evolveImage(images.get(name), event));
    }
  };
  const known = (): CataloguedImage[] =>
    [...images.values()].flatMap((image) => {
      if (image?.catalogue == null || image.status === 'killed' || image.status === 'deleted') return [];
      const { status, name, attributes, catalogue } = image;
      return [
        {
          id: imageId(image.id),
          status,
          name,
          minDiskGib: image.min_disk_gib,
          minRamMib: image.min_ram_mib,
          attributes,
          catalogue,
          isRetired: image.retired_at !== null,
        },
      ];
    });
  return {
    images,
    load(...entries: Record<string, unknown>[]) {
      const changes = decideCatalogue(catalogueOf(...entries), known(), {
        imageId: () => imageId(`00000000-0000-4000-8000-${id()}`),
        jobId: () => jobId(id().padStart(32, '0')),
      });
      for (const { events } of changes) take(events);
      return changes;
    },
    fail(imageName: string) {
      const stream = `image:${imageName}`;
      images.set(
        imageName,
        evolveImage(images.get(imageName), {
          type: 'image.withdrawn',
          data: { reason: 'its job failed' },
          streamId: stream,
          projectId: PLATFORM_PROJECT,
          occurredAt: AT,
        }),
      );
    },
  };
}

const summary = (changes: ReturnType<ReturnType<typeof anInstallation>['load']>) =>
  changes.map(({ report }) => [report.key, report.version, report.change]);

describe(decideCatalogue.name, () => {
  it('queues a public image of the platform and the job that brings its bytes, to be checked by their digest (IMG-04, ADV-04)', () => {
    const { load, images } = anInstallation();
    const [change] = load(entry());
    expect(change?.input).toMatchObject({
      projectId: PLATFORM_PROJECT,
      source: { kind: 'kept-file', file: { bucket: 'images', key: 'debian.qcow2' } },
      sha256: DIGEST,
      diskFormat: 'qcow2',
      existing: false,
    });
    const [image] = images.values();
    expect(image).toMatchObject({
      image_type: 'gold',
      protected: true,
      status: 'queued',
      attributes: { __platform: 'Debian', __os_type: 'Linux', __os_bit: '64', __support_kvm: 'true' },
      catalogue: { source: 'images:debian.qcow2', sha256: DIGEST, kernelVendor: 'The Debian Project', revision: 1 },
    });
    expect(change?.events.map(({ type }) => type)).toEqual([
      'job.accepted',
      'image.queued',
      'quota.reserved',
      'quota.reserved',
    ]);
  });

  it('shows what the image can do as clients read it, and nothing of what it cannot (IMG-17)', () => {
    const { load, images } = anInstallation();
    load(entry());
    const [image] = images.values();
    const features: unknown = JSON.parse(String(image?.attributes['__os_feature_list']));
    expect(features).toEqual({ user_data: 'true', disk_hotplug: 'true' });
  });

  it('fetches from the web into a staged file of the job’s own', () => {
    const [change] = anInstallation().load(entry({ source: { url: 'https://vendor.example/d.qcow2' } }));
    expect(change?.input?.source).toEqual({
      kind: 'web-file',
      uri: 'https://vendor.example/d.qcow2',
      stagedId: `web-${change?.input?.jobId ?? ''}`,
    });
  });

  it('leaves an entry without bytes queued, without a job', () => {
    const { load, images } = anInstallation();
    const [change] = load(entry({ source: undefined, sha256: undefined }));
    expect(change?.input).toBeUndefined();
    expect([...images.values()].map((image) => image?.status)).toEqual(['queued']);
    expect(change?.events.filter(({ type }) => type === 'job.accepted')).toEqual([]);
  });

  it('changes nothing when the same catalogue comes again', () => {
    const { load } = anInstallation();
    const entries = [entry(), entry({ key: 'none', source: undefined, sha256: undefined })];
    load(...entries);
    const again = load(...entries);
    expect(again.flatMap(({ events }) => events)).toEqual([]);
    expect(summary(again)).toEqual([
      ['debian-10', '10.7', 'unchanged'],
      ['none', '10.7', 'unchanged'],
    ]);
  });

  it.each([
    ['name', { name: 'Debian' }, { name: 'Debian' }],
    ['smallest disk', { min_disk: 20 }, { min_disk_gib: 20 }],
    ['smallest memory', { min_ram: 512 }, { min_ram_mib: 512 }],
    ['description', { description: 'new' }, { attributes: { __description: 'new' } }],
    ['vendor', { vendor: 'Somebody' }, { catalogue: { vendor: 'Somebody', revision: 2 } }],
    [
      'source',
      { source: { bucket: 'other', object: 'debian.qcow2' } },
      { catalogue: { source: 'other:debian.qcow2' } },
    ],
  ])('changes the %s of the image that is there, and its bytes stay', (_, change, expected) => {
    const { load, images } = anInstallation();
    load(entry());
    const changes = load(entry(change));
    expect(summary(changes)).toEqual([['debian-10', '10.7', 'changed']]);
    expect(images.size).toBe(1);
    expect([...images.values()][0]).toMatchObject(expected);
    expect(load(entry(change)).flatMap(({ events }) => events)).toEqual([]);
  });

  it('takes a feature away that the entry names no more', () => {
    const { load, images } = anInstallation();
    load(entry({ supports: ['__support_amd'] }));
    load(entry({ features: {} }));
    const attributes = [...images.values()][0]?.attributes ?? {};
    expect(Object.keys(attributes).filter((name) => /feature|amd/.test(name))).toEqual([]);
  });

  it.each([
    ['version', { version: '10.8' }],
    ['digest', { sha256: OTHER }],
  ])('another %s is another image, and the older is offered until it can be used', (_, change) => {
    const { load, images } = anInstallation();
    load(entry());
    const changes = load(entry(change));
    expect(changes.map(({ report }) => report.change)).toEqual(['queued']);
    expect([...images.values()].map((image) => image?.retired_at)).toEqual([null, null]);
  });

  it('offers no more what the catalogue has dropped, without touching its bytes, and offers it again when it is back', () => {
    const { load, images } = anInstallation();
    load(entry());
    expect(summary(load())).toEqual([['debian-10', '10.7', 'retired']]);
    const [image] = images.values();
    expect(image).toMatchObject({ status: 'queued', retired_at: AT.toISOString() });
    expect(load()).toEqual([]);
    expect(summary(load(entry()))).toEqual([['debian-10', '10.7', 'listed-again']]);
    expect([...images.values()][0]?.retired_at).toBeNull();
    // As often as it is wanted: no event is taken for one of an earlier time.
    expect(load().flatMap(({ events }) => events.map(({ key }) => key))).toEqual(['retired:2']);
  });

  it('withdraws what never had bytes when the catalogue drops it, or names bytes for it', () => {
    const bare = entry({ source: undefined, sha256: undefined });
    for (const next of [[], [entry()]]) {
      const { load, images } = anInstallation();
      load(bare);
      const changes = load(...next);
      expect(changes[0]?.report.change).toBe('withdrawn');
      expect(changes[0]?.events.map(({ type }) => type)).toEqual(['image.withdrawn', 'quota.released']);
      expect([...images.values()].map((image) => image?.status)).toEqual(['killed', ...next.map(() => 'queued')]);
    }
  });

  it('tries again what could not be brought', () => {
    const { load, fail } = anInstallation();
    const [first] = load(entry());
    fail(first?.report.image_id ?? '');
    const [second] = load(entry());
    expect(second?.report.change).toBe('queued');
    expect(second?.report.image_id).not.toBe(first?.report.image_id);
  });

  it('refuses a system that no table knows and the entry does not describe, and takes one that it describes', () => {
    const { load } = anInstallation();
    const unknown = { os_version: 'Plan 9 64bit' };
    expect(() => load(entry(unknown))).toThrow(ImsError);
    const described = { ...unknown, platform: 'Other', os_type: 'Other', os_bit: '64' };
    expect(summary(load(entry(described)))).toEqual([['debian-10', '10.7', 'queued']]);
  });
});

describe('the form of a catalogue', () => {
  const complaint = (...images: unknown[]): string =>
    catalogueDocument.safeParse({ version: 1, images }).error?.issues[0]?.message ?? '';

  it.each<[string, Partial<Record<keyof CatalogueEntry, unknown>>, RegExp]>([
    ['bytes without a digest', { sha256: undefined }, /belong together/],
    ['a digest of no bytes', { source: undefined }, /belong together/],
    ['a digest that is none', { sha256: 'A'.repeat(64) }, /hex digits/],
    ['a source of two kinds', { source: { bucket: 'b', object: 'o', url: 'https://a.example/b' } }, /source/],
    ['a source that is a file here', { source: { url: 'file:///etc/passwd' } }, /source/],
    ['a key with capitals', { key: 'Debian' }, /key/],
    ['no disk', { min_disk: 0 }, /min_disk/],
    ['too large a disk', { min_disk: 1025 }, /min_disk/],
    ['a feature that nobody knows', { features: { teleport: true } }, /features/],
    ['an attribute that is no support', { supports: ['__imagetype'] }, /supports/],
    ['an ISO file', { format: 'iso' }, /format/],
  ])('refuses %s', (_, change, message) => {
    expect(complaint(entry())).toBe('');
    expect(complaint(entry(change))).toMatch(message);
  });

  it('refuses a key that is there twice, and members that it does not know', () => {
    expect(complaint(entry(), entry())).toMatch(/once/);
    expect(complaint(entry({ checksum: DIGEST }))).not.toBe('');
  });
});
