import type { DiskView } from './disk-view';

/** File systems and the like that can be told by a magic number (image-formats 8). */
export type FileSystemKind = 'ext' | 'xfs' | 'btrfs' | 'ntfs' | 'fat' | 'lvm' | 'luks' | 'swap' | 'iso9660';

const MAGICS: { kind: FileSystemKind; offset: number; magic: string }[] = [
  { kind: 'xfs', offset: 0, magic: 'XFSB' },
  { kind: 'luks', offset: 0, magic: 'LUKS\xba\xbe' },
  { kind: 'ntfs', offset: 3, magic: 'NTFS    ' },
  { kind: 'fat', offset: 54, magic: 'FAT16   ' },
  { kind: 'fat', offset: 54, magic: 'FAT12   ' },
  { kind: 'fat', offset: 82, magic: 'FAT32   ' },
  // LVM labels one of the first four sectors; every tool of today uses the second.
  { kind: 'lvm', offset: 512, magic: 'LABELONE' },
  { kind: 'ext', offset: 1080, magic: '\x53\xef' },
  { kind: 'swap', offset: 4086, magic: 'SWAPSPACE2' },
  { kind: 'iso9660', offset: 32_769, magic: 'CD001' },
  { kind: 'btrfs', offset: 65_600, magic: '_BHRfS_M' },
];

/** The kind of what lies in a span of the disk, or `undefined` when no magic number is there. */
export async function fileSystemKind(
  view: DiskView,
  span: { offset: number; sizeBytes: number },
): Promise<FileSystemKind | undefined> {
  for (const { kind, offset, magic } of MAGICS) {
    if (offset + magic.length > span.sizeBytes) continue;
    const found = await view.bytes(span.offset + offset, magic.length);
    if (found.toString('latin1') === magic) return kind;
  }
  return undefined;
}
