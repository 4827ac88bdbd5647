import { type ErrorCode, ImsError, type StepInput } from '@ims/contract';
import { NeighbourError, type NeighbourRefusal } from '@ims/neighbours';
import { activityInfo } from '@temporalio/activity';
import { failure } from '../step/failure';

/** Steps that several sagas share are told whose they are. */
export interface SharedStepInput extends StepInput {
  saga: 'server-create' | 'volume-create' | 'cloud-change' | 'image-copy' | 'image-export';
  projectId: string;
}

// A task of another call passes within moments, and the lock that a dead process left on a disk within ten seconds (libs/neighbours): by the
// sixth attempt 15 s have passed. A task of a saga may take hours, and then the caller is told.
const ATTEMPTS_WHILE_BUSY = 6;

/** Codes of a neighbour's refusals, by the service that was called (backends E4, E5). */
const CODES: Record<'server' | 'disk', { other: ErrorCode; by: Partial<Record<NeighbourRefusal, ErrorCode>> }> = {
  server: { other: 'Ecs.0000', by: { NOT_FOUND: 'Ecs.0114' } },
  disk: { other: 'EVS.1009', by: { WRONG_SIZE: 'EVS.1010', IN_USE: 'EVS.2024', WRONG_STATE: 'EVS.2024' } },
};

/** Runs a call to a neighbour; its refusal leaves as the documented error of that service. */
export async function asking<T>(what: 'server' | 'disk', call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw refusalBy(what, error);
  }
}

/** The same, where it is as well that the thing is not there any more. */
export async function askingIfPresent(what: 'server' | 'disk', call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (error instanceof NeighbourError && error.refusal === 'NOT_FOUND') return;
    throw refusalBy(what, error);
  }
}

/**
 * Undoes something for each of these ids: none is left out because another one refuses, and what is not there any more is as well. An undo is not
 * given up because a server is busy: the task of another saga ends, be it in hours, and nobody comes by a second time.
 */
export async function undoingEach(
  what: 'server' | 'disk',
  ids: readonly string[],
  undo: (id: string) => Promise<unknown>,
): Promise<void> {
  const refusals: { error: unknown; isBusy: boolean }[] = [];
  for (const id of ids) {
    try {
      await undo(id);
    } catch (error) {
      const refusal = error instanceof NeighbourError ? error.refusal : undefined;
      if (refusal !== 'NOT_FOUND') refusals.push({ error, isBusy: refusal === 'BUSY' });
    }
  }
  const told = refusals.find(({ isBusy }) => isBusy) ?? refusals[0];
  if (told === undefined) return;
  const { error, isBusy } = told;
  if (!isBusy || !(error instanceof NeighbourError)) throw refusalBy(what, error);
  throw failure(CODES[what].other, error.message, { cause: error, retryable: true });
}

/** A neighbour's refusal as the documented error of the service that was called; anything else as it is. */
export function refusalBy(what: 'server' | 'disk', error: unknown): unknown {
  if (!(error instanceof NeighbourError)) return error;
  const { other, by } = CODES[what];
  const code = by[error.refusal] ?? other;
  if (error.refusal !== 'BUSY') return new ImsError(code, error.message);
  return failure(code, error.message, { cause: error, retryable: activityInfo().attempt < ATTEMPTS_WHILE_BUSY });
}
