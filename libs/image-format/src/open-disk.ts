import type { ByteSource } from '@ims/buckets';
import { openSource } from '@ims/buckets';
import type { DiskDescriptor, DiskReader, OwnReader } from './disk-reader';
import { FileProbe } from './inspect/file-probe';
import { inspectVdi } from './inspect/vdi.inspect';
import { inspectVhd } from './inspect/vhd.inspect';
import { inspectVhdx } from './inspect/vhdx.inspect';
import { NbdReader } from './nbd/nbd.reader';
import { BlockMapReader } from './readers/block-map.reader';
import { Qcow2Reader } from './readers/qcow2.reader';
import { RawReader } from './readers/raw.reader';
import { VmdkReader } from './readers/vmdk.reader';
import { openZvhd, openZvhd2 } from './zvhd';

/**
 * Opens a reader of its own from plain data; works in any thread. The caller closes it, which also closes its source.
 * Fails with `IMG.0057` when the content is not what inspection saw, with `SourceChangedError` when the file is no longer the pinned one.
 *
 * @example const reader = await openDisk(workerData.disk);
 */
export async function openDisk(descriptor: DiskDescriptor): Promise<DiskReader> {
  if (descriptor.reader === 'nbd') return NbdReader.connect(descriptor.socketPath);
  const source = await openSource(descriptor.source);
  try {
    return await openReader(descriptor.reader, source, descriptor.virtualSizeBytes);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/**
 * The same on a source that is open already. Closing the reader closes the source; when opening fails, the source stays open.
 * `virtualSizeBytes` is what inspection found; only raw disks have no other record of it.
 */
export async function openReader(kind: OwnReader, source: ByteSource, virtualSizeBytes: number): Promise<DiskReader> {
  switch (kind) {
    case 'raw':
      return new RawReader(source, virtualSizeBytes);
    case 'qcow2':
      return Qcow2Reader.open(source);
    case 'vmdk':
      return VmdkReader.open(source);
    case 'vhd': {
      const layout = await inspectVhd(await FileProbe.of(source));
      return layout.kind === 'fixed'
        ? new RawReader(source, layout.virtualSizeBytes)
        : new BlockMapReader(source, layout);
    }
    case 'vhdx':
      return new BlockMapReader(source, await inspectVhdx(await FileProbe.of(source)));
    case 'vdi':
      return new BlockMapReader(source, await inspectVdi(await FileProbe.of(source)));
    case 'zvhd':
      return openZvhd(source);
    case 'zvhd2':
      return openZvhd2(source);
    default:
      return kind satisfies never;
  }
}
