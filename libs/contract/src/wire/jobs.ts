import { z } from 'zod';
import { jobDocument } from './image-answers';
import { refusal } from './refusal';

const MAX_JOBS = 200;
const DEFAULT_JOBS = 50;

/** What jobs can be listed by: as the document has it, or all that have not ended. */
export const JOB_FILTERS = ['INIT', 'RUNNING', 'SUCCESS', 'FAIL', 'open'] as const;

const bad = (detail: string) => ({ error: refusal('IMG.0001', detail) });

/** Query of the list of jobs, which is ours. Unknown parameters are left out. */
export const listJobsQuery = z.object({
  status: z.enum(JOB_FILTERS, bad(`status is one of ${JOB_FILTERS.join(', ')}`)).optional(),
  limit: z
    .string(bad('limit is given more than once'))
    .regex(/^\d{1,4}$/, bad('limit must be a whole number'))
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= MAX_JOBS, bad(`limit must be 1 to ${MAX_JOBS}`))
    .default(DEFAULT_JOBS),
  /** Id of the last job of the page before. */
  marker: z.string(bad('marker is given more than once')).optional(),
});
export type ListJobsQuery = z.infer<typeof listJobsQuery>;

/** Newest first; `next_marker` is absent on the last page. */
export const jobList = z.object({ jobs: z.array(jobDocument), next_marker: z.string().optional() });
export type JobList = z.infer<typeof jobList>;
