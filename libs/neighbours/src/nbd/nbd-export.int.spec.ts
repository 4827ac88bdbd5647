import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openDisk } from '@ims/image-format';
import { GRANULE_BYTES, LayerFile } from '../disk/layer-file';
import { LayeredDisk } from '../disk/layered-disk';
import { NbdExport } from './nbd-export';

const run = promisify(execFile);
const SIZE_BYTES = 256 * GRANULE_BYTES;

let directory: string;
let disk: LayeredDisk;
let served: NbdExport;
let url: string;

async function serve(readOnly: boolean): Promise<void> {
  served = await NbdExport.listen(join(directory, 'disk.sock'), disk, { readOnly });
  url = `nbd+unix:///?socket=${served.socketPath}`;
}

const qemuIo = (...commands: string[]): Promise<{ stdout: string }> =>
  run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), url]);

beforeEach(async () => {
  // Short, as a socket path must be.
  directory = await mkdtemp(join(tmpdir(), 'nbd-spec-'));
  const file = await LayerFile.create(directory, { id: 'disk', sizeBytes: SIZE_BYTES, granuleBytes: GRANULE_BYTES });
  disk = new LayeredDisk(SIZE_BYTES, [file], undefined);
});

afterEach(async () => {
  await served.close();
  await disk.close();
  await rm(directory, { recursive: true, force: true });
});

describe(NbdExport.name, () => {
  it('takes the writes of QEMU and gives them back to QEMU', async () => {
    await serve(false);
    await qemuIo('write -P 0x5a 1000448 200704', 'write -z 1048576 65536', 'flush');
    await qemuIo(
      'read -P 0x5a 1000448 48128',
      'read -P 0 1048576 65536',
      'read -P 0x5a 1114112 87040',
      'read -P 0 0 1000448',
    );
    const bytes = Buffer.alloc(512);
    await disk.read(1000448, bytes);
    expect(bytes.every((byte) => byte === 0x5a)).toBe(true);
  });

  it('tells QEMU where data lies, and QEMU copies the disk byte for byte', async () => {
    const content = randomBytes(3 * GRANULE_BYTES);
    await disk.write(10 * GRANULE_BYTES, content);
    await disk.write(200 * GRANULE_BYTES, content);
    await serve(true);
    const { stdout } = await run('qemu-img', ['map', '--output=json', '-f', 'raw', url]);
    // Written by qemu-img; only the fields looked at are named.
    const map = JSON.parse(stdout) as { start: number; length: number; data: boolean }[];
    expect(map.filter(({ data }) => data).map(({ start, length }) => [start, length])).toEqual([
      [10 * GRANULE_BYTES, 3 * GRANULE_BYTES],
      [200 * GRANULE_BYTES, 3 * GRANULE_BYTES],
    ]);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', url, join(directory, 'copy.raw')]);
    const whole = Buffer.alloc(SIZE_BYTES);
    await disk.read(0, whole);
    expect((await readFile(join(directory, 'copy.raw'))).equals(whole)).toBe(true);
  });

  it('is read by the reader that ingesting threads use', async () => {
    const content = randomBytes(GRANULE_BYTES + 777);
    await disk.write(5 * GRANULE_BYTES, content);
    await serve(true);
    const reader = await openDisk({ reader: 'nbd', socketPath: served.socketPath, virtualSizeBytes: SIZE_BYTES });
    const extents = [];
    for await (const extent of reader.extents()) extents.push(extent);
    expect(extents).toEqual([{ offset: 5 * GRANULE_BYTES, length: 2 * GRANULE_BYTES }]);
    const bytes = Buffer.alloc(content.length);
    await reader.read(5 * GRANULE_BYTES, bytes);
    expect(bytes.equals(content)).toBe(true);
    await reader.close();
  });

  it('refuses writes to a read-only disk', async () => {
    await serve(true);
    await expect(qemuIo('write -P 1 0 512')).rejects.toThrow(/read-only|not permitted|Permission/i);
  });

  it('ends the connection of a peer that does not speak the protocol, and goes on serving', async () => {
    await serve(true);
    const socket = connect(served.socketPath);
    // It may be closed while we still write.
    socket.on('error', () => undefined);
    socket.resume();
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.write(Buffer.alloc(64, 0xff));
    await closed;
    await run('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 0 0 512', url]);
  });
});
