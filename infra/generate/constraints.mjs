// Writes docs/reference/constraints.md: each row of the overview's tables 5-1 to 5-6, its rule and its test. A rule that is not in its file, a
// test that does not name the item and a row without either end this with an error.
//   node infra/generate/constraints.mjs            write
//   node infra/generate/constraints.mjs --check    fail when the file is stale
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import * as prettier from 'prettier';

const root = new URL('../../', import.meta.url);
const target = fileURLToPath(new URL('docs/reference/constraints.md', root));
const { tables } = JSON.parse(await readFile(new URL('infra/generate/constraints.json', root), 'utf8'));

const requirements = new Map(
  (await readFile(new URL('docs/requirements.md', root), 'utf8'))
    .split('\n')
    .map((line) => /^\| ([A-Z]{3}-\d\d|OS-\d\d) \| (.*?) \|/.exec(line))
    .flatMap((match) => (match === null ? [] : [[match[1], match[2]]])),
);

const problems = [];
const link = (path) => `[${path.split('/').at(-1)}](../../${path})`;

async function cells({ ids, rule, code, file, tests, none }) {
  const texts = ids.map((id) => requirements.get(id) ?? problems.push(`${id} is no item of docs/requirements.md`));
  const said = texts.join(' ').replaceAll('|', '\\|');
  if (none !== undefined) return [ids.join(', '), said, `none: ${none}`, '', ''];
  const source = await readFile(new URL(file, root), 'utf8').catch(() => '');
  for (const name of rule) {
    if (!new RegExp(`\\b(function\\*?|const) ${name}\\b`).test(source))
      problems.push(`${ids[0]}: no ${name} in ${file}`);
  }
  for (const test of tests) {
    const text = await readFile(new URL(test, root), 'utf8').catch(() => '');
    if (!ids.some((id) => text.includes(id))) problems.push(`${ids.join(', ')}: not named in ${test}`);
  }
  if (tests.length === 0 || rule.length === 0) problems.push(`${ids[0]}: a rule and a test are needed`);
  const rules = rule.map((name) => `\`${name}\``).join(', ');
  return [ids.join(', '), said, `${rules} in ${link(file)}`, code, tests.map(link).join(', ')];
}

let text = `<!-- Generated from infra/generate/constraints.json by infra/generate/constraints.mjs. Do not edit. -->

# Constraints

Reference. Every row of the overview's tables 5-1 to 5-6 and its other constraints (issue 24, 2023-12-15), with the rule that keeps it and the test
that stands on both sides of its boundary. What an installation may set otherwise is a setting; its default is the overview's number.
`;
for (const { title, rows } of tables) {
  text += `\n## ${title}\n\n| Item | What the overview says | Rule | Code | Tests |\n| --- | --- | --- | --- | --- |\n`;
  for (const row of rows) text += `| ${(await cells(row)).join(' | ')} |\n`;
}
if (problems.length > 0) {
  process.stderr.write(`${problems.join('\n')}\n`);
  process.exit(1);
}
text = await prettier.format(text, { parser: 'markdown', printWidth: 120, singleQuote: true });
if (process.argv.includes('--check')) {
  if ((await readFile(target, 'utf8').catch(() => '')) !== text) {
    process.stderr.write('docs/reference/constraints.md is stale; run: node infra/generate/constraints.mjs\n');
    process.exit(1);
  }
} else {
  await writeFile(target, text);
}
