import { temporaryDirectory } from '@ims/testing';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Client } from 'pg';
import { cloneDatabase, databaseUrl, dropDatabase, provisionDatabase } from './database';
import { openForServers, type PostgresOptions, type PostgresServer, startPostgres } from './postgres';
import { isProcessAlive } from './process-table';
import { waitFor } from './wait-for';

const superuserPassword = "it's a 100 % odd/pass@word";

describe(startPostgres.name, () => {
  let dataDir: string;
  const running = new Set<PostgresServer>();

  async function start(options: Partial<PostgresOptions> = {}): Promise<PostgresServer> {
    const server = await startPostgres({ dataDir, superuserPassword, settings: { fsync: 'off' }, ...options });
    running.add(server);
    return server;
  }

  async function query(url: string, text: string): Promise<unknown[]> {
    const client = new Client({ connectionString: url });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  }

  beforeEach(async () => {
    const directory = await temporaryDirectory();
    // Postgres runs as another user when the tests run as root.
    await openForServers(directory);
    dataDir = join(directory, 'postgres');
  });
  afterEach(async () => {
    await Promise.all([...running].map((server) => server.stop()));
    running.clear();
  });

  it('serves Postgres 18 on loopback only, with scram-sha-256', async () => {
    const { adminUrl } = await start();
    const settings = await query(
      adminUrl,
      `select name, setting from pg_settings
       where name in ('server_version_num', 'listen_addresses', 'password_encryption', 'data_checksums', 'unix_socket_directories') order by 1`,
    );
    expect(settings).toEqual([
      { name: 'data_checksums', setting: 'on' },
      { name: 'listen_addresses', setting: '127.0.0.1' },
      { name: 'password_encryption', setting: 'scram-sha-256' },
      { name: 'server_version_num', setting: expect.stringMatching(/^18\d{4}$/) },
      { name: 'unix_socket_directories', setting: '' },
    ]);
    expect(await readFile(join(dataDir, 'pg_hba.conf'), 'utf8')).not.toMatch(/^[^#]*\btrust\b/m);
  });

  it('keeps its data over a stop and a start', async () => {
    const first = await start();
    await query(first.adminUrl, 'create table kept as select 42 as answer');
    await first.stop();
    expect(isProcessAlive(first.pid)).toBe(false);
    const second = await start();
    expect(await query(second.adminUrl, 'select answer from kept')).toEqual([{ answer: 42 }]);
  });

  it('comes back with everything committed after it was killed', async () => {
    const first = await start();
    await query(first.adminUrl, 'create table kept as select 42 as answer');
    process.kill(first.pid, 'SIGKILL');
    await first.exited;
    // The lock file of the dead server is still there.
    await expect(stat(join(dataDir, 'postmaster.pid'))).resolves.toBeDefined();
    const second = await start();
    expect(await query(second.adminUrl, 'select answer from kept')).toEqual([{ answer: 42 }]);
  });

  it('refuses a data directory that a living server uses, and leaves that server alone', async () => {
    const first = await start();
    await expect(start()).rejects.toMatchObject({
      code: 'DATA_DIRECTORY_IN_USE',
      message: expect.stringContaining(String(first.pid)),
    });
    expect(await query(first.adminUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('takes over a lock whose process id now belongs to another program', async () => {
    await (await start()).stop();
    await writeFile(join(dataDir, 'postmaster.pid'), `${process.pid}\n${dataDir}\n1700000000\n5432\n\n127.0.0.1\n`);
    const { adminUrl } = await start();
    expect(await query(adminUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('says which port is taken, and makes nothing', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    // A listening server has an address with a port.
    const { port } = squatter.address() as AddressInfo;
    await expect(start({ port })).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: expect.stringContaining(String(port)),
    });
    await expect(stat(dataDir)).rejects.toThrow('ENOENT');
    squatter.close();
  });

  it('refuses another superuser password than the one the cluster was made with', async () => {
    await (await start()).stop();
    await expect(start({ superuserPassword: 'another' })).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
    const { adminUrl } = await start();
    expect(await query(adminUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('refuses a directory that holds something else, and a cluster of another version', async () => {
    await mkdir(dataDir);
    await writeFile(join(dataDir, 'holiday.jpg'), 'precious');
    await expect(start()).rejects.toMatchObject({ code: 'DATA_DIRECTORY_UNUSABLE' });
    expect(await readFile(join(dataDir, 'holiday.jpg'), 'utf8')).toBe('precious');
    await writeFile(join(dataDir, 'PG_VERSION'), '14\n');
    await expect(start()).rejects.toMatchObject({ code: 'WRONG_VERSION' });
  });

  it('begins anew where an interrupted first start left a half-made cluster', async () => {
    await mkdir(`${dataDir}.new/base`, { recursive: true });
    await writeFile(`${dataDir}.new/PG_VERSION`, '18\n');
    const { adminUrl } = await start();
    expect(await query(adminUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
    await expect(stat(`${dataDir}.new`)).rejects.toThrow('ENOENT');
    await expect(stat(`${dataDir}.password`)).rejects.toThrow('ENOENT');
  });

  it('tells the reason when the server cannot start', async () => {
    await expect(start({ settings: { no_such_setting: '1' } })).rejects.toMatchObject({
      code: 'START_FAILED',
      message: expect.stringContaining('no_such_setting'),
    });
  });

  it('ends when the process that started it is killed', async () => {
    const script = `
      const { startPostgres } = require(${JSON.stringify(join(__dirname, '..', 'dist'))});
      startPostgres(${JSON.stringify({ dataDir, superuserPassword })}).then(({ pid }) => process.stdout.write(String(pid)));`;
    const parent = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = await once(parent.stdout, 'data');
    const pid = Number(said);
    expect(isProcessAlive(pid)).toBe(true);
    parent.kill('SIGKILL');
    await waitFor(() => !isProcessAlive(pid), { deadlineMs: 20_000, what: 'Postgres to end with its parent' });
  });
});

describe(provisionDatabase.name, () => {
  it('makes an owner and a service login that can be told apart, and may run again', async () => {
    const directory = await temporaryDirectory();
    await openForServers(directory);
    const server = await startPostgres({
      dataDir: join(directory, 'postgres'),
      superuserPassword,
      settings: { fsync: 'off' },
    });
    const query = async (url: string, text: string): Promise<unknown[]> => {
      const client = new Client({ connectionString: url });
      await client.connect();
      try {
        return (await client.query<Record<string, unknown>>(text)).rows;
      } finally {
        await client.end();
      }
    };
    try {
      const options = {
        adminUrl: server.adminUrl,
        database: 'ims',
        ownerPassword: "o'wner",
        servicePassword: 's/e:r@v',
      };
      await provisionDatabase(options);
      const { ownerUrl, serviceUrl } = await provisionDatabase(options);
      await query(ownerUrl, 'create table thing (id int)');
      await expect(query(serviceUrl, 'create table ims.other (id int)')).rejects.toMatchObject({ code: '42501' });
      await expect(query(serviceUrl, 'select from ims.thing')).rejects.toMatchObject({ code: '42501' });
      expect(
        await query(serviceUrl, 'select pg_has_role(current_user, $$ims_service$$, $$member$$) as member'),
      ).toEqual([{ member: true }]);
      await cloneDatabase(server.adminUrl, 'ims', 'copy');
      expect(await query(databaseUrl(ownerUrl, 'copy'), 'select count(*)::int as n from thing')).toEqual([{ n: 0 }]);
      await dropDatabase(server.adminUrl, 'copy');
      await expect(query(databaseUrl(ownerUrl, 'copy'), 'select 1')).rejects.toMatchObject({ code: '3D000' });
    } finally {
      await server.stop();
    }
  });
});
