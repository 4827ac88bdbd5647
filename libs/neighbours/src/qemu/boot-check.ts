import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from '@ims/embedded';
import { openDisk } from '@ims/image-format';
import type { BootCheckPort, BootCheckRequest, BootCheckResult } from '../boot-check.port';
import { GRANULE_BYTES, LayerFile } from '../disk/layer-file';
import { LayeredDisk } from '../disk/layered-disk';
import { NbdExport } from '../nbd/nbd-export';
import { QemuMachine, whyNoMachine } from './qemu-machine';

// Enough for the installers and kernels of today's distributions to print their first lines.
const MEMORY_MIB = 512;
const SECTOR_BYTES = 512;
// What a person wants to see of a console that did not print the expected words.
const EVIDENCE_CHARACTERS = 400;

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
      const reader = await openDisk(request.disk);
      const sizeBytes = Math.ceil(reader.virtualSizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
      const layer = await LayerFile.create(directory, { id: 'boot', sizeBytes, granuleBytes: GRANULE_BYTES });
      const disk = new LayeredDisk(sizeBytes, [layer], {
        sizeBytes: reader.virtualSizeBytes,
        read: (offset, target, signal) => reader.read(offset, target, signal),
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
    await waitFor(
      async () => {
        const hasEnded = !machine.isRunning;
        printed = await machine.console();
        // A global or sticky expression would go on from its last match.
        request.expect.lastIndex = 0;
        return request.signal?.aborted === true || request.expect.test(printed) || hasEnded;
      },
      { deadlineMs: request.timeoutMs, what: 'the console' },
    ).catch(() => undefined);
  } finally {
    printed = await machine.stop();
  }
  request.signal?.throwIfAborted();
  request.expect.lastIndex = 0;
  const found = request.expect.exec(printed);
  if (found !== null) return { verdict: 'boots', evidence: lineAround(printed, found.index) };
  const tail = printed.trim().slice(-EVIDENCE_CHARACTERS);
  return {
    verdict: 'does-not-boot',
    evidence: tail === '' ? 'the serial console printed nothing' : `the serial console ended with: ${tail}`,
  };
}

function lineAround(text: string, index: number): string {
  const start = text.lastIndexOf('\n', index) + 1;
  const end = text.indexOf('\n', index);
  return text
    .slice(start, end < 0 ? undefined : end)
    .trim()
    .slice(0, EVIDENCE_CHARACTERS);
}
