import { ApplicationFailure } from '@temporalio/activity';
import { ApplicationFailureCategory } from '@temporalio/common';

// How soon the end of a wait is noticed. Hundreds of jobs that wait cost a query each in this time.
const LOOK_AGAIN = '1s';

/**
 * Waiting for another job is a step that is tried again: an activity that stayed for hours would take a place from the steps it waits for, and with
 * enough of them no job could go on. Nothing of it gets into the workflow's history. Thrown outside `runStep`, whose attempts are evidence of work.
 */
export const notYet = (reason: string): ApplicationFailure =>
  ApplicationFailure.create({
    type: 'NotYet',
    message: reason,
    nextRetryDelay: LOOK_AGAIN,
    category: ApplicationFailureCategory.BENIGN,
  });
