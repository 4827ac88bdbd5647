import { Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type JobAccepted,
  jobAccepted,
  type JobDocument,
  jobDocument,
  type JobList,
  jobList,
  type ListJobsQuery,
  listJobsQuery,
} from '@ims/contract';
import { type Call, Caller, ForProject, PermitsAnyOf } from '../access/permits';
import { Documents } from '../http/documents';
import { STARTS_JOBS } from './action-to-start';
import { JobCancelService } from './job-cancel.service';
import { JobsService } from './jobs.service';

@ApiTags('jobs')
@Controller('v1')
export class JobsController {
  constructor(
    private readonly service: JobsService,
    private readonly cancellations: JobCancelService,
  ) {}

  // Not in the vendor's API, like all below that is not a look at one job.
  @Get(':project_id/jobs')
  @ForProject()
  @Documents({ operation: 'ListJobs', summary: 'List jobs, newest first', since: 'v1', answer: jobList })
  list(@Caller() caller: Call, @Query({ schema: listJobsQuery }) query: ListJobsQuery): Promise<JobList> {
    return this.service.list(caller, query);
  }

  @Get(':project_id/jobs/:job_id')
  @ForProject()
  @Documents({ operation: 'ShowJob', summary: 'Show a job', since: 'v1', answer: jobDocument })
  show(@Caller() caller: Call, @Param('job_id') id: string): Promise<JobDocument> {
    return this.service.show(caller, id);
  }

  @Get('cloudimages/job/:job_id')
  @ForProject()
  @Documents({ operation: 'ShowJobProgress', summary: 'Show a job', since: 'v1', answer: jobDocument })
  showProgress(@Caller() caller: Call, @Param('job_id') id: string): Promise<JobDocument> {
    return this.service.show(caller, id);
  }

  // Whoever may start a job may stop it; the job says which of the actions that is.
  @Post(':project_id/jobs/:job_id/cancel')
  @PermitsAnyOf(...STARTS_JOBS)
  @Documents({ operation: 'CancelJob', summary: 'Cancel a job', since: 'v1', status: 202, answer: jobAccepted })
  cancel(@Caller() caller: Call, @Param('job_id') id: string): Promise<JobAccepted> {
    return this.cancellations.cancel(caller, id);
  }

  @Post(':project_id/jobs/:job_id/pause')
  @PermitsAnyOf(...STARTS_JOBS)
  @Documents({ operation: 'PauseJob', summary: 'Pause a job', since: 'v1', status: 202, answer: jobAccepted })
  pause(@Caller() caller: Call, @Param('job_id') id: string): Promise<JobAccepted> {
    return this.cancellations.pause(caller, id);
  }

  @Post(':project_id/jobs/:job_id/resume')
  @PermitsAnyOf(...STARTS_JOBS)
  @Documents({ operation: 'ResumeJob', summary: 'Resume a paused job', since: 'v1', status: 202, answer: jobAccepted })
  resume(@Caller() caller: Call, @Param('job_id') id: string): Promise<JobAccepted> {
    return this.cancellations.resume(caller, id);
  }
}
