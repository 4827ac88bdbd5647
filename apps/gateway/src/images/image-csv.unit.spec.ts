import type { ImageRow } from '@ims/db';
import { csvCell, csvFile, csvFileName } from './image-csv';

const at = new Date('2026-02-03T08:15:42.987Z');

const aRow = (changes: Partial<ImageRow> = {}): ImageRow => ({
  ...{ id: 'i1', project_id: 'p1', name: 'web', status: 'active' as const, image_type: 'private' },
  ...{
    form: 'disk' as const,
    parent_id: null,
    public_platform: null,
    product_code: null,
    catalogue_key: null,
    catalogue: null,
    retired_at: null,
    listing: null,
    disk_format: 'zvhd2',
  },
  ...{ min_disk_gib: 40, min_ram_mib: 512, tags: [], tag_terms: [], attributes: {}, protected: false, hidden: false },
  ...{ domain_id: null, manifest_hash: null, content_root: null, virtual_size_bytes: null, stored_bytes: null },
  ...{ file_bytes: 7, md5: null, sha512: null, created_at: at, updated_at: at, active_at: null, deleted_at: null },
  ...{ binned_at: null, purge_after: null, purges_backup: false, held_at: null, hold_reason: null, held_by: null },
  ...{ deprecated_at: null, replacement_id: null, revoked_at: null, revoke_reason: null },
  ...changes,
});

async function fileOf(list: 'public' | 'private', ...rows: ImageRow[]): Promise<string[]> {
  async function* pages() {
    yield rows;
  }
  const chunks: Buffer[] = [];
  for await (const chunk of csvFile(list, pages())) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString().split('\r\n');
}

describe(csvCell.name, () => {
  it.each([
    ['plain', 'plain'],
    ['', ''],
    ['a,b', '"a,b"'],
    ['say "a"', '"say ""a"""'],
    ['two\nlines', '"two\nlines"'],
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', "'\t=1"],
    ['=HYPERLINK("http://x","y")', `"'=HYPERLINK(""http://x"",""y"")"`],
    ['a=1', 'a=1'],
  ])('writes %j as RFC 4180 has it, and never as a formula (MGT-04)', (text, cell) => {
    expect(csvCell(text)).toBe(cell);
  });
});

describe(csvFileName.name, () => {
  it('names list, region and time (ims-api 18.2)', () => {
    expect(csvFileName('private', 'eu-1', at)).toBe('private-images-eu-1-20260203081542.csv');
    expect(csvFileName('public', 'eu-1', at)).toBe('public-images-eu-1-20260203081542.csv');
  });
});

describe(csvFile.name, () => {
  it.each([
    [{}, 'ECS system disk image'],
    [{ virtual_env_type: 'Ironic' }, 'BMS system disk image'],
    [{ virtual_env_type: 'DataImage' }, 'Data disk image'],
    [{ virtual_env_type: 'IsoImage' }, 'ISO image'],
    [{ virtual_env_type: 'FusionCompute', __whole_image: 'true' }, 'Full-ECS image'],
  ])('has the columns of the private list, of %j (ims-api 18.2)', async (attributes, kind) => {
    const row = aRow({ attributes: { ...attributes, __os_version: 'CentOS 7.6 64bit', __system__cmkid: 'k' } });
    expect(await fileOf('private', row)).toEqual([
      'Name,ID,Status,OS,Image Type,Created,Disk Capacity (GB),Shared Disk,Image Size (Bytes),Minimum Memory (MB),Encrypted',
      `web,i1,active,CentOS 7.6 64bit,${kind},2026-02-03T08:15:42Z,40,,7,512,Yes`,
      '',
    ]);
  });

  it('has those of the public list', async () => {
    expect(await fileOf('public', aRow({ file_bytes: null }))).toEqual([
      'Name,Status,OS,Image Type,Created,System Disk (GB),Minimum Memory (MB)',
      'web,active,,ECS system disk image,2026-02-03T08:15:42Z,40,512',
      '',
    ]);
  });

  it('asks for no page before the one before it is taken, and for none once nobody listens', async () => {
    let asked = 0;
    let isOver = false;
    async function* pages() {
      try {
        for (; asked < 1000; asked += 1) yield Array.from({ length: 1000 }, () => aRow());
      } finally {
        isOver = true;
      }
    }
    let taken = 0;
    for await (const chunk of csvFile('private', pages())) {
      expect(Buffer.isBuffer(chunk)).toBe(true);
      taken += 1;
      // One is being taken, one waits.
      expect(asked).toBeLessThanOrEqual(taken + 1);
      if (taken === 5) break;
    }
    expect(isOver).toBe(true);
  });
});
