import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { Database } from './db-types';

/** Schema that holds every table of the service. */
export const SCHEMA = 'ims';

export interface ConnectOptions {
  /** Most connections held at once. */
  poolSize: number;
  /** Schema searched for tables; only a rebuild names another one than `ims`. */
  schema?: string;
}

// No transaction of ours waits for anything but Postgres: one that idles this long belongs to a process that hangs, and it
// would hold back every reader of the event log (they read only below the oldest running transaction).
const IDLE_IN_TRANSACTION_TIMEOUT = '60s';
// A pool that cannot get a connection in this time has no Postgres behind it; callers answer "try again" instead of hanging.
const CONNECT_TIMEOUT_MS = 10_000;

const IDENTIFIER = /^[a-z_][a-z0-9_]*$/;

/** int8 as a number; a value that a number cannot hold exactly is refused, never rounded. */
function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`int8 ${text} does not fit into a number exactly`);
  return value;
}

// pg's own registry is global to the process; a private one keeps other users of pg in the same process unchanged.
const types: pg.CustomTypesConfig = {
  getTypeParser(oid, format) {
    if (oid === pg.types.builtins.INT8 && format !== 'binary') return safeInteger;
    // pg declares its parsers as any; what they give is typed by the table types.
    return pg.types.getTypeParser(oid, format) as (value: string) => unknown;
  },
};

/**
 * A connection pool for the service's database.
 *
 * Values: `bigint` columns are numbers (an unsafe one fails the query), `numeric` stays a string, `timestamptz` is a `Date`,
 * `bytea` a `Buffer`, `jsonb` the parsed value (written as JSON text). Tables are found by `search_path`.
 *
 * @example
 * const db = connect('postgres://ims@127.0.0.1:5432/ims', { poolSize: 10 });
 * await db.selectFrom('image').selectAll().execute();
 * await db.destroy();
 */
export function connect(url: string, { poolSize, schema = SCHEMA }: ConnectOptions): Kysely<Database> {
  if (!IDENTIFIER.test(schema)) throw new TypeError(`schema ${JSON.stringify(schema)} is not a plain identifier`);
  const pool = new pg.Pool({
    connectionString: url,
    max: poolSize,
    types,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    options: `-c search_path=${schema} -c timezone=UTC -c idle_in_transaction_session_timeout=${IDLE_IN_TRANSACTION_TIMEOUT}`,
  });
  // A connection that Postgres drops must not end the process, neither an idle one nor one inside a transaction that is between two
  // queries: the pool replaces it, and what was under way fails by itself.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => {
    client.on('error', () => undefined);
  });
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}
