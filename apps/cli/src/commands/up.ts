import { freePort } from '@ims/embedded';
import { fork } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import picocolors from 'picocolors';
import { CliError } from '../cli-error';
import { readConfig } from '../config';
import { EXIT } from '../exit-codes';
import { output, seconds } from '../output';
import { DataDirectory, type StackState } from '../stack/data-directory';
import { directoryOf, prepareRegions, readRegions, regionNames } from '../stack/regions';
import type { SupervisorMessage, SupervisorOptions } from '../stack/supervisor';

export interface UpOptions {
  data: string;
  /** How many regions, which exchange images; as many as there are when there are more. */
  regions: number;
  region: string;
  port: number;
  temporalPort: number;
  uiPort: number;
  threads?: number;
}

/** `ims up`: brings the service up in the background and says how to use it. */
export async function up(options: UpOptions): Promise<void> {
  const known = await readRegions(options.data);
  const count = Math.max(options.regions, known?.regions.length ?? 1);
  if (count === 1) return upOne(options);
  // Before any of them starts: each is told where the others will be.
  const names = known?.regions.map(({ name }) => name) ?? regionNames(options.region, count);
  const wanted: { name: string; gatewayPort: number }[] = [];
  for (const [n, name] of names.entries()) {
    const running = await directoryOf(options.data, name).readState();
    wanted.push({ name, gatewayPort: running ? portOf(running) : await portFor(options.port, n) });
  }
  await prepareRegions(options.data, wanted);
  for (const [n, { name, gatewayPort }] of wanted.entries()) {
    output.progress(`Region ${name}`);
    await upOne({
      ...options,
      data: directoryOf(options.data, name).path,
      region: name,
      port: gatewayPort,
      temporalPort: options.temporalPort === 0 ? 0 : options.temporalPort + n * ENGINE_PORTS_APART,
      uiPort: options.uiPort === 0 ? 0 : options.uiPort + n * ENGINE_PORTS_APART,
    });
  }
}

// The engine of a region takes a few ports above its own.
const ENGINE_PORTS_APART = 10;

const portOf = ({ apiUrl }: StackState): number => Number(new URL(apiUrl).port);
const portFor = async (first: number, n: number): Promise<number> => (first === 0 ? freePort() : first + n);

async function upOne(options: Omit<UpOptions, 'regions'>): Promise<void> {
  const began = performance.now();
  const directory = new DataDirectory(options.data);
  const living = await directory.livingSupervisor();
  const state = living === undefined ? undefined : await directory.readState();
  if (living !== undefined && state) {
    output.progress(`The service already runs (process ${living}).`);
    printHowToUse(state);
    return;
  }
  const fresh = await startSupervisor(directory, {
    dataDir: directory.path,
    region: options.region,
    ...(options.port === 0 ? {} : { gatewayPort: options.port }),
    ...(options.temporalPort === 0 ? {} : { temporalPort: options.temporalPort }),
    ...(options.uiPort === 0 ? {} : { temporalUiPort: options.uiPort }),
    ...(options.threads === undefined ? {} : { workerThreads: options.threads }),
  });
  output.progress(picocolors.green(`Up in ${seconds(performance.now() - began)}.`));
  printHowToUse(fresh);
}

/** Starts the lasting process, shows how far it is, and returns when the service can be used. */
export async function startSupervisor(directory: DataDirectory, options: SupervisorOptions): Promise<StackState> {
  await mkdir(directory.logs, { recursive: true });
  const log = await open(directory.log('supervisor'), 'a');
  const supervisor = fork(join(__dirname, '..', 'supervisor-main.js'), [JSON.stringify(options)], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
    execArgv: [],
    env: { ...readConfig().inherited },
  });
  await log.close();
  let interrupted = false;
  const interrupt = (): void => {
    interrupted = true;
    output.progress('Stopping what has been started…');
    supervisor.kill('SIGTERM');
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    return await new Promise<StackState>((resolve, reject) => {
      supervisor.on('message', (raw) => {
        // The other end is `runSupervisor` of this very package.
        const message = raw as SupervisorMessage;
        switch (message.kind) {
          case 'progress':
            output.progress(
              `  ${message.part.padEnd(9)} ${message.detail} ${picocolors.dim(`(${seconds(message.tookMs)})`)}`,
            );
            break;
          case 'ready':
            resolve(message.state);
            break;
          case 'failed': {
            const { message: text, remedy, exitCode } = message.failure;
            reject(new CliError(text, remedy, interrupted ? EXIT.interrupted : exitCode));
            break;
          }
        }
      });
      supervisor.once('error', reject);
      supervisor.once('exit', (code, signal) => {
        reject(
          new CliError(
            `start the service: its supervisor ended (${signal ?? code})`,
            `The log is ${directory.log('supervisor')}.`,
            interrupted ? EXIT.interrupted : EXIT.failed,
          ),
        );
      });
    });
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    if (supervisor.connected) supervisor.disconnect();
    supervisor.unref();
  }
}

function printHowToUse(state: StackState): void {
  output.facts([
    ['API', state.apiUrl],
    ['IAM', `${state.apiUrl}/v3`],
    ['Temporal UI', `${state.temporalUiUrl}/namespaces/default/workflows`],
    ['Region', state.region],
    ['Project id', state.projectId],
    ['Access key', state.access],
    ['Secret key', state.secret],
    ['User', `${state.userName} of account ${state.accountName}, password ${state.userPassword}`],
    ['Buckets', `${state.bucketDir}/<bucket>/<file>   (there is one named "images")`],
    ['Data', state.dataDir],
  ]);
  const data = state.dataDir;
  output.progress(
    picocolors.dim(
      `\nNext: npm run -s ims -- status -o env --data ${data}   |   npm run -s ims -- down --data ${data}`,
    ),
  );
}
