// Runs Jest and ends with one plain line, `N passed, N failed`. Arguments go to Jest.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const workspace = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const directory = await mkdtemp(join(tmpdir(), 'ims-test-report-'));
const report = join(directory, 'report.json');
try {
  const jest = spawn(
    process.execPath,
    // Nest, kysely and others are ESM only; Jest loads them only with this flag.
    [
      '--experimental-vm-modules',
      '--no-warnings=ExperimentalWarning',
      createRequire(import.meta.url).resolve('jest/bin/jest'),
      '--json',
      `--outputFile=${report}`,
      ...process.argv.slice(2),
    ],
    {
      cwd: workspace,
      stdio: ['inherit', 'ignore', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '--experimental-vm-modules' },
    },
  );
  // Ctrl-C reaches Jest by itself (same process group); a signal to us alone is passed on, so that it can stop its servers.
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => jest.kill(signal));
  const code = await new Promise((done) => jest.once('close', (status) => done(status ?? 1)));
  const results = JSON.parse(await readFile(report, 'utf8').catch(() => '{}'));
  // A file that could not be loaded has no tests to count, and is a failure all the same.
  let failed = (results.numFailedTests ?? 0) + (results.numRuntimeErrorTestSuites ?? 0);
  const passed = results.numPassedTests ?? 0;
  // Jest can fail as a whole, for example in its setup, with no test to blame.
  if (failed === 0 && (code !== 0 || passed === 0)) failed = 1;
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
} finally {
  await rm(directory, { recursive: true, force: true });
}
