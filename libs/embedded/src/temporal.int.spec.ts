import { temporaryDirectory } from '@ims/testing';
import { Client, Connection } from '@temporalio/client';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { EmbeddedError } from './embedded-error';
import { commandLine, isProcessAlive } from './process-table';
import { startTemporal, type TemporalOptions, type TemporalServer } from './temporal';
import { findTemporalBinary } from './temporal-binary';

describe(startTemporal.name, () => {
  let directory: string;
  const running = new Set<TemporalServer>();

  async function start(options: Partial<TemporalOptions> = {}): Promise<TemporalServer> {
    const server = await startTemporal({ logFile: join(directory, 'temporal.log'), ...options });
    running.add(server);
    return server;
  }

  async function withClient<T>(server: TemporalServer, work: (client: Client) => Promise<T>): Promise<T> {
    const connection = await Connection.connect({ address: server.address });
    try {
      return await work(new Client({ connection, namespace: server.namespace }));
    } finally {
      await connection.close();
    }
  }

  beforeEach(async () => {
    directory = await temporaryDirectory();
  });
  afterEach(async () => {
    await Promise.all([...running].map((server) => server.stop()));
    running.clear();
  });

  it('keeps open workflows in its file when it is killed and started again', async () => {
    const dbFile = join(directory, 'temporal.db');
    const first = await start({ dbFile });
    await withClient(first, (client) =>
      client.workflow.start('nobody-runs-this', { workflowId: 'kept', taskQueue: 'none' }),
    );
    process.kill(first.pid, 'SIGKILL');
    await first.exited;
    const second = await start({ dbFile });
    const status = await withClient(
      second,
      async (client) => (await client.workflow.getHandle('kept').describe()).status.name,
    );
    expect(status).toBe('RUNNING');
  });

  it('serves its Web UI where it says', async () => {
    const { uiUrl } = await start({ uiPort: 'free' });
    const answer = await fetch(`${uiUrl}/namespaces/default/workflows`);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('<html');
  });

  it('stops without leaving a process', async () => {
    const server = await start();
    await server.stop();
    expect(isProcessAlive(server.pid)).toBe(false);
    // Once more changes nothing.
    await server.stop();
  });

  it('runs with the settings that a cluster gets', async () => {
    const server = await start();
    const words = commandLine(server.pid) ?? [];
    const given = words.flatMap((word, i) => (words[i - 1] === '--dynamic-config-value' ? [word] : []));
    const file = await readFile(join(__dirname, '../../../infra/temporal/dynamic-config.yaml'), 'utf8');
    const inFile = [...file.matchAll(/^([\w.]+):\n {2}- value: (.+)$/gm)].map(([, name, value]) => `${name}=${value}`);
    expect(given).toEqual(inFile);
    expect(given).not.toEqual([]);
  });

  it('refuses a file that a living server uses', async () => {
    const dbFile = join(directory, 'temporal.db');
    const { pid } = await start({ dbFile });
    await expect(start({ dbFile })).rejects.toMatchObject({
      code: 'DATA_DIRECTORY_IN_USE',
      message: expect.stringContaining(String(pid)),
    });
  });

  it.each(['port', 'uiPort'] as const)('says which port is taken (%s)', async (option) => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    // A listening server has an address with a port.
    const { port } = squatter.address() as AddressInfo;
    await expect(start({ [option]: port })).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: expect.stringContaining(String(port)),
    });
    squatter.close();
  });

  it('says that the binary cannot be run', async () => {
    await expect(start({ binary: join(directory, 'absent') })).rejects.toBeInstanceOf(EmbeddedError);
  });
});

describe(findTemporalBinary.name, () => {
  it('takes the named binary before all others, and never falls back from it', async () => {
    const found = await findTemporalBinary({ temporalBinary: process.execPath, searchPath: [] });
    expect(found).toEqual({ path: process.execPath, source: 'IMS_TEMPORAL_BINARY' });
    await expect(findTemporalBinary({ temporalBinary: '/no/such/file', searchPath: [] })).rejects.toMatchObject({
      code: 'BINARY_MISSING',
    });
  });
});
