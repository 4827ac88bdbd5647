import { ActivityFailure, ApplicationFailure, isCancellation } from '@temporalio/workflow';
import { type ErrorCode, FAILURE_TYPES, isErrorCode } from '@ims/contract';

export interface Refusal {
  cancelled: boolean;
  errorCode: ErrorCode;
  reason: string;
}

/** What a failed step means for the job: the documented code of the failure, IMG.0061 for what has none (ims-api 10.2). */
export function refusalOf(err: unknown): Refusal {
  if (isCancellation(err))
    return { cancelled: true, errorCode: 'IMG.0061', reason: 'cancelled in the workflow engine' };
  const cause = err instanceof ActivityFailure ? err.cause : err;
  if (cause instanceof ApplicationFailure) {
    if (cause.type === FAILURE_TYPES.jobCancelled)
      return { cancelled: true, errorCode: 'IMG.0061', reason: cause.message };
    if (cause.type != null && isErrorCode(cause.type)) {
      return { cancelled: false, errorCode: cause.type, reason: cause.message };
    }
  }
  return { cancelled: false, errorCode: 'IMG.0061', reason: 'the service could not complete the job' };
}
