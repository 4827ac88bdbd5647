import { createServer, type Server } from 'node:http';
import { readdir } from 'node:fs/promises';
import type { SourceDescriptor } from '@ims/buckets';
import { temporaryDirectory } from '@ims/testing';
import { openDisk } from '../open-disk';
import { prepareDisk } from '../prepare-disk';
import { DiskFiles, readThroughExtents } from '../spec/disk-files.spec';

/** The two calls of an object store that reading a pinned object needs, with real conditions: HEAD and GET with Range and If-Match. */
class ObjectServer {
  etag = '"one"';
  reads = 0;
  private constructor(
    private readonly server: Server,
    readonly endpoint: string,
  ) {}

  static async of(content: Buffer): Promise<ObjectServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const objects = new ObjectServer(server, `http://127.0.0.1:${address.port}`);
    server.on('request', (request, response) => {
      const ifMatch = request.headers['if-match'];
      if (ifMatch !== undefined && ifMatch !== objects.etag) return response.writeHead(412).end();
      response.setHeader('ETag', objects.etag);
      const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
      if (request.method === 'HEAD' || range === null) {
        return response.writeHead(200, { 'Content-Length': content.length }).end();
      }
      objects.reads++;
      const part = content.subarray(Number(range[1]), Number(range[2]) + 1);
      return response.writeHead(206, { 'Content-Length': part.length }).end(part);
    });
    return objects;
  }

  describe(sizeBytes: number): SourceDescriptor {
    return {
      driver: 's3',
      endpoint: this.endpoint,
      region: 'region-1',
      accessKeyId: 'reader',
      secretAccessKey: 'of-a-test-server',
      forcePathStyle: true,
      file: { bucket: 'disks', key: 'a/disk.qed', etag: this.etag, sizeBytes, modifiedAt: '2026-01-01T00:00:00.000Z' },
    };
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

describe('a converter on an object of a remote store', () => {
  let files: DiskFiles;
  let runtimeDir: string;
  let content: Buffer;
  let objects: ObjectServer;

  beforeAll(async () => {
    runtimeDir = await temporaryDirectory();
    files = await DiskFiles.in(await temporaryDirectory());
    const { sizeBytes } = await files.sparseRaw('source.raw');
    await files.qemuImg('convert', '-f', 'raw', '-O', 'qed', 'source.raw', 'disk.qed');
    content = await files.read('disk.qed');
    expect(sizeBytes).toBe((await files.inspect('disk.qed')).virtualSizeBytes);
  });
  beforeEach(async () => {
    objects = await ObjectServer.of(content);
  });
  afterEach(async () => {
    await objects.close();
    expect(await readdir(runtimeDir)).toEqual([]);
  });

  const prepare = async (): ReturnType<typeof prepareDisk> =>
    prepareDisk(await files.inspect('disk.qed'), objects.describe(content.length), { sandbox: { runtimeDir } });

  it('reads it through a private socket, without a copy on disk', async () => {
    const { disk, release } = await prepare();
    const reader = await openDisk(disk);
    const { bytes } = await readThroughExtents(reader);
    await reader.close();
    await release();
    await release();
    expect(bytes.equals(await files.read('source.raw'))).toBe(true);
    expect(objects.reads).toBeGreaterThan(0);
  });

  it('ends with IMG.0061, not as damaged, when the object is replaced meanwhile', async () => {
    const { disk, release } = await prepare();
    const reader = await openDisk(disk);
    objects.etag = '"two"';
    await expect(readThroughExtents(reader)).rejects.toMatchObject({ code: 'IMG.0061' });
    await reader.close();
    await release();
  });

  it('tells the true reason when the object is gone before the converter starts', async () => {
    const described = objects.describe(content.length);
    objects.etag = '"two"';
    const preparing = prepareDisk(await files.inspect('disk.qed'), described, { sandbox: { runtimeDir } });
    await expect(preparing).rejects.toMatchObject({ name: 'SourceChangedError' });
  });
});
