import { S3Client } from '@aws-sdk/client-s3';
import { freePort, ServerProcess } from '@ims/embedded';
import { temporaryDirectory, waitFor } from '@ims/testing';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { createBuckets } from '../create-buckets';
import type { S3Endpoint } from '../s3-client';

/** SeaweedFS from test/clients/requirements.txt: an S3 server that shares no code with this driver or with the SDK under it. */
const WEED = resolve(__dirname, '../../../../.cache/python/bin/weed');

const KEYS = { accessKeyId: 'EXAMPLEKEY0000000001', secretAccessKey: 'example-secret-of-a-loopback-server' };
const REGION = 'region-1';

export interface ForeignS3 {
  endpoint: S3Endpoint;
  /** Without the driver's settings, to arrange what the driver itself would never do. */
  client: S3Client;
  stop(): Promise<void>;
}

/** Starts a server on loopback ports with data in a directory of its own. Takes about two seconds. */
export async function startForeignS3(): Promise<ForeignS3> {
  if (!existsSync(WEED)) throw new Error(`${WEED} is missing; run: node bootstrap.mjs`);
  const directory = await temporaryDirectory();
  const config = join(directory, 's3.json');
  const identities = [
    {
      name: 'ims',
      credentials: [{ accessKey: KEYS.accessKeyId, secretKey: KEYS.secretAccessKey }],
      actions: ['Admin'],
    },
  ];
  await writeFile(config, JSON.stringify({ identities }));
  const s3 = await freePort();
  const s3Grpc = await freePort();
  const filer = await freePort();
  const filerGrpc = await freePort();
  const master = await freePort();
  const masterGrpc = await freePort();
  const volume = await freePort();
  const volumeGrpc = await freePort();
  const weed = await ServerProcess.start({
    name: 'SeaweedFS',
    command: WEED,
    args: [
      'server',
      ...[`-dir=${directory}`, '-ip=127.0.0.1', '-ip.bind=127.0.0.1', '-filer', '-s3', `-s3.config=${config}`],
      ...[`-s3.port=${s3}`, `-s3.port.grpc=${s3Grpc}`, '-s3.port.iceberg=0', '-s3.port.lance=0', '-s3.iam=false'],
      ...[`-filer.port=${filer}`, `-filer.port.grpc=${filerGrpc}`, `-filer.localSocket=${directory}/filer.sock`],
      ...[
        `-master.port=${master}`,
        `-master.port.grpc=${masterGrpc}`,
        `-volume.port=${volume}`,
        `-volume.port.grpc=${volumeGrpc}`,
      ],
      // It would report to its makers; tests reach nothing but loopback. 64 volumes of 64 MiB: each bucket takes seven at once.
      ...['-master.telemetry=false', '-master.volumeSizeLimitMB=64', '-volume.max=64'],
    ],
    cwd: directory,
    logFile: join(directory, 'weed.log'),
    stop: [{ signal: 'SIGTERM', graceMs: 5000 }],
    onParentDeath: 'SIGKILL',
  });
  const stop = (): Promise<void> => weed.stop();
  const endpoint: S3Endpoint = { endpoint: `http://127.0.0.1:${s3}`, region: REGION, forcePathStyle: true, ...KEYS };
  try {
    const buckets = createBuckets({ driver: 's3', ...endpoint });
    const probe = { bucket: 'probe', key: 'probe' };
    await waitFor(() => canConnect(s3), { what: 'SeaweedFS to listen', deadlineMs: 60_000 });
    // It listens before its volumes can be written.
    await waitFor(
      async () => {
        await buckets.createBucket(probe.bucket);
        await buckets.put(probe, Buffer.from('x'));
        return true;
      },
      { what: 'SeaweedFS to store an object', deadlineMs: 60_000, everyMs: 250 },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  const client = new S3Client({ endpoint: endpoint.endpoint, region: REGION, forcePathStyle: true, credentials: KEYS });
  return {
    endpoint,
    client,
    stop: async () => {
      client.destroy();
      await stop();
    },
  };
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      answer(true);
    });
    socket.once('error', () => answer(false));
  });
}
