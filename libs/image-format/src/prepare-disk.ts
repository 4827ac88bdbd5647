import { join } from 'node:path';
import { locateObject, openSource } from '@ims/buckets';
import type { ByteSource, SourceDescriptor } from '@ims/buckets';
import type { DiskDescriptor, DiskReader, Inspection } from './disk-reader';
import type { QemuFormat, QemuNbd, Sandbox } from './nbd/qemu-nbd';
import { startQemuNbd, startQemuNbdOnSocket } from './nbd/qemu-nbd';
import { SourceServer } from './nbd/source-server';
import { openReader } from './open-disk';
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

/** A disk that is read by description, from any thread, or by the reader at hand, in this one alone. */
export type OpenedDisk =
  | ({ kind: 'described' } & PreparedDisk)
  | {
      kind: 'opened';
      reader: DiskReader;
      /** Ends what the disk needs to be readable. */
      release(): Promise<void>;
    };

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

/**
 * The same for bytes that only this process can read. The disk is readable here alone too, unless a converter makes it: then it can be read like
 * any other. Closes `bytes` at the release, and when it fails.
 *
 * @example const { reader, release } = await openInspected(await inspect(bytes), bytes, { signal });
 */
export async function openInspected(
  inspection: Inspection,
  bytes: ByteSource,
  options: PrepareOptions = {},
): Promise<OpenedDisk> {
  const { format, virtualSizeBytes } = inspection;
  if (format === 'qcow' || format === 'qed') {
    const { disk, release } = await convertBytes(format, virtualSizeBytes, bytes, undefined, options);
    return { kind: 'described', disk, release };
  }
  try {
    const reader = await openReader(format === 'iso' ? 'raw' : format, bytes, virtualSizeBytes);
    return { kind: 'opened', reader, release: () => reader.close() };
  } catch (error) {
    await bytes.close();
    throw error;
  }
}

async function convert(
  format: QemuFormat,
  virtualSizeBytes: number,
  source: SourceDescriptor,
  options: PrepareOptions,
): Promise<PreparedDisk> {
  const path = source.driver === 'directory' ? await locateObject(source.root, source.file) : undefined;
  return convertBytes(format, virtualSizeBytes, await openSource(source), path, options);
}

/** Closes `bytes` at the release, and when it fails. */
async function convertBytes(
  format: QemuFormat,
  virtualSizeBytes: number,
  bytes: ByteSource,
  path: string | undefined,
  options: PrepareOptions,
): Promise<PreparedDisk> {
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
