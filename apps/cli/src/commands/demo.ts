import { freePort } from '@ims/embedded';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import picocolors from 'picocolors';
import { CliError } from '../cli-error';
import { showCost } from '../demo/cost-scene';
import { DemoClient } from '../demo/demo-client';
import { exportImage } from '../demo/export-scene';
import { importDisk } from '../demo/import-scene';
import { refuseHostileFile } from '../demo/refusal-scene';
import { replicate } from '../demo/replicate-scene';
import { serveServer } from '../demo/server-scene';
import { heading, step } from '../demo/show';
import { showTrail } from '../demo/trail-scene';
import { backUpAndRestore } from '../demo/whole-server-scene';
import { EXIT } from '../exit-codes';
import { output, seconds } from '../output';
import { Stack } from '../stack/stack';
import type { StackState } from '../stack/data-directory';
import { directoryOf, prepareRegions, regionNames } from '../stack/regions';
import { down } from './down';
import { up } from './up';

/**
 * `ims demo`: from a disk file to an image, a server and an image of that, a copy in another region, an export, a backup and what was made from it,
 * on two regions of its own, with everything a person would look at.
 */
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
    await Promise.race([walk(running.states, work), whenAborted(interrupted.signal)]);
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
  /** Of each region; the first is where things happen. */
  states: StackState[];
  stop(): Promise<void>;
}

const REGIONS = regionNames('region-1', 2);

async function temporaryInstance(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'ims-demo-'));
  // mkdtemp closes it to everybody, but Postgres may run as another user.
  await chmod(path, 0o711);
  return path;
}

/** In this process: everything ends with it, however it ends. */
async function startHere(dataDir: string, signal: AbortSignal): Promise<Running> {
  const wanted: { name: string; gatewayPort: number }[] = [];
  for (const name of REGIONS) wanted.push({ name, gatewayPort: await freePort() });
  await prepareRegions(dataDir, wanted);
  const stacks: Stack[] = [];
  const stop = async (): Promise<void> => {
    await Promise.allSettled(stacks.map((stack) => stack.stop()));
  };
  try {
    for (const { name, gatewayPort } of wanted) {
      stacks.push(
        await Stack.start({
          dataDir: directoryOf(dataDir, name).path,
          region: name,
          gatewayPort,
          signal,
          onProgress: step,
          onTrouble: (message) => output.progress(picocolors.yellow(`  ${message}`)),
        }),
      );
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { states: stacks.map(({ state }) => state), stop };
}

async function startLasting(dataDir: string): Promise<Running> {
  const { length: regions } = REGIONS;
  await up({ data: dataDir, regions, region: 'region-1', port: 0, temporalPort: 0, uiPort: 0 });
  const states: StackState[] = [];
  for (const name of REGIONS) {
    const state = await directoryOf(dataDir, name).readState();
    if (state !== undefined) states.push(state);
  }
  return { states, stop: () => down({ data: dataDir, purge: false }) };
}

async function walk(states: readonly StackState[], work: string): Promise<void> {
  const clients: DemoClient[] = [];
  for (const state of states) {
    output.facts([
      ['Region', state.region],
      ['API', state.apiUrl],
      ['Temporal UI', state.temporalUiUrl],
      ['Data', state.dataDir],
    ]);
    clients.push(await DemoClient.signIn(state));
  }
  const [here, there] = clients;
  if (here === undefined || there === undefined) throw new TypeError('the demo needs two regions');
  const image = await importDisk(here, work);
  const serverId = await serveServer(here, image);
  await replicate(here, there, image);
  await exportImage(here, image, work);
  await backUpAndRestore(here, serverId);
  await refuseHostileFile(here, work);
  await showCost(here);
  await showTrail(here);
}
