import { systemClock } from '@ims/db';
import { z } from 'zod';
import { CliError, tellFailure, type ToldFailure } from '../cli-error';
import { EXIT } from '../exit-codes';
import type { StackState } from './data-directory';
import { Stack } from './stack';

/** What the supervisor is told on its command line, as one JSON text. */
export const supervisorOptions = z.object({
  dataDir: z.string(),
  region: z.string(),
  gatewayPort: z.number().optional(),
  temporalPort: z.number().optional(),
  temporalUiPort: z.number().optional(),
  workerThreads: z.number().optional(),
  logLevel: z.string().optional(),
});
export type SupervisorOptions = z.infer<typeof supervisorOptions>;

/** What the supervisor tells the command that started it. */
export type SupervisorMessage =
  | { kind: 'progress'; part: string; detail: string; tookMs: number }
  | { kind: 'ready'; state: StackState }
  | { kind: 'failed'; failure: ToldFailure };

/**
 * The lasting process behind `ims up`: starts the stack, keeps it alive, and stops it on SIGTERM or SIGINT.
 * Until it is ready it belongs to the command that started it; when that goes away, the start is undone.
 */
export async function runSupervisor(argument: string = process.argv[2] ?? '{}'): Promise<void> {
  const options = withoutUndefined(supervisorOptions.parse(JSON.parse(argument)));
  const log = (message: string): void => {
    process.stdout.write(
      `${JSON.stringify({ time: systemClock.now().toISOString(), service: 'supervisor', msg: message })}\n`,
    );
  };
  const asked = new AbortController();
  const ask = (why: string) => (): void => {
    log(`stopping: ${why}`);
    asked.abort(new CliError(`start interrupted (${why})`, 'Nothing is left running.', EXIT.interrupted));
  };
  process.on('SIGTERM', ask('SIGTERM'));
  process.on('SIGINT', ask('SIGINT'));
  const starterWentAway = ask('the command that started it went away');
  process.on('disconnect', starterWentAway);
  try {
    const stack = await Stack.start({
      ...options,
      signal: asked.signal,
      onProgress: (part, detail, tookMs) => {
        log(`${part}: ${detail} (${tookMs} ms)`);
        void tell({ kind: 'progress', part, detail, tookMs });
      },
      onTrouble: log,
    });
    process.off('disconnect', starterWentAway);
    log('ready');
    void tell({ kind: 'ready', state: stack.state });
    if (!asked.signal.aborted)
      await new Promise((resolve) => asked.signal.addEventListener('abort', resolve, { once: true }));
    await stack.stop();
    log('stopped');
  } catch (error) {
    process.off('disconnect', starterWentAway);
    const failure = tellFailure(error);
    log(failure.message);
    await tell({ kind: 'failed', failure });
    process.exitCode = 1;
  }
  // The channel to the starter would keep this process alive.
  if (process.connected) process.disconnect();
}

function tell(message: SupervisorMessage): Promise<void> {
  return new Promise((resolve) => {
    if (!process.send || !process.connected) resolve();
    // A starter that has just gone is noticed by `disconnect`.
    else process.send(message, undefined, undefined, () => resolve());
  });
}

/** An absent option and one that is `undefined` mean the same here; the type of `StackOptions` tells them apart. */
function withoutUndefined(options: SupervisorOptions) {
  const { gatewayPort, temporalPort, temporalUiPort, workerThreads, logLevel, ...rest } = options;
  return {
    ...rest,
    ...(gatewayPort === undefined ? {} : { gatewayPort }),
    ...(temporalPort === undefined ? {} : { temporalPort }),
    ...(temporalUiPort === undefined ? {} : { temporalUiPort }),
    ...(workerThreads === undefined ? {} : { workerThreads }),
    ...(logLevel === undefined ? {} : { logLevel }),
  };
}
