import { setTimeout as delay } from 'node:timers/promises';
import { Runtime } from '@temporalio/worker';
import { readConfig } from './config';
import { createLog, engineLogger } from './log';
import { type RunningWorker, startWorker } from './worker';

// The engine may come up after us; between attempts there is nothing to do but wait.
const CONNECT_AGAIN_MS = 1_000;

async function main(): Promise<void> {
  const config = readConfig();
  const log = createLog(config.logLevel);
  // We own the signals: the SDK would shut its workers down a second time (temporal-notes 13).
  Runtime.install({ shutdownSignals: [], logger: engineLogger(log) });

  let worker: RunningWorker | undefined;
  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'worker stopping');
    if (!worker) process.exit(0);
    void worker.stop();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);

  for (let attempt = 1; !worker; attempt++) {
    try {
      worker = await startWorker(config, log);
    } catch (err) {
      log.warn({ attempt, error: String(err) }, 'worker cannot start yet');
      await delay(CONNECT_AGAIN_MS);
    }
  }
  log.info({ region: config.region, threads: config.threads }, 'worker ready');
  await worker.done;
  log.info('worker stopped');
}

main().catch((err: unknown) => {
  process.stderr.write(`worker failed: ${err instanceof Error ? (err.stack ?? err.message) : String(err)}\n`);
  process.exit(1);
});
