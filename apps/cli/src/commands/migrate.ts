import { parseRootKey, permissionsOf, platformSeed, seedIdentity, UnknownPolicyError } from '@ims/access';
import { connect, migrateToLatest } from '@ims/db';
import { provisionDatabase } from '@ims/embedded';
import { CliError } from '../cli-error';
import { readConfig } from '../config';
import { EXIT } from '../exit-codes';
import { output } from '../output';

/**
 * `ims migrate`: brings a database of one's own to the newest schema, before gateways and workers of a new release start.
 * With IMS_ADMIN_DATABASE_URL it first makes roles and database; else IMS_OWNER_DATABASE_URL names the owner's login.
 */
export async function migrate(): Promise<void> {
  const config = readConfig();
  const ownerUrl = config.adminUrl === undefined ? config.ownerUrl : await provision(config.adminUrl);
  if (ownerUrl === undefined) {
    throw new CliError(
      'migrate: no database is named',
      'Set IMS_OWNER_DATABASE_URL, or IMS_ADMIN_DATABASE_URL with IMS_OWNER_PASSWORD and IMS_SERVICE_PASSWORD.',
      EXIT.usage,
    );
  }
  const names = await migrateToLatest(ownerUrl);
  for (const name of names) output.progress(`  ${name}`);
  output.progress(names.length === 0 ? 'The schema is up to date.' : `${names.length} migrations done.`);
}

async function provision(adminUrl: string): Promise<string> {
  const { ownerPassword, servicePassword } = readConfig();
  if (ownerPassword === undefined || servicePassword === undefined) {
    throw new CliError(
      'migrate: with IMS_ADMIN_DATABASE_URL the passwords of the two roles are needed',
      'Set IMS_OWNER_PASSWORD and IMS_SERVICE_PASSWORD.',
      EXIT.usage,
    );
  }
  const { ownerUrl } = await provisionDatabase({ adminUrl, database: 'ims', ownerPassword, servicePassword });
  return ownerUrl;
}

interface SeedOptions {
  account: string;
  user: string;
  region: string;
  policy: string[];
  platform: boolean;
}

/**
 * `ims seed`: makes the first account, project, user and access key, and prints the key; says the same again when they exist. With `--policy` the user
 * may do what these allow, else everything; with `--platform` it is the operator of the platform.
 */
export async function seed(options: SeedOptions): Promise<void> {
  const permissions = options.policy.length === 0 ? undefined : permissionsIn(options.policy);
  const { databaseUrl, rootKey, seedPassword } = readConfig();
  if (databaseUrl === undefined || rootKey === undefined || seedPassword === undefined) {
    throw new CliError(
      'seed: a setting is missing',
      'Set IMS_DATABASE_URL, IMS_ROOT_KEY and IMS_SEED_PASSWORD (the password of the first user).',
      EXIT.usage,
    );
  }
  const db = connect(databaseUrl, { poolSize: 1 });
  try {
    const identity = await seedIdentity(
      db,
      parseRootKey(rootKey),
      options.platform
        ? platformSeed(options.region, seedPassword)
        : {
            accountName: options.account,
            projectName: options.region,
            userName: options.user,
            password: seedPassword,
            ...(permissions === undefined ? {} : { permissions }),
          },
    );
    output.data(JSON.stringify(identity, null, 2));
  } finally {
    await db.destroy();
  }
}

function permissionsIn(policies: readonly string[]): string[] {
  try {
    return permissionsOf(policies);
  } catch (error) {
    if (error instanceof UnknownPolicyError)
      throw new CliError(`seed: ${error.message}`, 'Name one of them.', EXIT.usage);
    throw error;
  }
}
