import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import picocolors from 'picocolors';
import { CliError } from '../cli-error';
import { DemoClient } from '../demo/demo-client';
import { importDisk } from '../demo/import-scene';
import { refuseHostileFile } from '../demo/refusal-scene';
import { serveServer } from '../demo/server-scene';
import { heading, step } from '../demo/show';
import { EXIT } from '../exit-codes';
import { output, seconds } from '../output';
import { Stack } from '../stack/stack';
import { DataDirectory, type StackState } from '../stack/data-directory';
import { down } from './down';
import { startSupervisor } from './up';

/** `ims demo`: from a disk file to an image, a server, an image of that server and a refusal, on a service of its own, with everything a person would look at. */
export async function demo(options: { data?: string; keep: boolean }): Promise<void> {
  const began = performance.now();
  const interrupted = new AbortController();
  const interrupt = (): void =>
    interrupted.abort(new CliError('demo interrupted', 'Nothing is left running.', EXIT.interrupted));
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  const dataDir = options.data ?? (await temporaryInstance());
  const work = await mkdtemp(join(tmpdir(), 'ims-demo-disk-'));
  let running: Running | undefined;
  let isDone = false;
  try {
    heading('The service comes up');
    running = options.keep ? await startLasting(dataDir) : await startHere(dataDir, interrupted.signal);
    await Promise.race([walk(running.state, work), whenAborted(interrupted.signal)]);
    printWhatNext(dataDir, options.keep);
    isDone = true;
    output.progress(picocolors.green(`\nDone in ${seconds(performance.now() - began)}.`));
  } finally {
    await rm(work, { recursive: true, force: true });
    // Kept only when there is something worth keeping.
    if (!options.keep || !isDone) {
      await running?.stop();
      if (options.data === undefined) await rm(dataDir, { recursive: true, force: true });
    }
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

function printWhatNext(dataDir: string, isKept: boolean): void {
  const data = isKept ? ` --data ${dataDir}` : '';
  heading('What to try next');
  output.data(
    [
      isKept
        ? `  The service stays up. Stop it with:  npm run -s ims -- down --purge${data}`
        : '  npm run -s ims -- up                 a service that stays, with its own data directory',
      `  eval "$(npm run -s ims -- status -o env${data})"`,
      '  openstack image list                 with python-openstackclient; the variables above are all it needs',
      `  npm run -s ims -- logs worker -f${data}`,
      '  npm run -s ims -- doctor             what this machine lacks, if anything',
    ].join('\n'),
  );
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('interrupted', { cause: signal.reason })), { once: true });
  });
}

interface Running {
  state: StackState;
  stop(): Promise<void>;
}

async function temporaryInstance(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'ims-demo-'));
  // mkdtemp closes it to everybody, but Postgres may run as another user.
  await chmod(path, 0o711);
  return path;
}

/** In this process: everything ends with it, however it ends. */
async function startHere(dataDir: string, signal: AbortSignal): Promise<Running> {
  const stack = await Stack.start({
    dataDir,
    signal,
    onProgress: step,
    onTrouble: (message) => output.progress(picocolors.yellow(`  ${message}`)),
  });
  return { state: stack.state, stop: () => stack.stop() };
}

async function startLasting(dataDir: string): Promise<Running> {
  const state = await startSupervisor(new DataDirectory(dataDir), { dataDir, region: 'region-1' });
  return { state, stop: () => down({ data: dataDir, purge: false }) };
}

async function walk(state: StackState, work: string): Promise<void> {
  output.facts([
    ['API', state.apiUrl],
    ['Temporal UI', state.temporalUiUrl],
    ['Data', state.dataDir],
  ]);
  const client = await DemoClient.signIn(state);
  const image = await importDisk(client, work);
  await serveServer(client, image);
  await refuseHostileFile(client, work);
}
