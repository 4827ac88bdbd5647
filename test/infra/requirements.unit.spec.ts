import { spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { temporaryDirectory } from '@ims/testing';

const GENERATOR = join(__dirname, '../../infra/generate/requirements.mjs');
const TABLE = 'docs/reference/requirements-covered.md';

/** What the generator complains about, a line each. */
function complaints(...args: string[]): string[] {
  const { stderr, status } = spawnSync(process.execPath, [GENERATOR, ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const lines = stderr.split('\n').filter((line) => line !== '');
  expect(status).toBe(lines.length === 0 ? 0 : 1);
  return lines;
}

describe('a checklist', () => {
  let root: string;
  const put = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  };
  const leaveOut = (reasons: Record<string, string>): Promise<void> =>
    put('infra/generate/requirements-left-out.json', JSON.stringify(reasons));

  beforeEach(async () => {
    root = await temporaryDirectory();
    const row = (id: string, wave: string): string => `| ${id} | says | 1 | observed | ${wave} |`;
    const rows = [row('AAA-01', 'W1'), row('AAA-02', 'W2'), row('AAA-03', 'W2'), row('BB-01', 'W3')];
    await put('docs/requirements.md', `| ID | … | Wave |\n|---|---|---|\n${rows.join('\n')}\n`);
    await put('libs/a/src/a.unit.spec.ts', "it('does (AAA-01..02)')");
    await leaveOut({ 'AAA-03': 'It comes later.' });
  });

  it('is told with the tests of each item, ranges among them, and with reasons', async () => {
    expect(complaints(root)).toEqual([]);
    const text = await readFile(join(root, TABLE), 'utf8');
    const test = '[a.unit.spec.ts](../../libs/a/src/a.unit.spec.ts)';
    expect(text).toContain(`| AAA-02 | W2 | says | ${test} |`);
    expect(text).toContain('| AAA-03 | W2 | says | none: It comes later. |');
    expect(text).toContain('| BB-01 | W3 | says | none yet |');
    expect(complaints(root, '--check')).toEqual([]);
  });

  it('has a stale table as soon as a test changes what it cites', async () => {
    complaints(root);
    await put('test/clients/a.py', '# BB-01');
    expect(complaints(root, '--check')).toEqual([`${TABLE} is stale; run: node infra/generate/requirements.mjs`]);
  });

  it.each([
    ['an id that is none', "it('does (AAA-01..02, BB-09)')", { 'AAA-03': 'later' }, /cites BB-09/],
    ['an item without test and reason', "it('does (AAA-01)')", { 'AAA-03': 'later' }, /^AAA-02 \(W2\) has no test/],
    ['an empty reason', "it('does (AAA-01..02)')", { 'AAA-03': ' ' }, /no reason for AAA-03/],
    ['a reason for a tested item', "it('does (AAA-01..03)')", { 'AAA-03': 'later' }, /has AAA-03, which .* tests/],
    ['a reason for no item', "it('does (AAA-01..03)')", { 'AAA-04': 'later' }, /has AAA-04, which/],
  ])('complains about %s', async (_, test, reasons, complaint) => {
    await put('libs/a/src/a.unit.spec.ts', test);
    await leaveOut(reasons);
    expect(complaints(root)).toEqual([expect.stringMatching(complaint)]);
  });
});
