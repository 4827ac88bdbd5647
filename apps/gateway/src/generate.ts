import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Authenticator, parseRootKey } from '@ims/access';
import { connect, systemClock } from '@ims/db';
import { EmbeddedKeys } from '@ims/keys';
import { createStagedFiles } from '@ims/staging';
import { pino } from 'pino';
import { GatewayConfig } from './config';
import { CONTROLLERS, createGateway } from './gateway';
import { RouteTable, renderRoutes } from './http/route-table';
import { openApiDocument, renderErrors } from './openapi';

export const GENERATE_COMMAND = 'node infra/build.mjs apps/gateway && node apps/gateway/dist/generate.js';

/** Every generated file of the gateway with its content, by its path from the root of the repository. Nothing is connected to. */
export async function generatedFiles(): Promise<ReadonlyMap<string, string>> {
  const rootKey = '0'.repeat(64);
  // A pool connects at its first query, and none is made here.
  const db = connect('postgres://nobody@127.0.0.1:1/none', { poolSize: 1 });
  const config = new GatewayConfig({
    IMS_DATABASE_URL: 'none',
    IMS_STORE_DIR: 'none',
    IMS_CLOUD_DIR: 'none',
    IMS_STAGING_DIR: 'none',
    IMS_ROOT_KEY: rootKey,
  });
  const unused = (): never => {
    throw new Error('the generator serves no requests');
  };
  const staged = createStagedFiles({ db, databaseUrl: 'none', ...config.staging, clock: systemClock });
  const app = await createGateway({
    config,
    db,
    authenticator: new Authenticator({ db, rootKey: parseRootKey(rootKey), clock: systemClock, region: config.region }),
    store: { open: unused, release: unused, manifestBytes: unused, answer: unused },
    peers: { regions: [], to: unused },
    // Connects at its first writer, and there is none.
    buckets: null,
    staged,
    cloud: {
      servers: { get: unused, list: unused },
      volumes: { get: unused, getSnapshot: unused },
      backups: {
        get: unused,
        list: unused,
        delete: unused,
        releaseFromImage: unused,
        createVault: unused,
        getVault: unused,
        isInRegion: unused,
        listVaults: unused,
        vaultOfServer: unused,
        addServer: unused,
        getCheckpoint: unused,
      },
    },
    keys: new EmbeddedKeys({ db, rootKey: parseRootKey(rootKey), clock: systemClock }),
    jobs: { startNow: unused, cancel: unused },
    clock: systemClock,
    logger: pino({ level: 'silent' }),
  });
  try {
    const table = new RouteTable(CONTROLLERS);
    return new Map([
      ['apps/gateway/openapi.json', `${JSON.stringify(openApiDocument(app, table), null, 2)}\n`],
      ['apps/gateway/routes.txt', renderRoutes(table)],
      ['docs/reference/errors.md', renderErrors()],
    ]);
  } finally {
    await app.close();
    await staged.close();
    await db.destroy();
  }
}

/** Paths of generated files whose committed content is another one. */
export async function staleFiles(root: string): Promise<string[]> {
  const stale: string[] = [];
  for (const [path, content] of await generatedFiles()) {
    const committed = await readFile(join(root, path), 'utf8').catch(() => undefined);
    if (committed !== content) stale.push(path);
  }
  return stale;
}

async function main(root: string): Promise<void> {
  for (const [path, content] of await generatedFiles()) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
    process.stdout.write(`${path}\n`);
  }
}

if (require.main === module) {
  main(join(__dirname, '../../..')).catch((error: unknown) => {
    process.stderr.write(`generate: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  });
}
