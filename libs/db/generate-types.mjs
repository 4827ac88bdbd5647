// Writes src/db-types.ts from a migrated database, so that the types are what Postgres says and not what somebody remembers.
//   node libs/db/generate-types.mjs postgres://owner@127.0.0.1:5432/ims           write
//   node libs/db/generate-types.mjs postgres://owner@127.0.0.1:5432/ims --check   fail when the file is stale
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import * as prettier from 'prettier';

const target = fileURLToPath(new URL('src/db-types.ts', import.meta.url));
const [url, mode] = process.argv.slice(2);
if (url === undefined) {
  process.stderr.write('usage: node libs/db/generate-types.mjs DATABASE_URL [--check]\n');
  process.exit(2);
}

const scalars = {
  bool: 'boolean',
  bytea: 'Buffer',
  float8: 'number',
  int4: 'number',
  int8: 'number',
  jsonb: 'Json',
  text: 'string',
  timestamptz: 'Timestamp',
  uuid: 'string',
  xid8: 'string',
};

function scalar(type, where) {
  const found = scalars[type];
  if (found === undefined)
    throw new Error(`${where}: type ${type} has no TypeScript type yet; add it to generate-types.mjs`);
  return found;
}

// Tables of the service itself are found by search_path; those of the embedded neighbours carry the name of their schema.
const TABLE_NAME = `case n.nspname when 'ims' then c.relname else n.nspname || '.' || c.relname end`;

const client = new pg.Client({ connectionString: url });
await client.connect();
const { rows: columns } = await client.query(`
  select ${TABLE_NAME} as table_name, a.attname as column_name, t.typname as type, e.typname as element,
         not a.attnotnull as nullable, a.atthasdef as has_default, a.attidentity as identity, a.attgenerated as generated
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join pg_type t on t.oid = a.atttypid
  left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
  where n.nspname in ('ims', 'cloud') and c.relkind in ('r', 'p') and not c.relispartition and c.relname not like 'kysely%'
  order by 1, a.attnum`);
// A column checked against a list of words gets their union.
const { rows: checks } = await client.query(`
  select ${TABLE_NAME} as table_name, a.attname as column_name, pg_get_constraintdef(k.oid) as definition
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum = k.conkey[1]
  where n.nspname in ('ims', 'cloud') and k.contype = 'c' and cardinality(k.conkey) = 1`);
await client.end();

const unions = new Map();
for (const { table_name, column_name, definition } of checks) {
  if (!definition.includes('= ANY (ARRAY[')) continue;
  const words = [...definition.matchAll(/'([^']*)'::text/g)].map(([, word]) => `'${word}'`);
  unions.set(`${table_name}.${column_name}`, words.join(' | '));
}

const pascal = (name) => name.replace(/(^|[_.])([a-z0-9])/g, (_, __, letter) => letter.toUpperCase());
const tables = Map.groupBy(columns, (column) => column.table_name);
let text = `// Generated from the migrated database by libs/db/generate-types.mjs. Do not edit.
import type { ColumnType, Generated, GeneratedAlways } from 'kysely';

/** Read as the parsed value, written as JSON text (a JavaScript array would be sent as a Postgres array). */
export type Json = ColumnType<unknown, string, string>;
export type NullableJson = ColumnType<unknown, string | null | undefined, string | null>;
export type Timestamp = ColumnType<Date, Date, Date>;
export type NullableTimestamp = ColumnType<Date | null, Date | null | undefined, Date | null>;
export type DefaultTimestamp = ColumnType<Date, Date | undefined, Date>;
`;
for (const [table, list] of tables) {
  text += `\nexport interface ${pascal(table)}Table {\n`;
  for (const column of list) {
    const where = `${table}.${column.column_name}`;
    let type =
      column.element === null
        ? (unions.get(where) ?? scalar(column.type, where))
        : `${scalar(column.element, where)}[]`;
    if (column.identity === 'a' || column.generated === 's') type = `GeneratedAlways<${type}>`;
    else if (type === 'Timestamp')
      type = column.nullable ? 'NullableTimestamp' : column.has_default ? 'DefaultTimestamp' : 'Timestamp';
    else if (type === 'Json') type = column.nullable ? 'NullableJson' : 'Json';
    else if (column.nullable) type = `${type} | null`;
    else if (column.has_default) type = `Generated<${type}>`;
    text += `  ${column.column_name}: ${type};\n`;
  }
  text += '}\n';
}
text += `\nexport interface Database {\n${[...tables.keys()].map((table) => `  ${JSON.stringify(table)}: ${pascal(table)}Table;\n`).join('')}}\n`;
text = await prettier.format(text, { parser: 'typescript', printWidth: 120, singleQuote: true });

if (mode === '--check') {
  if ((await readFile(target, 'utf8').catch(() => '')) !== text) {
    process.stderr.write('libs/db/src/db-types.ts is stale; run: node libs/db/generate-types.mjs DATABASE_URL\n');
    process.exit(1);
  }
} else {
  await writeFile(target, text);
}
