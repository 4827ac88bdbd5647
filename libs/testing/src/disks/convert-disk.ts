import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, constants, open, type FileHandle } from 'node:fs/promises';
import { createReadStream, createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { writeZvhd, writeZvhd2, zvhd2Identity, type DiskReader, type Extent } from '@ims/image-format';
import type { DiskFormat } from '@ims/contract';

const run = promisify(execFile);

/** How each variant is written: by qemu-img (`-O` and `-o`), or by a writer of ours. */
const VARIANTS = {
  raw: { format: 'raw', suffix: 'img', by: 'copy' },
  'qcow2-v2': { format: 'qcow2', suffix: 'v2.qcow2', by: 'qemu', driver: 'qcow2', options: 'compat=0.10' },
  'qcow2-v3': { format: 'qcow2', suffix: 'v3.qcow2', by: 'qemu', driver: 'qcow2', options: 'compat=1.1' },
  'qcow2-zlib': {
    format: 'qcow2',
    suffix: 'zlib.qcow2',
    by: 'qemu',
    driver: 'qcow2',
    options: 'compression_type=zlib',
    compress: true,
  },
  'qcow2-zstd': {
    format: 'qcow2',
    suffix: 'zstd.qcow2',
    by: 'qemu',
    driver: 'qcow2',
    options: 'compression_type=zstd',
    compress: true,
  },
  'vmdk-sparse': {
    format: 'vmdk',
    suffix: 'sparse.vmdk',
    by: 'qemu',
    driver: 'vmdk',
    options: 'subformat=monolithicSparse',
  },
  'vmdk-stream': {
    format: 'vmdk',
    suffix: 'stream.vmdk',
    by: 'qemu',
    driver: 'vmdk',
    options: 'subformat=streamOptimized',
  },
  // Without force_size qemu-img grows the disk to whole cylinders.
  'vhd-fixed': {
    format: 'vhd',
    suffix: 'fixed.vhd',
    by: 'qemu',
    driver: 'vpc',
    options: 'subformat=fixed,force_size=on',
  },
  'vhd-dynamic': {
    format: 'vhd',
    suffix: 'dynamic.vhd',
    by: 'qemu',
    driver: 'vpc',
    options: 'subformat=dynamic,force_size=on',
  },
  vhdx: { format: 'vhdx', suffix: 'vhdx', by: 'qemu', driver: 'vhdx', options: 'subformat=dynamic' },
  vdi: { format: 'vdi', suffix: 'vdi', by: 'qemu', driver: 'vdi', options: '' },
  qed: { format: 'qed', suffix: 'qed', by: 'qemu', driver: 'qed', options: '' },
  qcow: { format: 'qcow', suffix: 'qcow', by: 'qemu', driver: 'qcow', options: '' },
  zvhd: { format: 'zvhd', suffix: 'zvhd', by: 'writer', write: writeZvhd },
  zvhd2: { format: 'zvhd2', suffix: 'zvhd2', by: 'writer', write: writeZvhd2 },
} as const satisfies Record<
  string,
  { format: DiskFormat; suffix: string } & ({ by: 'copy' } | QemuVariant | WriterVariant)
>;

interface QemuVariant {
  by: 'qemu';
  driver: string;
  options: string;
  compress?: true;
}

interface WriterVariant {
  by: 'writer';
  write: typeof writeZvhd;
}

/** A file format together with the way it is written, such as `qcow2-zstd` or `vhd-fixed`. */
export type DiskVariant = keyof typeof VARIANTS;

const isVariant = (name: string): name is DiskVariant => Object.hasOwn(VARIANTS, name);

/** Every variant that can be imported, with the format that inspection must find. */
export const DISK_VARIANTS: readonly { variant: DiskVariant; format: DiskFormat }[] = Object.keys(VARIANTS)
  .filter(isVariant)
  .map((variant) => ({ variant, format: VARIANTS[variant].format }));

/**
 * Converts a raw disk image into `variant`, beside it unless `target` is given, and returns the new file's path. The content stays
 * the same to the byte, so `sha256OfRaw` of the source describes every result.
 *
 * @example const qcow2 = await convertDisk(disk.path, 'qcow2-zstd');
 */
export async function convertDisk(raw: string, variant: DiskVariant, target?: string): Promise<string> {
  const how = VARIANTS[variant];
  const path = target ?? `${raw.replace(/\.raw$/, '')}.${how.suffix}`;
  switch (how.by) {
    case 'copy':
      await copyFile(raw, path, constants.COPYFILE_FICLONE);
      return path;
    case 'qemu': {
      const compress = 'compress' in how ? ['-c'] : [];
      const options = how.options === '' ? [] : ['-o', how.options];
      await run('qemu-img', ['convert', '-f', 'raw', '-O', how.driver, ...compress, ...options, raw, path]);
      return path;
    }
    case 'writer': {
      const disk = await openRawFile(raw);
      try {
        const chunks = how.write(disk, zvhd2Identity(await sha256OfRaw(raw)));
        await pipeline(Readable.from(chunks), createWriteStream(path));
      } finally {
        await disk.close();
      }
      return path;
    }
    default:
      return how satisfies never;
  }
}

/** SHA-256 (hex) of a file's bytes: of a raw image, that is the digest of the guest's disk. */
export async function sha256OfRaw(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  return hash.digest('hex');
}

/** A raw file as a disk of one extent: the writers find zero blocks themselves. */
async function openRawFile(path: string): Promise<DiskReader> {
  const file = await open(path, 'r');
  const virtualSizeBytes = (await file.stat()).size;
  return {
    virtualSizeBytes,
    async *extents(): AsyncGenerator<Extent> {
      yield { offset: 0, length: virtualSizeBytes };
    },
    read: (offset, target) => readFully(file, offset, target),
    close: () => file.close(),
  };
}

async function readFully(file: FileHandle, offset: number, target: Uint8Array): Promise<void> {
  let done = 0;
  while (done < target.length) {
    const { bytesRead } = await file.read(target, done, target.length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  target.fill(0, done);
}
