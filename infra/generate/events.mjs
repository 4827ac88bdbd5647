// Writes docs/reference/events.md, the catalogue of event types, from libs/contract.
//   node infra/build.mjs libs/contract && node infra/generate/events.mjs            write
//   node infra/build.mjs libs/contract && node infra/generate/events.mjs --check    fail when the file is stale
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as prettier from 'prettier';
import { z } from 'zod';

const require = createRequire(import.meta.url);
const { EVENTS, EVENT_SCHEMA_VERSION } = require('../../libs/contract/dist/index.js');
const target = fileURLToPath(new URL('../../docs/reference/events.md', import.meta.url));

const nouns = Map.groupBy(Object.keys(EVENTS), (type) => type.split('.')[0]);

let text = `<!-- Generated from libs/contract/src/events.ts by infra/generate/events.mjs. Do not edit. -->

# Events

Reference. Every change of state is one of these events, appended in the transaction that changes the rows; rows are rebuilt from events alone.
Schema version ${EVENT_SCHEMA_VERSION}. Data members that a type does not name are dropped before the event is hashed and stored.

## Envelope

What is hashed is the canonical JSON (RFC 8785) of these members, at most 65,535 bytes, called the leaf.
In each stream \`hash = sha256(prev_hash || leaf)\`; the first \`prev_hash\` is 32 zero bytes.

| Member | Meaning |
| --- | --- |
| \`event_id\` | UUIDv7 |
| \`stream_id\`, \`stream_position\` | unit of order and of the hash chain; positions are 1, 2, 3, … without a gap |
| \`global_position\`, \`transaction_id\` | place in the log as a whole, as decimal text |
| \`type\`, \`schema_version\` | which of the types below, and which version of its data |
| \`event_key\` | unique in its stream: the same key with the same content is a retry and changes nothing, with other content it is refused |
| \`occurred_at\`, \`recorded_at\` | when it happened and when it was written, UTC, milliseconds |
| \`actor\` | who caused it; \`system\` is the service itself |
| \`project_id\`, \`job_id\`, \`request_id\` | whose it is, and what it belongs to |
| \`workflow_id\`, \`run_id\`, \`step\`, \`attempt\` | which execution wrote it |
| \`data\` | see the type |

## Types

${[...nouns].map(([noun, types]) => `- \`${noun}\`: ${types.map((type) => `[\`${type}\`](#${type.replace(/\./g, '')})`).join(', ')}`).join('\n')}
`;
for (const [type, schema] of Object.entries(EVENTS)) {
  const json = z.toJSONSchema(schema, { io: 'output' });
  delete json.$schema;
  text += `\n### ${type}\n\n\`\`\`json\n${JSON.stringify(json, null, 2)}\n\`\`\`\n`;
}
text = await prettier.format(text, { parser: 'markdown', printWidth: 120, singleQuote: true });

if (process.argv.includes('--check')) {
  if ((await readFile(target, 'utf8').catch(() => '')) !== text) {
    process.stderr.write(
      'docs/reference/events.md is stale; run: node infra/build.mjs libs/contract && node infra/generate/events.mjs\n',
    );
    process.exit(1);
  }
} else {
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, text);
}
