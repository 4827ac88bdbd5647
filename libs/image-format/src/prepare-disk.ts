import { join } from 'node:path';
import { locateObject, openSource } from '@ims/buckets';
import type { SourceDescriptor } from '@ims/buckets';
import type { DiskDescriptor, Inspection } from './disk-reader';
import type { QemuFormat, QemuNbd, Sandbox } from './nbd/qemu-nbd';
import { startQemuNbd, startQemuNbdOnSocket } from './nbd/qemu-nbd';
import { SourceServer } from './nbd/source-server';
import { broken } from './refusal';

export interface PrepareOptions {
  sandbox?: Partial<Sandbox>;
  /** Ends a converter that was started. */
  signal?: AbortSignal;
}

export interface PreparedDisk {
  disk: DiskDescriptor;
  /** Ends what the disk needs to be readable. Safe to call twice; call it after every reader is closed. */
  release(): Promise<void>;
}

const SOURCE_SOCKET_NAME = 'source';

/**
 * Makes an inspected file readable as a disk (image-formats 5). Formats with a reader of ours need nothing; for the others a sandboxed converter runs
 * until `release`: on the file itself where it lies in a local directory, else on the bytes of its store, served over a private socket.
 * Fails like `startQemuNbd`, with `IMG.0057` when the converter sees another size than inspection did, and with `SourceChangedError`.
 *
 * @example const { disk, release } = await prepareDisk(await inspect(source), descriptor, { signal });
 */
export async function prepareDisk(
  inspection: Inspection,
  source: SourceDescriptor,
  options: PrepareOptions = {},
): Promise<PreparedDisk> {
  const { virtualSizeBytes } = inspection;
  const nothing = (): Promise<void> => Promise.resolve();
  switch (inspection.format) {
    case 'raw':
    case 'iso':
      return { disk: { reader: 'raw', source, virtualSizeBytes }, release: nothing };
    case 'qcow2':
    case 'vmdk':
    case 'vhd':
    case 'vhdx':
    case 'vdi':
    case 'zvhd':
    case 'zvhd2':
      return { disk: { reader: inspection.format, source, virtualSizeBytes }, release: nothing };
    case 'qcow':
    case 'qed':
      return convert(inspection.format, virtualSizeBytes, source, options);
    default:
      return inspection.format satisfies never;
  }
}

async function convert(
  format: QemuFormat,
  virtualSizeBytes: number,
  source: SourceDescriptor,
  options: PrepareOptions,
): Promise<PreparedDisk> {
  const bytes = await openSource(source);
  let server: SourceServer | undefined;
  let nbd: QemuNbd | undefined;
  const release = async (): Promise<void> => {
    await nbd?.stop();
    await server?.close();
    await bytes.close();
  };
  const storeFailed = new AbortController();
  let released: Promise<void> | undefined;
  try {
    const path = source.driver === 'directory' ? await locateObject(source.root, source.file) : undefined;
    nbd =
      path !== undefined
        ? await startQemuNbd({ ...options, path, format })
        : await startQemuNbdOnSocket({
            ...options,
            signal: AbortSignal.any([storeFailed.signal, ...(options.signal === undefined ? [] : [options.signal])]),
            format,
            sourceSocketName: SOURCE_SOCKET_NAME,
            prepare: async (socketDir) => {
              server = await SourceServer.listen(join(socketDir, SOURCE_SOCKET_NAME), bytes, () => storeFailed.abort());
            },
          });
    // The converter has the file open now; if it still is the pinned one, that is what the converter has.
    await bytes.checkUnchanged();
    if (nbd.virtualSizeBytes !== virtualSizeBytes)
      throw broken('the converter and the inspection see disks of different size');
    return {
      disk: { reader: 'nbd', socketPath: nbd.socketPath, virtualSizeBytes },
      release: () => (released ??= release()),
    };
  } catch (error) {
    await release();
    throw server?.failure ?? error;
  }
}
