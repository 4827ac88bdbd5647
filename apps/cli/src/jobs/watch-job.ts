import { setTimeout as delay } from 'node:timers/promises';
import { type JobDocument, jobDocument } from '@ims/contract';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import type { GatewayClient } from '../gateway-client';
import { output } from '../output';
import { milestone, watchLine } from './job-lines';

// Progress is written once a second; looking twice as often shows each of it soon.
const LOOK_EVERY_MS = 500;

export const findJob = (gateway: GatewayClient, id: string): Promise<JobDocument> =>
  gateway.json(jobDocument, 'GET', `/v1/${gateway.projectId}/jobs/${encodeURIComponent(id)}`);

/**
 * Follows a job to its end: one line that changes on a terminal, a line for each milestone elsewhere. To stop watching changes nothing for the job.
 *
 * @throws CliError with exit code 7 when it has not ended after `timeoutSeconds`
 */
export async function watchJob(
  gateway: GatewayClient,
  id: string,
  { timeoutSeconds = Infinity }: { timeoutSeconds?: number } = {},
): Promise<JobDocument> {
  const deadline = performance.now() + timeoutSeconds * 1000;
  let shown = '';
  try {
    for (;;) {
      const job = await findJob(gateway, id);
      if (output.isTerminal) output.rewrite(watchLine(job));
      else if (milestone(job) !== shown) output.progress(watchLine(job));
      shown = milestone(job);
      if (job.status === 'SUCCESS' || job.status === 'FAIL') return job;
      if (performance.now() > deadline) {
        throw new CliError(
          `job ${id} has not ended after ${timeoutSeconds} s`,
          `It goes on: watch it with "npm run ims -- jobs watch ${id}".`,
          EXIT.timeout,
        );
      }
      await delay(LOOK_EVERY_MS);
    }
  } finally {
    if (output.isTerminal) output.endRewrite();
  }
}

/** @throws CliError with exit code 3 when the job did not succeed */
export function checkSucceeded(job: JobDocument): void {
  if (job.status !== 'FAIL') return;
  throw new CliError(
    `job ${job.job_id} failed: ${job.error_code ?? ''} ${job.fail_reason ?? ''}`.trimEnd(),
    `See what happened with "npm run ims -- audit show ${job.job_id}".`,
    EXIT.jobFailed,
  );
}
