// Writes docs/reference/requirements-covered.md: each item of docs/requirements.md with the tests that cite its id.
//   node infra/generate/requirements.mjs [ROOT]            write
//   node infra/generate/requirements.mjs [ROOT] --check    fail when the file is stale
// Either fails when a test cites an id that is none, or an item of the first waves is neither tested nor left out with a reason.
import { glob, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as prettier from 'prettier';

export const COMMAND = 'node infra/generate/requirements.mjs';
export const TARGET = 'docs/reference/requirements-covered.md';
export const LEFT_OUT = 'infra/generate/requirements-left-out.json';

const SOURCE = 'docs/requirements.md';
// Where a test can say which item it covers: specs and benches beside the code, what specs are made of, and the scripts of foreign clients.
const TESTS = [
  '{apps,libs,workflows,activities,test}/**/*.spec.ts',
  'libs/testing/src/**/*.ts',
  'test/**/*.{ts,mjs,py}',
];
// These must have a test or a reason: the first end-to-end version and the whole life cycle.
const REQUIRED_WAVES = ['W1', 'W2'];

/** The items of the checklist: `{ id, says, wave }` in its order. */
export function itemsOf(requirements) {
  return requirements.split('\n').flatMap((line) => {
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    const [, id = '', says = ''] = cells;
    const wave = cells.at(-2) ?? '';
    return /^[A-Z]{2,3}-\d\d$/.test(id) && /^W\d$/.test(wave) ? [{ id, says, wave }] : [];
  });
}

/** Ids that a text cites; `CRE-01..04` and `CRE-01…04` cite four. `families` are the checklist's letters: other documents have numbered lists too. */
export function citedIn(text, families) {
  const ids = new Set();
  const citation = new RegExp(`\\b(${families.join('|')})-(\\d\\d)(?:(?:\\.\\.\\.?|…)(\\d\\d))?\\b`, 'g');
  for (const [, family, first, last = first] of text.matchAll(citation))
    for (let n = Number(first); n <= Number(last); n += 1) ids.add(`${family}-${String(n).padStart(2, '0')}`);
  return ids;
}

/** What is covered and what is wrong, as `{ text, problems }`; `tests` are `{ path, text }`, `leftOut` maps ids to reasons. */
export function coverageOf(requirements, tests, leftOut) {
  const items = itemsOf(requirements);
  const families = [...new Set(items.map(({ id }) => id.slice(0, -3)))];
  const known = new Set(items.map(({ id }) => id));
  const testsOf = new Map(items.map(({ id }) => [id, []]));
  const problems = [];
  for (const { path, text } of tests)
    for (const id of citedIn(text, families)) {
      if (known.has(id)) testsOf.get(id).push(path);
      else problems.push(`${path} cites ${id}, which ${SOURCE} does not have`);
    }
  for (const [id, reason] of Object.entries(leftOut)) {
    if (!known.has(id)) problems.push(`${LEFT_OUT} has ${id}, which ${SOURCE} does not have`);
    else if (typeof reason !== 'string' || reason.trim() === '') problems.push(`${LEFT_OUT} has no reason for ${id}`);
    else if (testsOf.get(id).length > 0) problems.push(`${LEFT_OUT} has ${id}, which ${testsOf.get(id)[0]} tests`);
  }
  for (const { id, wave } of items)
    if (REQUIRED_WAVES.includes(wave) && testsOf.get(id).length === 0 && leftOut[id] === undefined)
      problems.push(`${id} (${wave}) has no test: cite it in one, or say why not in ${LEFT_OUT}`);
  return { text: documentOf(items, testsOf, leftOut), problems };
}

function documentOf(items, testsOf, leftOut) {
  const waves = [...Map.groupBy(items, ({ wave }) => wave)].sort(([a], [b]) => a.localeCompare(b));
  const tested = (of) => of.filter(({ id }) => testsOf.get(id).length > 0).length;
  const link = (path) => `[${path.split('/').at(-1)}](../../${path})`;
  const row = ({ id, says, wave }) => {
    const tests = testsOf.get(id).map(link).join(', ');
    return `| ${id} | ${wave} | ${says} | ${tests || (leftOut[id] ? `none: ${leftOut[id]}` : 'none yet')} |`;
  };
  return `<!-- Generated from ${SOURCE} and the tests by infra/generate/requirements.mjs. Do not edit. -->

# Requirements and their tests

Reference. Each item of the [checklist](../requirements.md) with the tests that cite its id. Waves are the order of building; every item of
${REQUIRED_WAVES.join(' and ')} has a test, or a reason why it has none.

| Wave | Items | With a test | Left out with a reason |
| --- | --- | --- | --- |
${waves.map(([wave, of]) => `| ${wave} | ${of.length} | ${tested(of)} | ${of.filter(({ id }) => leftOut[id]).length} |`).join('\n')}

| Item | Wave | What it says | Tests |
| --- | --- | --- | --- |
${items.map(row).join('\n')}
`;
}

/** The coverage of the repository at `root`: `{ text, problems, isStale }`, the text laid out as it is committed. */
export async function coverage(root) {
  const read = (path) => readFile(join(root, path), 'utf8');
  const tests = [];
  for await (const path of glob(TESTS, { cwd: root, exclude: (name) => /(^|\/)(node_modules|dist)$/.test(name) }))
    tests.push(relative(root, resolve(root, path)));
  const files = [...new Set(tests)].sort();
  const { text, problems } = coverageOf(
    await read(SOURCE),
    await Promise.all(files.map(async (path) => ({ path, text: await read(path) }))),
    JSON.parse(await read(LEFT_OUT)),
  );
  // A row is one line whatever its length: as wide columns every change of one would change all.
  const laidOut = await prettier.format(text, { parser: 'markdown', printWidth: 120, proseWrap: 'preserve' });
  const narrow = laidOut.replace(/^\|.*$/gm, (line) => line.replace(/ +\|/g, ' |').replace(/-{4,}/g, '---'));
  return { text: narrow, problems, isStale: (await read(TARGET).catch(() => '')) !== narrow };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [root = fileURLToPath(new URL('../..', import.meta.url))] = process.argv
    .slice(2)
    .filter((argument) => !argument.startsWith('--'));
  const { text, problems, isStale } = await coverage(root);
  const wrong = [...problems];
  if (process.argv.includes('--check')) {
    if (isStale) wrong.push(`${TARGET} is stale; run: ${COMMAND}`);
  } else {
    await mkdir(dirname(join(root, TARGET)), { recursive: true });
    await writeFile(join(root, TARGET), text);
  }
  for (const problem of wrong) process.stderr.write(`${problem}\n`);
  if (wrong.length > 0) process.exitCode = 1;
}
