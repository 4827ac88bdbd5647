import { z } from 'zod';
import { estimateDocument } from './usage';

/** Answer to a call with `X-Dry-Run: true`, which starts a job otherwise. Nothing is kept of it. */
export const dryRunAnswer = z.object({
  dry_run: z.literal(true),
  /** Whether the same call would be accepted now. */
  allowed: z.boolean(),
  /** The rule that refuses it first; none when it is allowed. */
  refusals: z.array(z.object({ error_code: z.string(), error_msg: z.string() })),
  /** Of the job that would do it; `null` and empty when it is refused. */
  job_type: z.string().nullable(),
  steps: z.array(z.string()),
  /** Jobs that it would have for its several images. */
  sub_jobs: z.int(),
  /** What it would read at most; `null` where only the work can tell. */
  bytes: z.object({ source: z.int().nullable() }),
  /** By the rate card; amounts are `null` where there is none, or the size is not known. */
  cost: estimateDocument.nullable(),
});
export type DryRunAnswer = z.infer<typeof dryRunAnswer>;
