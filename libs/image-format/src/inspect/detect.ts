import type { DiskFormat } from '@ims/contract';
import { broken, unlisted } from '../refusal';
import type { FileProbe } from './file-probe';
import { QCOW_MAGIC } from './qcow2.inspect';
import { VHD_COOKIE, VHD_FOOTER_BYTES } from './vhd.inspect';
import { VHDX_MAGIC } from './vhdx.inspect';
import { VMDK_MAGIC, VMDK_TEXT } from './vmdk.inspect';

const bytes = (...values: number[]): Buffer => Buffer.from(values);

/** Formats that other tools would open by probing; none is listed, all are named so that the refusal can say what the file is. */
const FOREIGN: readonly { name: string; magic: Buffer | string; at?: number }[] = [
  { name: 'gzip', magic: bytes(0x1f, 0x8b, 0x08) },
  { name: 'xz', magic: bytes(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00) },
  { name: 'bzip2', magic: 'BZh' },
  { name: 'zip', magic: bytes(0x50, 0x4b, 0x03, 0x04) },
  { name: '7z', magic: bytes(0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c) },
  { name: 'rar', magic: 'Rar!\x1a\x07' },
  { name: 'zstd', magic: bytes(0x28, 0xb5, 0x2f, 0xfd) },
  { name: 'lz4', magic: bytes(0x04, 0x22, 0x4d, 0x18) },
  { name: 'tar or OVA', magic: 'ustar', at: 257 },
  { name: 'parallels', magic: 'WithoutFreeSpace' },
  { name: 'parallels', magic: 'WithouFreSpacExt' },
  { name: 'bochs', magic: 'Bochs Virtual HD Image' },
  { name: 'cloop', magic: '#!/bin/sh\n#V2.0 Format\n' },
  { name: 'ESX sparse VMDK', magic: 'COWD' },
  { name: 'ESX seSparse VMDK', magic: bytes(0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0) },
  { name: 'WIM', magic: 'MSWIM\0\0\0' },
  { name: 'ELF', magic: '\x7fELF' },
  { name: 'PDF', magic: '%PDF-' },
];

type Found = DiskFormat | 'vmdk-descriptor' | 'luks' | { foreign: string };

/**
 * The one format of a file (image-formats 1). More than one match is refused with `IMG.0057`; a partition table may only stand beside raw, an ISO hybrid
 * and the guest bytes of a fixed VHD.
 */
export function detect(probe: FileProbe, acceptIso: boolean): DiskFormat {
  const isIso = probe.startsWith('CD001', 32769);
  const found = [...containers(probe)];
  const [first] = found;
  if (found.length > 1 || (first !== undefined && isIso)) throw broken('the file is of more than one format');
  if (first === undefined) return isIso ? isoFormat(acceptIso) : rawFormat(probe);
  if (first === 'luks') throw broken('the file is an encrypted disk (LUKS)');
  if (first === 'vmdk-descriptor') throw broken('the file is a VMDK descriptor, which names other files');
  if (typeof first === 'object') throw unlisted(`the file is of format ${first.foreign}`);
  const isFixedVhd = first === 'vhd' && !probe.startsWith(VHD_COOKIE);
  if (hasPartitionTable(probe) && !isFixedVhd) throw broken(`the file is both ${first} and a partitioned disk`);
  return first;
}

function* containers(probe: FileProbe): Iterable<Found> {
  if (probe.startsWith(QCOW_MAGIC)) yield qcowVersion(probe);
  if (probe.startsWith('QED\0')) yield 'qed';
  if (probe.startsWith(VMDK_MAGIC)) yield 'vmdk';
  if (isVmdkText(probe)) yield 'vmdk-descriptor';
  if (probe.startsWith(VHD_COOKIE) || endsWithFooter(probe)) yield 'vhd';
  if (probe.startsWith(VHDX_MAGIC)) yield 'vhdx';
  if (probe.startsWith(bytes(0x7f, 0x10, 0xda, 0xbe), 64)) yield 'vdi';
  if (probe.startsWith('stream\0\0')) yield 'zvhd';
  if (probe.startsWith('z2strm\0\0')) yield 'zvhd2';
  if (probe.startsWith('LUKS\xba\xbe') || probe.startsWith('SKUL\xba\xbe')) yield 'luks';
  for (const { name, magic, at } of FOREIGN) if (probe.startsWith(magic, at ?? 0)) yield { foreign: name };
  // An Apple disk image is known by its trailer.
  if (trailer(probe, 'koly')) yield { foreign: 'Apple disk image' };
}

function qcowVersion(probe: FileProbe): DiskFormat {
  if (probe.head.length < 8) throw broken('the qcow2 header is cut off');
  switch (probe.head.readUInt32BE(4)) {
    case 1:
      return 'qcow';
    case 2:
    case 3:
      return 'qcow2';
    default:
      throw broken('the qcow2 version is unknown');
  }
}

const trailer = (probe: FileProbe, cookie: string): boolean => {
  const at = probe.tail.length - VHD_FOOTER_BYTES;
  return at >= 0 && probe.tail.subarray(at, at + cookie.length).equals(Buffer.from(cookie, 'latin1'));
};
const endsWithFooter = (probe: FileProbe): boolean => trailer(probe, VHD_COOKIE);

// Readers accept the line after comments and blanks, and in any case: looking only at offset 0 would let such a file pass as text.
const isVmdkText = (probe: FileProbe): boolean =>
  isText(probe.head) &&
  probe.head.subarray(0, 4096).toString('latin1').toLowerCase().includes(VMDK_TEXT.slice(2).toLowerCase());

const hasMbr = (probe: FileProbe): boolean => probe.startsWith(bytes(0x55, 0xaa), 510);
// At 4096 for disks with sectors of 4 KiB.
const hasGpt = (probe: FileProbe): boolean => probe.startsWith('EFI PART', 512) || probe.startsWith('EFI PART', 4096);
const hasPartitionTable = (probe: FileProbe): boolean => hasMbr(probe) || hasGpt(probe);

function isoFormat(acceptIso: boolean): DiskFormat {
  if (!acceptIso) throw broken('the file is an ISO image, which is no disk');
  return 'iso';
}

function rawFormat(probe: FileProbe): DiskFormat {
  const isWhole = probe.sizeBytes % 512 === 0;
  if (hasPartitionTable(probe)) {
    if (!isWhole) throw broken('the raw disk is cut off: its size is not whole sectors');
    return 'raw';
  }
  if (!isWhole || isText(probe.head)) throw unlisted('the file is not a disk image');
  return 'raw';
}

// Tab, line feed, form feed, carriage return and escape are what text files have below 32.
const TEXT_CONTROLS: ReadonlySet<number> = new Set([9, 10, 12, 13, 27]);
const isText = (head: Buffer): boolean => head.every((byte) => (byte >= 32 && byte !== 127) || TEXT_CONTROLS.has(byte));
