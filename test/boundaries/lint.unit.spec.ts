import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const WORKSPACE = resolve(__dirname, '../..');

/**
 * Lints snippets under the rules that the configuration has for a path. In a process of its own: the configuration is an ES module.
 * Rules that need types are left out; the compiler has to know the file for them.
 */
const PROGRAM = `
  import { ESLint, Linter } from 'eslint';
  import { parser } from 'typescript-eslint';
  const cases = JSON.parse(process.argv[1]);
  const eslint = new ESLint();
  const linter = new Linter();
  const results = [];
  for (const { path, code } of cases) {
    const config = await eslint.calculateConfigForFile(path);
    const plugins = { ims: config.plugins.ims ?? { rules: {} } };
    const names = ['no-restricted-syntax', 'no-console', 'no-empty', 'ims/reasoned-assertion'];
    const rules = Object.fromEntries(names.flatMap((name) => (config.rules[name] ? [[name, config.rules[name]]] : [])));
    const messages = linter.verify(code, [{ files: ['**/*.ts'], languageOptions: { parser }, plugins, rules }], 'snippet.ts');
    results.push(messages.map(({ message }) => message));
  }
  process.stdout.write(JSON.stringify(results));
`;

const ROOM = 'libs/job-engine/src/relay.ts';
const NOTHING = null;

const CASES: { path: string; code: string; refusedWith: string | null }[] = [
  { path: ROOM, code: 'Date.now();', refusedWith: 'Take a Clock' },
  { path: ROOM, code: 'new Date();', refusedWith: 'Take a Clock' },
  { path: ROOM, code: 'new Date(0);', refusedWith: NOTHING },
  { path: 'libs/db/src/clock.ts', code: 'new Date();', refusedWith: NOTHING },
  { path: 'apps/cli/src/commands/jobs.ts', code: 'new Date();', refusedWith: NOTHING },
  { path: ROOM, code: 'process.env.HOME;', refusedWith: 'config.ts' },
  { path: 'apps/gateway/src/config.ts', code: 'process.env.HOME;', refusedWith: NOTHING },
  { path: 'apps/cli/src/config.ts', code: 'process.env.HOME;', refusedWith: NOTHING },
  { path: ROOM, code: 'db.transaction();', refusedWith: 'inTransaction' },
  { path: 'libs/db/src/in-transaction.ts', code: 'db.transaction();', refusedWith: NOTHING },
  {
    path: 'activities/src/storage/storage.activities.ts',
    code: "throw new Error('x');",
    refusedWith: 'ImsError or failure',
  },
  { path: 'activities/src/storage/storage.int.spec.ts', code: "throw new Error('x');", refusedWith: NOTHING },
  { path: ROOM, code: "throw new Error('x');", refusedWith: NOTHING },
  { path: ROOM, code: "console.log('x');", refusedWith: 'console' },
  { path: 'apps/cli/src/commands/jobs.ts', code: "console.log('x');", refusedWith: NOTHING },
  { path: 'libs/db/src/x.int.spec.ts', code: 'setTimeout(f, 100);', refusedWith: 'waitFor' },
  { path: ROOM, code: 'setTimeout(f, 100);', refusedWith: NOTHING },
  { path: ROOM, code: 'enum Colour { Red }', refusedWith: 'const object' },
  { path: ROOM, code: 'a!.b;', refusedWith: 'Test for undefined' },
  { path: ROOM, code: "export * from './x';", refusedWith: 'Name what a package exports' },
  { path: 'libs/contract/src/index.ts', code: "export * from './x';", refusedWith: NOTHING },
  { path: ROOM, code: 'try { f(); } catch {}', refusedWith: 'Empty block' },
  { path: ROOM, code: 'try { f(); } catch {\n// f is a courtesy\n}', refusedWith: NOTHING },
  { path: ROOM, code: 'const row = read() as Row;', refusedWith: 'why it holds' },
  { path: ROOM, code: 'const one = 1;\n// about one\n\nconst row = read() as Row;', refusedWith: 'why it holds' },
  { path: ROOM, code: '// The projection alone writes it.\nconst row = read() as Row;', refusedWith: NOTHING },
  {
    path: ROOM,
    code: '// The projection alone writes it.\nexport const row = wrap(\n  read() as Row,\n);',
    refusedWith: NOTHING,
  },
  { path: ROOM, code: 'const row = read() as Row; // The projection alone writes it.', refusedWith: NOTHING },
  {
    path: ROOM,
    code: '/** Reads. */\nfunction f() {\n  g();\n  return read() as Row;\n}',
    refusedWith: 'why it holds',
  },
  { path: ROOM, code: 'const row = [1] as const;', refusedWith: NOTHING },
];

describe('bans of the lint configuration', () => {
  let messages: string[][];
  beforeAll(async () => {
    const args = ['--input-type=module', '--eval', PROGRAM, JSON.stringify(CASES)];
    const { stdout } = await run(process.execPath, args, { cwd: WORKSPACE, env: { PATH: '' } });
    // The program above prints exactly this.
    messages = JSON.parse(stdout) as string[][];
  });

  it.each(CASES.map((one, index) => ({ ...one, index })))('in $path: $code', ({ refusedWith, index }) => {
    if (refusedWith === NOTHING) expect(messages[index]).toEqual([]);
    else expect(messages[index]).toEqual([expect.stringContaining(refusedWith)]);
  });
});
