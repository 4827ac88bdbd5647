import { resolve } from 'node:path';
import { z } from 'zod';

const schema = z.object({
  PATH: z.string().default('/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin'),
  HOME: z.string().optional(),
  TMPDIR: z.string().optional(),
  IMS_DATA_DIR: z.string().optional(),
  IMS_REGION: z.string().default('region-1'),
  IMS_LOG_LEVEL: z.string().default('info'),
  IMS_ADMIN_DATABASE_URL: z.string().optional(),
  IMS_OWNER_DATABASE_URL: z.string().optional(),
  IMS_DATABASE_URL: z.string().optional(),
  IMS_OWNER_PASSWORD: z.string().optional(),
  IMS_SERVICE_PASSWORD: z.string().optional(),
  IMS_ROOT_KEY: z.string().optional(),
  IMS_SEED_PASSWORD: z.string().optional(),
  IMS_CLOUD_QEMU: z.string().optional(),
  IMS_RATE_CARD: z.string().optional(),
  IMS_CATALOGUE: z.string().optional(),
  IMS_ENDPOINT: z.string().optional(),
  IMS_PROJECT_ID: z.string().optional(),
  HUAWEICLOUD_SDK_AK: z.string().optional(),
  HUAWEICLOUD_SDK_SK: z.string().optional(),
  OS_AUTH_URL: z.string().optional(),
  OS_PROJECT_ID: z.string().optional(),
  OS_TOKEN: z.string().optional(),
  OS_USER_DOMAIN_NAME: z.string().optional(),
  OS_USERNAME: z.string().optional(),
  OS_PASSWORD: z.string().optional(),
});

export type CliConfig = ReturnType<typeof readConfig>;

/** Everything the command line takes from its environment; options go before it. */
export function readConfig(env: NodeJS.ProcessEnv = process.env) {
  const e = schema.parse(env);
  return {
    /** Passed on to child processes, which otherwise get only what they are meant to know. */
    inherited: {
      PATH: e.PATH,
      ...(e.HOME === undefined ? {} : { HOME: e.HOME }),
      ...(e.TMPDIR === undefined ? {} : { TMPDIR: e.TMPDIR }),
      ...(e.IMS_CLOUD_QEMU === undefined ? {} : { IMS_CLOUD_QEMU: e.IMS_CLOUD_QEMU }),
      // Services may run in another directory than the one in which they were started; a blank name would be that directory.
      ...(e.IMS_RATE_CARD ? { IMS_RATE_CARD: resolve(e.IMS_RATE_CARD) } : {}),
      ...(e.IMS_CATALOGUE ? { IMS_CATALOGUE: resolve(e.IMS_CATALOGUE) } : {}),
    },
    dataDir: e.IMS_DATA_DIR ?? '.data',
    region: e.IMS_REGION,
    logLevel: e.IMS_LOG_LEVEL,
    adminUrl: e.IMS_ADMIN_DATABASE_URL,
    ownerUrl: e.IMS_OWNER_DATABASE_URL,
    databaseUrl: e.IMS_DATABASE_URL,
    ownerPassword: e.IMS_OWNER_PASSWORD,
    servicePassword: e.IMS_SERVICE_PASSWORD,
    rootKey: e.IMS_ROOT_KEY,
    seedPassword: e.IMS_SEED_PASSWORD,
    /** The service that calls go to, as `ims status -o env` names it; the same variables that the official and the OpenStack clients read. */
    remote: {
      endpoint: e.IMS_ENDPOINT ?? e.OS_AUTH_URL?.replace(/\/v3\/?$/, ''),
      projectId: e.IMS_PROJECT_ID ?? e.OS_PROJECT_ID,
      access: e.HUAWEICLOUD_SDK_AK,
      secret: e.HUAWEICLOUD_SDK_SK,
      token: e.OS_TOKEN,
      accountName: e.OS_USER_DOMAIN_NAME,
      userName: e.OS_USERNAME,
      password: e.OS_PASSWORD,
    },
  };
}
