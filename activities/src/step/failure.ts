import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { PeerUnreachableError } from '@ims/peer';
import { ObjectExistsError, ObjectNameError, SourceChangedError } from '@ims/buckets';
import { CODE_OF_REFUSAL, NeighbourError } from '@ims/neighbours';
import { StagedFileBusyError } from '@ims/staging';
import { ERRORS, type ErrorCode, FAILURE_TYPES, ImsError } from '@ims/contract';

/**
 * A failure with a documented code. Only what can never succeed is non-retryable; retryability is read from the outermost error,
 * so this is what leaves an activity, unwrapped.
 */
export function failure(
  code: ErrorCode,
  message: string,
  options: { cause?: unknown; retryable?: boolean } = {},
): ApplicationFailure {
  return ApplicationFailure.create({
    type: code,
    message,
    nonRetryable: !(options.retryable ?? ERRORS[code].retry !== 'no'),
    ...(options.cause instanceof Error ? { cause: options.cause } : {}),
  });
}

/** The execution this step belongs to has been replaced; nothing it does may count any more. */
export const staleEpoch = (jobId: string, epoch: number): ApplicationFailure =>
  ApplicationFailure.create({
    type: FAILURE_TYPES.staleEpoch,
    message: `job ${jobId}: epoch ${epoch} has been replaced by a newer execution`,
    nonRetryable: true,
  });

export const jobCancelled = (reason: string): ApplicationFailure =>
  ApplicationFailure.create({ type: FAILURE_TYPES.jobCancelled, message: reason, nonRetryable: true });

// Outages end; a step that meets one waits for it instead of failing its job. Everything else that is not a documented refusal is
// given a few attempts and then reported as IMG.0061, so that a defect ends its job instead of retrying for ever.
const ATTEMPTS_FOR_UNKNOWN_ERRORS = 6;

// A disk that another process has open is free again in milliseconds when that one takes a snapshot, and not for hours when a machine runs from it.
// Four attempts are three and a half seconds (workflows/src/activity-options.ts).
const ATTEMPTS_WHILE_BUSY = 4;

const OUTAGE_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  // Postgres: connection exceptions, shutdown, cannot connect now, too many connections, read-only after a failover.
  '08000',
  '08003',
  '08006',
  '57P01',
  '57P02',
  '57P03',
  '53300',
  '25006',
]);

/** Follows `cause`, because drivers wrap what the socket said. */
export function isOutage(err: unknown): boolean {
  for (let at: unknown = err, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if ('code' in at && typeof at.code === 'string' && OUTAGE_CODES.has(at.code)) return true;
    if (/Connection terminated|timeout exceeded when trying to connect|socket hang up/i.test(at.message)) return true;
  }
  return false;
}

const ENOSPC = (err: unknown): boolean => err instanceof Error && 'code' in err && err.code === 'ENOSPC';

/** What leaves the activity for an error caught inside it. */
export function toFailure(err: unknown, attempt: number): Error {
  if (err instanceof ApplicationFailure || err instanceof CancelledFailure) return err;
  if (err instanceof ImsError) return failure(err.code, err.message, { cause: err });
  if (err instanceof SourceChangedError || err instanceof ObjectNameError) {
    return failure('IMG.0057', err.message, { cause: err });
  }
  if (err instanceof ObjectExistsError) return failure('IMG.0070', err.message, { cause: err });
  if (err instanceof NeighbourError) {
    const code = CODE_OF_REFUSAL[err.refusal];
    const attempts =
      err.refusal === 'BUSY' ? ATTEMPTS_WHILE_BUSY : code === 'IMG.0061' ? ATTEMPTS_FOR_UNKNOWN_ERRORS : 1;
    return failure(code, err.message, { cause: err, retryable: attempt < attempts });
  }
  // Its writer is alive or will be gone; a worker that was only paused may take any time.
  if (err instanceof StagedFileBusyError) return failure('IMG.0061', err.message, { cause: err, retryable: true });
  if (err instanceof Error && err.name === 'AbortError') return err;
  // Another region is away for as long as it is away.
  if (err instanceof PeerUnreachableError) return failure('IMG.0061', err.message, { cause: err, retryable: true });
  if (isOutage(err))
    return failure('IMG.0061', `a part of the service is out of reach: ${messageOf(err)}`, {
      cause: err,
      retryable: true,
    });
  const message = ENOSPC(err) ? 'the image store has no space left' : messageOf(err);
  return failure('IMG.0061', message, { cause: err, retryable: attempt < ATTEMPTS_FOR_UNKNOWN_ERRORS });
}

export const messageOf = (err: unknown): string => (err instanceof Error ? err.message : String(err));
