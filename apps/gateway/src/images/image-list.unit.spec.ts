import { ImsError, listGlanceImagesQuery, listImagesQuery } from '@ims/contract';
import { fromListGlanceImagesQuery, fromListImagesQuery, pageLink, valuesOf } from './image-list';

const extension = (query: Record<string, unknown>) => fromListImagesQuery(listImagesQuery.parse(query), 'region-1');
const glance = (query: Record<string, unknown>) =>
  fromListGlanceImagesQuery(listGlanceImagesQuery.parse(query), 'region-1');

describe(fromListImagesQuery.name, () => {
  it('lists 500 without a limit, at most 1000, and none for 0 (ims-api 4.1)', () => {
    expect(extension({}).limit).toBe(500);
    expect(extension({ limit: '5000' }).limit).toBe(1000);
    expect(extension({ limit: '0' }).limit).toBe(0);
  });

  it('filters on attributes by their names and ignores what it does not know (MGT-07)', () => {
    expect(
      extension({ __os_type: 'Linux', __support_s4l: 'true', virtual_env_type: 'Ironic', nonsense: 'x' }).filter
        ?.attributes,
    ).toEqual({
      __os_type: 'Linux',
      __support_s4l: 'true',
      virtual_env_type: 'Ironic',
    });
  });

  it('reads the query of the Terraform data source (ims-api 4.1)', () => {
    const request = extension({
      status: 'active',
      __imagetype: 'private',
      enterprise_project_id: 'all_granted_eps',
      sort_key: 'name',
      sort_dir: 'asc',
      __os_version: 'CentOS 7.6 64bit',
      tag: 'k=v',
    });
    expect(request).toEqual({
      filter: {
        status: ['active'],
        imageType: 'private',
        hidden: false,
        tags: ['k=v'],
        attributes: { __os_version: 'CentOS 7.6 64bit' },
      },
      sort: [{ key: 'name', direction: 'asc' }],
      limit: 500,
    });
  });

  it('trims the sort key of the Go client', () => {
    expect(extension({ sort_key: 'status ' }).sort).toEqual([{ key: 'status', direction: 'desc' }]);
  });

  it('takes every repeated tag', () => {
    expect(extension({ tag: ['a', 'b=c'] }).filter?.tags).toEqual(['a', 'b=c']);
  });

  it.each([
    ['not a flavor', 'IMG.0192'],
    ['s6', 'IMG.0192'],
    // The filter knows no bare metal (ims-api 4.1).
    ['physical.s4.medium', 'IMG.0192'],
    ['z9.large.2', 'IMG.0191'],
    ['s6.large.3', 'IMG.0191'],
  ])('refuses the flavor %s with %s in both dialects (OS-06)', (flavor, code) => {
    for (const list of [extension, glance])
      expect(() => list({ flavor_id: flavor })).toThrow(expect.objectContaining({ code }) as ImsError);
  });

  it('filters by a flavor among public images: its architecture, memory and systems (OS-06, OS-14, CRE-26, CRE-28)', () => {
    for (const list of [extension, glance]) {
      const { imageType, usableWith } = list({ flavor_id: 's6.large.2' })?.filter ?? {};
      expect(imageType).toBe('gold');
      expect(usableWith).toMatchObject({ architecture: 'x86', ramMib: 4096, without32Bit: false });
      expect(usableWith?.osVersions).toContain('CentOS 7.6 64bit');
      expect(usableWith?.osVersions).not.toContain('EulerOS 2.8 64bit');
    }
    expect(extension({ flavor_id: 's6.large.4' }).filter?.usableWith?.without32Bit).toBe(true);
    expect(extension({ flavor_id: 'kc1.large.2' }).filter?.usableWith).toMatchObject({ architecture: 'arm' });
    expect(extension({ flavor_id: 'pi2.2xlarge.4' }).filter?.usableWith).not.toHaveProperty('osVersions');
  });

  it.each([
    [{ limit: '-1' }],
    [{ limit: '1e3' }],
    [{ limit: '9'.repeat(40) }],
    [{ sort_key: 'password' }],
    [{ sort_dir: 'up' }],
    [{ protected: 'maybe' }],
    [{ created_at: 'gt:yesterday' }],
    [{ created_at: 'gt:2026-13-41T00:00:00Z' }],
    [{ name: 'a\u0000b' }],
    [{ name: 'x'.repeat(5000) }],
    [{ architecture: 'mips' }],
  ])('refuses %j', (query) => {
    expect(listImagesQuery.safeParse(query).success).toBe(false);
  });
});

describe(fromListGlanceImagesQuery.name, () => {
  it('lists 25 without a limit (ims-api 12.2)', () => {
    expect(glance({})?.limit).toBe(25);
  });

  it('reads lists, sort terms, sizes and properties', () => {
    expect(glance({ name: 'in:a,"b, c"', sort: 'name:asc,created_at', size_min: '10', os_distro: 'debian' })).toEqual({
      filter: { name: ['a', 'b, c'], hidden: false, sizeMin: 10, attributes: { os_distro: 'debian' } },
      sort: [
        { key: 'name', direction: 'asc' },
        { key: 'created_at', direction: 'desc' },
      ],
      limit: 25,
    });
  });

  it('pairs repeated keys and directions', () => {
    expect(glance({ sort_key: ['name', 'id'], sort_dir: ['asc', 'desc'] })?.sort).toEqual([
      { key: 'name', direction: 'asc' },
      { key: 'id', direction: 'desc' },
    ]);
    expect(() => glance({ sort_key: ['name', 'id', 'size'], sort_dir: ['asc', 'desc'] })).toThrow(ImsError);
  });

  it('leaves hidden images out unless they are asked for (ims-api 12.2)', () => {
    expect(glance({ os_hidden: 'True' }).filter?.hidden).toBe(true);
    expect(glance({ os_hidden: 'False' }).filter?.hidden).toBe(false);
    expect(glance({}).filter?.hidden).toBe(false);
    expect(extension({}).filter?.hidden).toBe(false);
    expect(extension({ os_hidden: 'true' }).filter?.hidden).toBe(true);
    // The vendor's clients read an image by listing it.
    expect(extension({ id: 'x' }).filter).not.toHaveProperty('hidden');
  });
});

describe(valuesOf.name, () => {
  it('is one value without the prefix', () => {
    expect(valuesOf('a,b')).toEqual(['a,b']);
    expect(valuesOf('in:a,b')).toEqual(['a', 'b']);
  });
});

describe(pageLink.name, () => {
  it('repeats the filters, forces __isregistered and replaces the marker (ims-api 12.2)', () => {
    expect(pageLink('__imagetype=gold&limit=2&marker=old&tag=a&tag=b', 'm1')).toBe(
      '/v2/images?__isregistered=true&marker=m1&__imagetype=gold&limit=2&tag=a&tag=b',
    );
    expect(pageLink('limit=2&name=a%20%26b', undefined)).toBe('/v2/images?__isregistered=true&limit=2&name=a+%26b');
  });
});
