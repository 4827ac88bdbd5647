import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Authenticator, parseRootKey, type SeededIdentity, seedIdentity } from '@ims/access';
import { createBuckets } from '@ims/buckets';
import { systemClock } from '@ims/db';
import { type EmbeddedCloud, openEmbeddedCloud, storedImages } from '@ims/neighbours';
import { createImageStore } from '@ims/image-store';
import { createPeers } from '@ims/peer';
import { domainDataKeys, EmbeddedKeys } from '@ims/keys';
import { createStagedFiles } from '@ims/staging';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { pino } from 'pino';
import type { GatewayParts } from '../app-parts';
import { GatewayConfig } from '../config';
import { createGateway } from '../gateway';

export const PASSWORD = 'correct horse battery staple';
export const REGION = 'region-1';

export interface GatewayUnderTest {
  app: NestFastifyApplication;
  database: TestDatabase;
  parts: GatewayParts;
  /** The whole store, where the gateway sees only what it reads. */
  store: ReturnType<typeof createImageStore>;
  rootKey: Uint8Array;
  identity: SeededIdentity;
  /** Outbox ids and workflow ids the gateway has handed to the engine, in order. */
  handedToEngine: { started: number[]; cancelled: string[] };
  /** Another account with a project of its own and these permissions. */
  anotherAccount(permissions?: string[]): Promise<SeededIdentity & { token: string }>;
  /** Servers and disks to make images of. */
  cloud: EmbeddedCloud;
  tokenOf(accountName: string, userName: string): Promise<string>;
  close(): Promise<void>;
}

/** A gateway over real parts: its own database, image store, accounts and routes. `env` goes before its settings. Only the engine is a record of what it was asked, since no worker runs. */
export async function gatewayUnderTest(
  replace: Partial<GatewayParts> = {},
  env: Record<string, string> = {},
): Promise<GatewayUnderTest> {
  const database = await testDatabase();
  const directory = await temporaryDirectory();
  const rootKeyText = randomBytes(32).toString('hex');
  const rootKey = parseRootKey(rootKeyText);
  const { db } = database;
  const config = new GatewayConfig({
    IMS_REGION: REGION,
    IMS_DATABASE_URL: database.url,
    IMS_STORE_DIR: directory,
    IMS_CLOUD_DIR: join(directory, 'cloud'),
    IMS_STAGING_DIR: join(directory, 'staging'),
    IMS_ROOT_KEY: rootKeyText,
    IMS_PUBLIC_URL: 'https://ims.region-1.example.test',
    IMS_TEMPORAL_UI_URL: 'http://127.0.0.1:8233',
    ...env,
  });
  const keys = new EmbeddedKeys({ db, rootKey, clock: systemClock });
  const dataKeys = domainDataKeys(keys, config.region);
  const store = createImageStore({ db, directory: directory, threads: 1, dataKeys, dataKeyMs: 1 });
  const cloud = await openEmbeddedCloud({
    db,
    directory: config.cloudDirectory,
    images: storedImages(store),
    qemu: false,
  });
  const staged = createStagedFiles({
    db,
    databaseUrl: database.url,
    ...config.staging,
    clock: systemClock,
  });
  const handedToEngine = { started: new Array<number>(), cancelled: new Array<string>() };
  const identity = await seedIdentity(db, rootKey, {
    accountName: 'acme',
    projectName: config.region,
    userName: 'alice',
    password: PASSWORD,
  });
  const parts: GatewayParts = {
    config,
    db,
    authenticator: new Authenticator({ db, rootKey, clock: systemClock, region: REGION }),
    store,
    cloud,
    staged,
    buckets: createBuckets({ driver: 'directory', root: join(directory, 'buckets'), region: REGION }),
    keys,
    jobs: {
      startNow: async (id) => void handedToEngine.started.push(id),
      cancel: async (id) => void handedToEngine.cancelled.push(id),
    },
    peers: createPeers(config.region, config.peers, systemClock),
    clock: systemClock,
    logger: pino({ level: 'fatal' }),
    ...replace,
  };
  const app = await createGateway(parts);

  const tokenOf = async (accountName: string, userName: string): Promise<string> => {
    const user = { name: userName, password: PASSWORD, domain: { name: accountName } };
    const response = await app.inject({
      method: 'POST',
      url: '/v3/auth/tokens',
      payload: {
        auth: { identity: { methods: ['password'], password: { user } }, scope: { project: { name: REGION } } },
      },
    });
    return String(response.headers['x-subject-token']);
  };
  return {
    app,
    database,
    parts,
    cloud,
    store,
    rootKey,
    identity,
    handedToEngine,
    tokenOf,
    anotherAccount: async (permissions = ['*']) => {
      const accountName = `account-${randomUUID()}`;
      const other = await seedIdentity(db, rootKey, {
        accountName,
        projectName: REGION,
        userName: 'bob',
        password: PASSWORD,
        permissions,
      });
      return { ...other, token: await tokenOf(accountName, 'bob') };
    },
    close: async () => {
      await app.close();
      await cloud.close();
      await staged.close();
      await store.close();
      await database.drop();
    },
  };
}
