import { randomBytes } from 'node:crypto';
import { Authenticator, parseRootKey, type SeededIdentity, seedIdentity, signRequest } from '@ims/access';
import { systemClock } from '@ims/db';
import { testDatabase, type TestDatabase } from '@ims/testing';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { pino } from 'pino';
import type { GatewayParts } from '../app-parts';
import { GatewayConfig } from '../config';
import { createGateway } from '../gateway';

export interface GatewayUnderTest {
  app: NestFastifyApplication;
  database: TestDatabase;
  parts: GatewayParts;
  rootKey: Uint8Array;
  identity: SeededIdentity;
  close(): Promise<void>;
}

export const PASSWORD = 'correct horse battery staple';
export const REGION = 'region-1';

/** A gateway with everything real: its own database, accounts and routes. Specs replace only the parts they name. */
export async function gatewayUnderTest(replace: Partial<GatewayParts> = {}): Promise<GatewayUnderTest> {
  const database = await testDatabase();
  const rootKeyText = randomBytes(32).toString('hex');
  const rootKey = parseRootKey(rootKeyText);
  const { db } = database;
  const config = new GatewayConfig({
    IMS_REGION: REGION,
    IMS_DATABASE_URL: database.url,
    IMS_STORE_DIR: '/nonexistent',
    IMS_ROOT_KEY: rootKeyText,
    IMS_PUBLIC_URL: 'https://ims.region-1.example.test',
    IMS_TEMPORAL_UI_URL: 'http://127.0.0.1:8233',
  });
  const identity = await seedIdentity(db, rootKey, {
    accountName: 'acme',
    projectName: REGION,
    userName: 'alice',
    password: PASSWORD,
  });
  const parts: GatewayParts = {
    config,
    db,
    authenticator: new Authenticator({ db, rootKey, clock: systemClock, region: REGION }),
    store: undefined as never,
    jobs: undefined as never,
    clock: systemClock,
    logger: pino({ level: 'warn' }),
    ...replace,
  };
  const app = await createGateway(parts);
  return {
    app,
    database,
    parts,
    rootKey,
    identity,
    close: async () => {
      await app.close();
      await database.drop();
    },
  };
}
void signRequest;
