import { EmbeddedError, errorCode, errorMessage } from '@ims/embedded';
import { EXIT, type ExitCode } from './exit-codes';

/** A failure that is told in one sentence with one next step, without a stack. */
export class CliError extends Error {
  override readonly name = 'CliError';

  constructor(
    message: string,
    readonly remedy: string,
    readonly exitCode: ExitCode = EXIT.failed,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What a failure looks like when it crosses from the supervisor to the command that waits for it. */
export interface ToldFailure {
  message: string;
  remedy: string;
  exitCode: ExitCode;
}

export function tellFailure(error: unknown): ToldFailure {
  if (error instanceof CliError) return { message: error.message, remedy: error.remedy, exitCode: error.exitCode };
  if (error instanceof EmbeddedError) {
    return { message: error.message, remedy: error.remedy, exitCode: EXIT.failed };
  }
  if (errorCode(error) === 'ENOSPC') {
    return { message: errorMessage(error), remedy: 'Free some disk space and try again.', exitCode: EXIT.failed };
  }
  return {
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    remedy: 'This is a defect: please report it with the lines above.',
    exitCode: EXIT.failed,
  };
}
