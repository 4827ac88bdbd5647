import { ApplicationFailure } from '@temporalio/activity';
import { ApplicationFailureCategory } from '@temporalio/common';

// A person who resumes a job wants to see it move; hundreds of jobs that are paused for days must not ask every second.
const SOONEST_MS = 1_000;
const LATEST_MS = 5_000;
// A tenth of the pause so far goes unnoticed.
const SHARE = 0.1;

/** A step of a paused job is tried again until the job is resumed or cancelled; like every wait it takes no place from steps that can go on. */
export const jobPaused = (pausedAt: Date, now: Date): ApplicationFailure =>
  ApplicationFailure.create({
    type: 'JobPaused',
    message: `the job is paused since ${pausedAt.toISOString()}`,
    nextRetryDelay: Math.min(LATEST_MS, Math.max(SOONEST_MS, SHARE * (now.getTime() - pausedAt.getTime()))),
    category: ApplicationFailureCategory.BENIGN,
  });
