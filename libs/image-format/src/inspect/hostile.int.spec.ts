import { truncate, writeFile } from 'node:fs/promises';
import { ImsError } from '@ims/contract';
import { temporaryDirectory } from '@ims/testing';
import { openDisk } from '../open-disk';
import { prepareDisk } from '../prepare-disk';
import { DiskFiles, noise, readThroughExtents } from '../spec/disk-files.spec';
import { crc32c } from './crc32c';

const MIB = 2 ** 20;
type Patch = readonly [offset: number, bytes: Uint8Array];

const be32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const be64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};
const le32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const le64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};
const text = (value: string): Buffer => Buffer.from(value, 'latin1');

/** The refusal of a file, or what inspection accepted. */
async function answerTo(files: DiskFiles, name: string): Promise<string> {
  try {
    const { format, virtualSizeBytes } = await files.inspect(name);
    return `accepted as ${format} of ${virtualSizeBytes}`;
  } catch (error) {
    if (error instanceof ImsError) return error.code;
    throw error;
  }
}

/** Cases of the form "make a file of 1 MiB, overwrite some bytes" (image-formats 6). */
const PATCHED: readonly (readonly [
  name: string,
  create: readonly string[],
  patches: readonly Patch[],
  code: string,
])[] = [
  ['qcow2 backing file in etc', ['qcow2'], backing('/etc/passwd'), 'IMG.0057'],
  ['qcow2 backing file by json', ['qcow2'], backing('json:{"driver":"file","filename":"/etc/passwd"}'), 'IMG.0057'],
  ['qcow2 data file flag', ['qcow2'], [[72, be64(4n)]], 'IMG.0057'],
  [
    'qcow2 data file extension',
    ['qcow2'],
    [[112, Buffer.concat([be32(0x44415441), be32(11), text('/etc/passwd')])]],
    'IMG.0057',
  ],
  ['qcow2 unknown feature', ['qcow2'], [[72, be64(1n << 40n)]], 'IMG.0057'],
  ['qcow2 corrupt flag', ['qcow2'], [[72, be64(2n)]], 'IMG.0057'],
  [
    'qcow2 huge L1 and size',
    ['qcow2'],
    [
      [36, be32(0x7fffffff)],
      [24, be64(1n << 62n)],
    ],
    'IMG.0057',
  ],
  ['qcow2 huge size alone', ['qcow2'], [[24, be64(1n << 62n)]], 'IMG.0057'],
  ['qcow2 L1 of 33 MiB', ['qcow2'], [[36, be32((33 * MIB) / 8)]], 'IMG.0057'],
  ['qcow2 L1 beyond the end', ['qcow2'], [[40, be64(1n << 40n)]], 'IMG.0057'],
  ['qcow2 L1 that is not aligned', ['qcow2'], [[40, be64(0x30001n)]], 'IMG.0057'],
  ['qcow2 cluster bits 63', ['qcow2'], [[20, be32(63)]], 'IMG.0057'],
  ['qcow2 cluster bits 8', ['qcow2'], [[20, be32(8)]], 'IMG.0057'],
  ['qcow2 AES (FMT-07)', ['qcow2'], [[32, be32(1)]], 'IMG.0057'],
  ['qcow2 LUKS', ['qcow2'], [[32, be32(2)]], 'IMG.0057'],
  [
    'qcow2 encryption extension',
    ['qcow2'],
    [[112, Buffer.concat([be32(0x0537be77), be32(16), Buffer.alloc(16)])]],
    'IMG.0057',
  ],
  ['qcow2 extension without end', ['qcow2'], [[112, Buffer.concat([be32(0x12345678), be32(0xffffffff)])]], 'IMG.0057'],
  ['qcow2 refcount table beyond the end', ['qcow2'], [[48, be64(1n << 40n)]], 'IMG.0057'],
  ['qcow2 refcount table of 4 billion clusters', ['qcow2'], [[56, be32(0xffffffff)]], 'IMG.0057'],
  ['qcow2 with 100,000 snapshots', ['qcow2'], [[60, be32(100_000)]], 'IMG.0057'],
  [
    'qcow2 snapshot table beyond the end',
    ['qcow2'],
    [
      [60, be32(10)],
      [64, be64(1n << 40n)],
    ],
    'IMG.0057',
  ],
  ['qcow2 header length 8', ['qcow2'], [[100, be32(8)]], 'IMG.0057'],
  ['qcow2 version 4', ['qcow2'], [[4, be32(4)]], 'IMG.0057'],
  ['qcow2 compression type without its bit', ['qcow2'], [[104, Buffer.from([1])]], 'IMG.0057'],
  [
    'qcow2 compression type 7',
    ['qcow2'],
    [
      [72, be64(8n)],
      [104, Buffer.from([7])],
    ],
    'IMG.0057',
  ],
  ['qcow2 L2 table beyond the end', ['qcow2'], [[0x30000, be64(0x7000000000n)]], 'IMG.0057'],
  ['qcow2 in an ISO', ['qcow2'], [[32768, text('\x01CD001')]], 'IMG.0057'],
  ['qcow2 behind a GPT', ['qcow2'], [[512, text('EFI PART')]], 'IMG.0057'],
  ['qcow2 behind an MBR', ['qcow2'], [[510, Buffer.from([0x55, 0xaa])]], 'IMG.0057'],
  ['qcow2 that is a VDI as well', ['qcow2'], [[64, Buffer.from([0x7f, 0x10, 0xda, 0xbe])]], 'IMG.0057'],
  ['qcow2 that is a tar as well', ['qcow2'], [[257, text('ustar')]], 'IMG.0057'],
  [
    'qcow backing file',
    ['qcow'],
    [
      [8, be64(0x400n)],
      [16, be32(11)],
      [0x400, text('/etc/passwd')],
    ],
    'IMG.0057',
  ],
  ['qcow encrypted', ['qcow'], [[36, be32(1)]], 'IMG.0057'],
  ['qcow huge size', ['qcow'], [[24, be64(1n << 62n)]], 'IMG.0057'],
  ['qcow cluster bits 40', ['qcow'], [[32, Buffer.from([40])]], 'IMG.0057'],
  [
    'qed backing file',
    ['qed'],
    [
      [16, le64(1n)],
      [56, le32(64)],
      [60, le32(11)],
      [64, text('/etc/passwd')],
    ],
    'IMG.0057',
  ],
  ['qed unknown feature', ['qed'], [[16, le64(1n << 20n)]], 'IMG.0057'],
  ['qed cluster size 0', ['qed'], [[4, le32(0)]], 'IMG.0057'],
  ['qed L1 beyond the end', ['qed'], [[40, le64(1n << 40n)]], 'IMG.0057'],
  ['qed huge size', ['qed'], [[48, le64(1n << 62n)]], 'IMG.0057'],
  ['vmdk capacity of 2^60 sectors', ['vmdk'], [[12, le64(1n << 60n)]], 'IMG.0057'],
  ['vmdk of unknown version', ['vmdk'], [[4, le32(9)]], 'IMG.0057'],
  ['vmdk grain of 2^63 sectors', ['vmdk'], [[20, le64(1n << 63n)]], 'IMG.0057'],
  ['vmdk without descriptor', ['vmdk'], [[28, le64(0n)]], 'IMG.0057'],
  ['vmdk directory beyond the end', ['vmdk'], [[56, le64(1n << 40n)]], 'IMG.0057'],
  [
    'vdi overflow',
    ['vdi'],
    [
      [368, le64(1n << 63n)],
      [384, le32(0xffffffff)],
    ],
    'IMG.0057',
  ],
  ['vdi type 4', ['vdi'], [[76, le32(4)]], 'IMG.0057'],
  ['vdi with a parent', ['vdi'], [[440, noise(1, 16)]], 'IMG.0057'],
  ['vdi block size 0', ['vdi'], [[376, le32(0)]], 'IMG.0057'],
  ['vdi block beyond the stored ones', ['vdi'], [[512, le32(1000)]], 'IMG.0057'],
  ['vdi more blocks stored than there are', ['vdi'], [[388, le32(0xffffffff)]], 'IMG.0057'],
];

function backing(name: string): Patch[] {
  return [
    [8, be64(0x400n)],
    [16, be32(name.length)],
    [0x400, text(name)],
  ];
}

/** Files that need no real disk below them. */
const WRITTEN: readonly (readonly [name: string, content: Buffer, code: string])[] = [
  ['empty file', Buffer.alloc(0), 'IMG.0057'],
  ['one byte', Buffer.from('x'), 'IMG.0072'],
  ['text', Buffer.alloc(1024, 'just words\n'), 'IMG.0072'],
  ['noise that is not whole sectors', noise(1, 1000), 'IMG.0072'],
  ['partitioned disk that is not whole sectors', Buffer.concat([mbr(), noise(2, 100)]), 'IMG.0057'],
  ['LUKS', Buffer.concat([text('LUKS\xba\xbe\0\x01'), Buffer.alloc(4088)]), 'IMG.0057'],
  ['LUKS second header', Buffer.concat([text('SKUL\xba\xbe\0\x02'), Buffer.alloc(4088)]), 'IMG.0057'],
  ['vmdk descriptor', text('# Disk DescriptorFile\nversion=1\nRW 8 FLAT "/etc/passwd" 0\n'), 'IMG.0057'],
  ['vmdk descriptor behind blank lines', text('\n\n# disk descriptorfile\nRW 8 FLAT "../x" 0\n'), 'IMG.0057'],
  ['gzip', Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0]), noise(3, 2044)]), 'IMG.0072'],
  ['OVA', Buffer.concat([Buffer.alloc(257), text('ustar'), Buffer.alloc(1786)]), 'IMG.0072'],
  ['Apple disk image', Buffer.concat([noise(4, 1536), text('koly'), Buffer.alloc(508)]), 'IMG.0072'],
  ['ESX sparse disk', Buffer.concat([text('COWD'), Buffer.alloc(2044)]), 'IMG.0072'],
  ['parallels', Buffer.concat([text('WithoutFreeSpace'), Buffer.alloc(2032)]), 'IMG.0072'],
  ['ISO as a disk', Buffer.concat([Buffer.alloc(32768), text('\x01CD001\x01'), Buffer.alloc(2041)]), 'IMG.0057'],
  ['qcow2 magic and nothing else', Buffer.from([0x51, 0x46, 0x49, 0xfb]), 'IMG.0057'],
  ['vhdx magic and nothing else', text('vhdxfile'), 'IMG.0057'],
  ['VMDK magic and nothing else', text('KDMV'), 'IMG.0057'],
  ['zvhd magic and nothing else', Buffer.concat([text('stream\0\0'), Buffer.alloc(504)]), 'IMG.0057'],
  ['zvhd2 magic and nothing else', Buffer.concat([text('z2strm\0\0'), Buffer.alloc(504)]), 'IMG.0057'],
];

function mbr(): Buffer {
  const sector = Buffer.alloc(512);
  sector.writeUInt16BE(0x55aa, 510);
  return sector;
}

describe('hostile files are refused before any converter sees them (A1, A2, FMT-01)', () => {
  let files: DiskFiles;
  const create = async (name: string, format: string, ...options: string[]): Promise<void> =>
    files.qemuImg('create', '-q', '-f', format, ...options, name, '1M');

  beforeAll(async () => {
    files = await DiskFiles.in(await temporaryDirectory());
    await files.sparseRaw('source.raw');
  });

  it.each(['qcow2', 'qcow', 'qed', 'vmdk', 'vdi'])('accepts the %s file that the cases start from', async (format) => {
    await create(`clean.${format}`, format);
    expect(await answerTo(files, `clean.${format}`)).toBe(`accepted as ${format} of ${MIB}`);
  });

  it.each(PATCHED)('%s', async (name, [format = 'raw', ...options], patches, code) => {
    await create(name, format, ...options);
    await files.patch(name, patches);
    expect(await answerTo(files, name)).toBe(code);
  });

  it.each(WRITTEN)('%s', async (name, content, code) => {
    await writeFile(files.path(name), content);
    expect(await answerTo(files, name)).toBe(code);
  });

  it('accepts an ISO, also a hybrid with a partition table, only where an ISO is asked for', async () => {
    const iso = Buffer.concat([mbr(), Buffer.alloc(32256), text('\x01CD001\x01'), Buffer.alloc(2041)]);
    await writeFile(files.path('cd.iso'), iso);
    expect(await answerTo(files, 'cd.iso')).toBe('IMG.0057');
    expect(await files.inspect('cd.iso', { acceptIso: true })).toEqual({ format: 'iso', virtualSizeBytes: iso.length });
  });

  it('qcow2 of 60 TiB is over the largest disk', async () => {
    await files.qemuImg('create', '-q', '-f', 'qcow2', 'huge.qcow2', '60T');
    expect(await answerTo(files, 'huge.qcow2')).toBe('IMG.0055');
  });

  it('a file longer than 128 GiB is refused by its length alone (FMT-02)', async () => {
    await writeFile(files.path('long.raw'), '');
    await truncate(files.path('long.raw'), 128 * 2 ** 30 + 512);
    expect(await answerTo(files, 'long.raw')).toBe('IMG.0059');
  });

  it.each([200, 71, 8, 0x30000])('qcow2 cut to %d bytes', async (length) => {
    await create(`cut-${length}`, 'qcow2');
    await truncate(files.path(`cut-${length}`), length);
    expect(await answerTo(files, `cut-${length}`)).toBe('IMG.0057');
  });

  it.each([
    ['monolithicFlat', 'createType="monolithicSparse"', 'createType="monolithicFlat"'],
    ['a flat extent', ' SPARSE "', ' FLAT "'],
    ['a path outside', ' SPARSE "', ' SPARSE "../../'],
    ['an absolute path', ' SPARSE "', ' SPARSE "/'],
    ['a second extent', '\n# The Disk Data Base', '\nRW 8 FLAT "x" 0\n# The Disk Data Base'],
    ['a parent', 'parentCID=ffffffff', 'parentCID=12345678'],
    ['a parent by name', '\n# Extent description', '\nparentFileNameHint="x"\n# Extent description'],
    ['another capacity', 'RW 2048 ', 'RW 4096 '],
  ])('vmdk whose embedded descriptor has %s', async (name, from, to) => {
    await create(name, 'vmdk');
    const descriptor = (await files.read(name)).subarray(512, 512 + 20 * 512).toString('latin1');
    const changed = descriptor.replace(from, to);
    expect(changed).not.toBe(descriptor);
    await files.patch(name, [[512, text(changed.slice(0, 20 * 512))]]);
    expect(await answerTo(files, name)).toBe('IMG.0057');
  });

  it('streamOptimized vmdk with a bad grain marker ends with the same refusal when read', async () => {
    await files.qemuImg('convert', '-O', 'vmdk', '-o', 'subformat=streamOptimized', 'source.raw', 'marker.vmdk');
    // The header's overhead (u64 at 64) ends where the first grain starts; its length stands behind 8 bytes of sector number.
    const grain = Number((await files.read('marker.vmdk')).readBigUInt64LE(64)) * 512;
    await files.patch('marker.vmdk', [[grain + 8, le32(0x7fffffff)]]);
    const { disk } = await prepareDisk(await files.inspect('marker.vmdk'), await files.describe('marker.vmdk'));
    const reader = await openDisk(disk);
    await expect(readThroughExtents(reader)).rejects.toMatchObject({ code: 'IMG.0057' });
    await reader.close();
  });

  it.each([
    ['vmdk', 'subformat=streamOptimized'],
    ['vmdk', 'subformat=monolithicSparse'],
    ['qcow2', 'compat=1.1'],
    ['vhdx', 'block_size=1M'],
    ['vdi', 'static=off'],
    ['vpc', 'force_size=on'],
  ])(
    'a %s (%s) that is cut off in the middle is refused, at the latest when the lost range is read',
    async (format, option) => {
      const name = `half-${format}-${option}`;
      await files.qemuImg('convert', '-f', 'raw', '-O', format, '-o', option, 'source.raw', name);
      await truncate(files.path(name), Math.floor((await files.sizeOf(name)) / 1024) * 512);
      const readAll = async (): Promise<void> => {
        const { disk } = await prepareDisk(await files.inspect(name), await files.describe(name));
        const reader = await openDisk(disk);
        await readThroughExtents(reader).finally(() => reader.close());
      };
      await expect(readAll()).rejects.toMatchObject({ code: 'IMG.0057' });
    },
  );

  describe('streamOptimized vmdk whose grain directory is only known at its end', () => {
    /** What a writer does that cannot seek: the header says "see footer"; footer marker, footer and end marker close the file. */
    const streamed = async (name: string, changeFooter: (footer: Buffer) => void): Promise<void> => {
      await files.qemuImg('convert', '-O', 'vmdk', '-o', 'subformat=streamOptimized', 'source.raw', name);
      const file = await files.read(name);
      const footer = Buffer.from(file.subarray(0, 512));
      file.writeBigUInt64LE(0xffffffffffffffffn, 56);
      changeFooter(footer);
      const marker = Buffer.alloc(512);
      marker.writeBigUInt64LE(1n, 0);
      marker.writeUInt32LE(3, 12);
      await writeFile(files.path(name), Buffer.concat([file, marker, footer, Buffer.alloc(512)]));
    };

    it('is read through its footer', async () => {
      await streamed('footer.vmdk', () => undefined);
      const { disk } = await prepareDisk(await files.inspect('footer.vmdk'), await files.describe('footer.vmdk'));
      const reader = await openDisk(disk);
      const { bytes } = await readThroughExtents(reader);
      await reader.close();
      expect(bytes.equals(await files.read('source.raw'))).toBe(true);
    });
    it('is refused when the footer is cut off', async () => {
      await streamed('no-footer.vmdk', () => undefined);
      await truncate(files.path('no-footer.vmdk'), (await files.sizeOf('no-footer.vmdk')) - 1024);
      expect(await answerTo(files, 'no-footer.vmdk')).toBe('IMG.0057');
    });
    it('is refused when header and footer describe different disks', async () => {
      await streamed('two.vmdk', (footer) => footer.writeBigUInt64LE(2048n, 12));
      expect(await answerTo(files, 'two.vmdk')).toBe('IMG.0057');
    });
    it('is refused when the footer points to a footer again', async () => {
      await streamed('again.vmdk', (footer) => footer.writeBigUInt64LE(0xffffffffffffffffn, 56));
      expect(await answerTo(files, 'again.vmdk')).toBe('IMG.0057');
    });
  });

  describe('vhd', () => {
    const vhd = async (name: string, change: (file: Buffer) => Buffer): Promise<string> => {
      await files.qemuImg('create', '-q', '-f', 'vpc', '-o', 'subformat=dynamic,force_size=on', name, '4M');
      expect(await answerTo(files, name)).toBe(`accepted as vhd of ${4 * MIB}`);
      await writeFile(files.path(name), change(await files.read(name)));
      return answerTo(files, name);
    };
    const sealed = (file: Buffer): Buffer => {
      const end = file.length - 512;
      for (const [start, length, at] of [
        [0, 512, 64],
        [end, 512, 64],
        [512, 1024, 36],
      ] as const) {
        file.writeUInt32BE(0, start + at);
        const sum = file.subarray(start, start + length).reduce((total, byte) => total + byte, 0);
        file.writeUInt32BE(~sum >>> 0, start + at);
      }
      return file;
    };
    const inBoth = (file: Buffer, change: (footer: Buffer) => void): Buffer => {
      change(file.subarray(0, 512));
      change(file.subarray(file.length - 512));
      return file;
    };

    it('bad checksum in the footer alone falls back to the copy', async () => {
      expect(
        await vhd('one.vhd', (file) => {
          file[file.length - 512 + 40] = 0xff;
          return file;
        }),
      ).toBe(`accepted as vhd of ${4 * MIB}`);
    });
    it('bad checksum in footer and copy', async () => {
      const broken = (footer: Buffer): void => void (footer[40] = 0xff);
      expect(await vhd('both.vhd', (file) => inBoth(file, broken))).toBe('IMG.0057');
    });
    it('header offset 0, a loop', async () => {
      const loop = (footer: Buffer): void => void footer.writeBigUInt64BE(0n, 16);
      expect(await vhd('loop.vhd', (file) => sealed(inBoth(file, loop)))).toBe('IMG.0057');
    });
    it('block table of 2^32-1 entries', async () => {
      expect(
        await vhd('bat.vhd', (file) => {
          file.writeUInt32BE(0xffffffff, 512 + 28);
          return sealed(file);
        }),
      ).toBe('IMG.0057');
    });
    it('block table beyond the end', async () => {
      expect(
        await vhd('far.vhd', (file) => {
          file.writeBigUInt64BE(1n << 40n, 512 + 16);
          return sealed(file);
        }),
      ).toBe('IMG.0057');
    });
    it('block beyond the end', async () => {
      expect(
        await vhd('block.vhd', (file) => {
          file.writeUInt32BE(0x00ffffff, 1536);
          return file;
        }),
      ).toBe('IMG.0057');
    });
    it('type 4, differencing', async () => {
      const differencing = (footer: Buffer): void => void footer.writeUInt32BE(4, 60);
      expect(await vhd('diff.vhd', (file) => sealed(inBoth(file, differencing)))).toBe('IMG.0057');
    });
    it('size of 7e16 bytes', async () => {
      const huge = (footer: Buffer): void => void footer.writeBigUInt64BE(70_000_000_000_000_000n, 48);
      expect(await vhd('size.vhd', (file) => sealed(inBoth(file, huge)))).toBe('IMG.0057');
    });
    it('cut-off file', async () => {
      expect(await vhd('cut.vhd', (file) => file.subarray(0, file.length - 512))).toBe('IMG.0057');
    });
    it('fixed disk around a qcow2', async () => {
      await create('inner.qcow2', 'qcow2');
      await files.qemuImg(
        'convert',
        '-f',
        'raw',
        '-O',
        'vpc',
        '-o',
        'subformat=fixed,force_size=on',
        'inner.qcow2',
        'nested.vhd',
      );
      expect(await answerTo(files, 'nested.vhd')).toBe('IMG.0057');
    });
    it('fixed disk with a partition table is what a fixed disk is', async () => {
      await writeFile(files.path('mbr.raw'), Buffer.concat([mbr(), Buffer.alloc(MIB - 512)]));
      await files.qemuImg(
        'convert',
        '-f',
        'raw',
        '-O',
        'vpc',
        '-o',
        'subformat=fixed,force_size=on',
        'mbr.raw',
        'mbr.vhd',
      );
      expect(await answerTo(files, 'mbr.vhd')).toBe(`accepted as vhd of ${MIB}`);
    });
  });

  describe('vhdx', () => {
    const KIB = 1024;
    const vhdx = async (name: string, change: (file: Buffer) => void): Promise<string> => {
      await files.qemuImg('convert', '-f', 'raw', '-O', 'vhdx', '-o', 'block_size=1M', 'source.raw', name);
      const file = await files.read(name);
      change(file);
      await writeFile(files.path(name), file);
      return answerTo(files, name);
    };
    const sealHeaders = (file: Buffer): void => {
      for (const at of [64 * KIB, 128 * KIB]) file.writeUInt32LE(crc32c(file.subarray(at, at + 4 * KIB), 4), at + 4);
    };
    const sealRegions = (file: Buffer): void => {
      for (const at of [192 * KIB, 256 * KIB]) file.writeUInt32LE(crc32c(file.subarray(at, at + 64 * KIB), 4), at + 4);
    };
    /** Offsets of the two regions, by the order in which qemu writes them. */
    const regions = (file: Buffer): { bat: number; metadata: number } => ({
      bat: Number(file.readBigUInt64LE(192 * KIB + 16 + 16)),
      metadata: Number(file.readBigUInt64LE(192 * KIB + 48 + 16)),
    });

    it('is accepted as it is', async () => {
      expect(await vhdx('clean.vhdx', () => undefined)).toBe(`accepted as vhdx of ${20 * MIB + 2560}`);
    });
    it('dirty log (FMT-10)', async () => {
      expect(
        await vhdx('dirty.vhdx', (file) => {
          for (const at of [64 * KIB, 128 * KIB]) noise(7, 16).copy(file, at + 48);
          sealHeaders(file);
        }),
      ).toBe('IMG.0057');
    });
    it('both headers with bad checksums', async () => {
      expect(
        await vhdx('headers.vhdx', (file) => {
          for (const at of [64 * KIB, 128 * KIB]) file[at + 100] = 1;
        }),
      ).toBe('IMG.0057');
    });
    it('region beyond the end', async () => {
      expect(
        await vhdx('region.vhdx', (file) => {
          for (const at of [192 * KIB, 256 * KIB]) file.writeBigUInt64LE(1n << 40n, at + 32);
          sealRegions(file);
        }),
      ).toBe('IMG.0057');
    });
    it('overlapping regions', async () => {
      expect(
        await vhdx('overlap.vhdx', (file) => {
          for (const at of [192 * KIB, 256 * KIB]) file.copy(file, at + 32, at + 64, at + 72);
          sealRegions(file);
        }),
      ).toBe('IMG.0057');
    });
    it('block beyond the end, block used twice, block of a parent', async () => {
      expect(await vhdx('beyond.vhdx', (file) => file.writeBigUInt64LE((1n << 40n) | 6n, regions(file).bat))).toBe(
        'IMG.0057',
      );
      expect(await vhdx('partial.vhdx', (file) => file.writeBigUInt64LE((3n << 20n) | 7n, regions(file).bat))).toBe(
        'IMG.0057',
      );
      expect(
        await vhdx('twice.vhdx', (file) => {
          const { bat } = regions(file);
          for (let entry = 1; entry < 20; entry++) file.copy(file, bat + entry * 8, bat, bat + 8);
        }),
      ).toBe('IMG.0057');
    });
    it('has-parent flag and impossible sizes in the metadata', async () => {
      const item = (file: Buffer, index: number): number => {
        const { metadata } = regions(file);
        return metadata + file.readUInt32LE(metadata + 32 + index * 32 + 16);
      };
      expect(await vhdx('parent.vhdx', (file) => file.writeUInt32LE(2, item(file, 0) + 4))).toBe('IMG.0057');
      expect(await vhdx('size.vhdx', (file) => file.writeBigUInt64LE(1n << 62n, item(file, 1)))).toBe('IMG.0057');
      expect(await vhdx('blocks.vhdx', (file) => file.writeUInt32LE(3, item(file, 0)))).toBe('IMG.0057');
    });
  });

  describe('qed that was not closed cleanly is checked before use (FMT-14)', () => {
    const dirty = async (name: string, change: (file: Buffer, l2: number) => void): Promise<string> => {
      await files.qemuImg('convert', '-f', 'raw', '-O', 'qed', 'source.raw', name);
      const file = await files.read(name);
      file.writeBigUInt64LE(2n, 16);
      change(file, Number(file.readBigUInt64LE(Number(file.readBigUInt64LE(40)))));
      await writeFile(files.path(name), file);
      return answerTo(files, name);
    };

    it('and taken when its tables are sound', async () => {
      expect(await dirty('sound.qed', () => undefined)).toBe(`accepted as qed of ${20 * MIB + 2560}`);
      const { disk, release } = await prepareDisk(await files.inspect('sound.qed'), await files.describe('sound.qed'));
      const reader = await openDisk(disk);
      const { bytes } = await readThroughExtents(reader);
      await reader.close();
      await release();
      expect(bytes.equals(await files.read('source.raw'))).toBe(true);
    });
    it.each([
      ['a cluster in two places', (file: Buffer, l2: number) => file.copy(file, l2 + 8, l2, l2 + 8)],
      ['a cluster beyond the end', (file: Buffer, l2: number) => file.writeBigUInt64LE(1n << 40n, l2)],
      ['a cluster that is not aligned', (file: Buffer, l2: number) => file.writeBigUInt64LE(0x30200n, l2)],
      ['a table as its own cluster', (file: Buffer, l2: number) => file.writeBigUInt64LE(BigInt(l2), l2)],
    ])('and refused when it has %s', async (name, change) => {
      expect(await dirty(`${name}.qed`, (file, l2) => void change(file, l2))).toBe('IMG.0057');
    });
  });

  it('qcow2 whose L2 entries all name one cluster is stopped while its extents are listed (A2)', async () => {
    await files.qemuImg('create', '-q', '-f', 'qcow2', 'bomb.qcow2', '512M');
    await files.qemuIo('bomb.qcow2', 'qcow2', 'write -P 1 0 64k');
    const file = await files.read('bomb.qcow2');
    const l1 = Number(file.readBigUInt64BE(40));
    const l2 = Number(file.readBigUInt64BE(l1) & 0x00fffffffffffe00n);
    for (let entry = 1; entry < 8192; entry++) file.copy(file, l2 + entry * 8, l2, l2 + 8);
    await writeFile(files.path('bomb.qcow2'), file);
    const { disk } = await prepareDisk(await files.inspect('bomb.qcow2'), await files.describe('bomb.qcow2'));
    const reader = await openDisk(disk);
    await expect(readThroughExtents(reader)).rejects.toMatchObject({ code: 'IMG.0057' });
    await reader.close();
  });

  it.each([
    ['a data cluster beyond the end', 0x7000000000000n],
    ['a compressed cluster beyond the end', 0x4000007000000000n],
    ['a compressed cluster that is none', 0x4000000000000000n],
  ])('qcow2 whose mapping names %s', async (name, entry) => {
    await files.qemuImg('create', '-q', '-f', 'qcow2', name, '1M');
    await files.qemuIo(name, 'qcow2', 'write -P 1 0 64k');
    const file = await files.read(name);
    const l2 = Number(file.readBigUInt64BE(Number(file.readBigUInt64BE(40))) & 0x00fffffffffffe00n);
    await files.patch(name, [[l2, be64(entry)]]);
    const { disk } = await prepareDisk(await files.inspect(name), await files.describe(name));
    const reader = await openDisk(disk);
    await expect(reader.read(0, Buffer.alloc(4096))).rejects.toMatchObject({ code: 'IMG.0057' });
    await reader.close();
  });
});
