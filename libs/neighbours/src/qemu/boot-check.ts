import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDisk } from '@ims/image-format';
import type { BootCheckPort, BootCheckRequest, BootCheckResult } from '../boot-check.port';
import { GRANULE_BYTES, LayerFile } from '../disk/layer-file';
import { LayeredDisk } from '../disk/layered-disk';
import { NbdExport } from '../nbd/nbd-export';
import { verdictOf, watchConsole } from './console-verdict';
import { QemuMachine, whyNoMachine } from './qemu-machine';

// Enough for the installers and kernels of today's distributions to print their first lines.
const MEMORY_MIB = 512;
const SECTOR_BYTES = 512;

/**
 * Boots disks in a virtual machine and reads their serial console. What the guest writes goes into a layer that is thrown away, so the disk
 * itself is only read, and only as far as booting asks for it.
 */
export class QemuBootCheck implements BootCheckPort {
  async bootCheck(request: BootCheckRequest): Promise<BootCheckResult> {
    request.signal?.throwIfAborted();
    const missing = await whyNoMachine(request.firmware);
    if (missing !== undefined) return { verdict: 'not-checked', evidence: missing };
    const directory = await mkdtemp(join(tmpdir(), 'ims-boot-'));
    try {
      const reader = 'read' in request.disk ? request.disk : await openDisk(request.disk);
      const sizeBytes = Math.ceil(reader.virtualSizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
      const layer = await LayerFile.create(directory, { id: 'boot', sizeBytes, granuleBytes: GRANULE_BYTES });
      const disk = new LayeredDisk(sizeBytes, [layer], {
        sizeBytes: reader.virtualSizeBytes,
        read: (offset, target, signal) => reader.read(offset, target, signal),
        // A guest reads what it wants; nobody asks this disk where its data lies.
        dataRanges: (offset, length) => Promise.resolve([{ offset, length }]),
        close: () => reader.close(),
      });
      try {
        const served = await NbdExport.listen(join(directory, 'disk'), disk, { readOnly: false });
        try {
          return await boot(request, served.socketPath);
        } finally {
          await served.close();
        }
      } finally {
        await disk.close();
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
}

async function boot(request: BootCheckRequest, socketPath: string): Promise<BootCheckResult> {
  let machine: QemuMachine;
  try {
    machine = await QemuMachine.start({
      name: 'boot check',
      firmware: request.firmware,
      memoryMib: MEMORY_MIB,
      disks: [{ socketPath, bootIndex: 0, readOnly: false }],
    });
  } catch (error) {
    return { verdict: 'not-checked', evidence: error instanceof Error ? error.message : String(error) };
  }
  let printed = '';
  try {
    await watchConsole({ read: () => machine.console(), isRunning: () => machine.isRunning }, request);
  } finally {
    printed = await machine.stop();
  }
  request.signal?.throwIfAborted();
  return verdictOf(request.expect, printed);
}
