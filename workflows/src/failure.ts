import {
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  isCancellation,
  TerminatedFailure,
} from '@temporalio/workflow';
import { type ErrorCode, FAILURE_TYPES, isErrorCode } from '@ims/contract';

export interface Refusal {
  cancelled: boolean;
  errorCode: ErrorCode;
  reason: string;
}

const CANCELLED_IN_ENGINE: Refusal = {
  cancelled: true,
  errorCode: 'IMG.0061',
  reason: 'cancelled in the workflow engine',
};

// As when the job's own workflow is ended from outside (the reconciler): somebody did not want it.
const CHILD_ENDED: Refusal = { ...CANCELLED_IN_ENGINE, reason: 'a part of its workflow was ended from outside' };

/** What the activity said, also when it was that of a child. */
const causeOf = (err: unknown): unknown =>
  err instanceof ActivityFailure || err instanceof ChildWorkflowFailure ? causeOf(err.cause) : err;

/**
 * What a failed step means for the job: the documented code of the failure, IMG.0061 for what has none (ims-api 10.2). A step that was to be
 * cancelled is not tried again, so an outage or the death of its worker ends it in the place of the cancellation; it counts as cancelled all the same.
 */
export function refusalOf(err: unknown, wasCancelled: boolean): Refusal {
  if (isCancellation(err)) return CANCELLED_IN_ENGINE;
  const cause = causeOf(err);
  if (cause instanceof TerminatedFailure) return CHILD_ENDED;
  if (cause instanceof ApplicationFailure) {
    if (cause.type === FAILURE_TYPES.jobCancelled)
      return { cancelled: true, errorCode: 'IMG.0061', reason: cause.message };
    if (cause.type != null && isErrorCode(cause.type) && !(wasCancelled && cause.type === 'IMG.0061')) {
      return { cancelled: false, errorCode: cause.type, reason: cause.message };
    }
  }
  if (wasCancelled) return CANCELLED_IN_ENGINE;
  return { cancelled: false, errorCode: 'IMG.0061', reason: 'the service could not complete the job' };
}
