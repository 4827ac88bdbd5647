import { jobId, projectId } from '@ims/contract';
import { type CancellableJob, decideCancelJob } from './job-cancel.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const JOB: CancellableJob = {
  id: jobId('ff8080828f9a1c33018fa0b7d2c41e55'),
  projectId: PROJECT,
  saga: 'image-create',
  outcome: null,
  cancelReason: null,
};
const decide = (job: CancellableJob | undefined, reason = 'wrong file') =>
  decideCancelJob(job, { projectId: PROJECT, reason });

describe(decideCancelJob.name, () => {
  it('asks a running job to end', () => {
    expect(decide(JOB).events).toEqual([
      {
        type: 'job.cancel-requested',
        stream: `job:${JOB.id}`,
        key: 'cancel-requested',
        data: { reason: 'wrong file' },
      },
    ]);
  });

  it('refuses to call a deletion back: its image is gone whatever becomes of the rest (ims-api 12.6)', () => {
    expect(() => decide({ ...JOB, saga: 'image-delete' })).toThrow(
      expect.objectContaining({ code: 'IMG.0105', status: 409 }),
    );
  });

  it('does nothing the second time', () => {
    expect(decide({ ...JOB, cancelReason: 'before' }).events).toEqual([]);
  });

  it('asks the parts of a job along with it, each once', () => {
    const part = (digit: string, cancelReason: string | null = null) => ({
      ...JOB,
      id: jobId(digit.repeat(32)),
      cancelReason,
    });
    const parts = [part('1'), part('2', 'before')];
    const streams = (job: CancellableJob) => decide(job).events.map(({ stream }) => stream);
    expect(streams({ ...JOB, parts })).toEqual([`job:${JOB.id}`, `job:${'1'.repeat(32)}`]);
    expect(streams({ ...JOB, cancelReason: 'before', parts })).toEqual([`job:${'1'.repeat(32)}`]);
  });

  it.each(['succeeded', 'failed', 'cancelled'] as const)('refuses a job that has %s', (outcome) => {
    expect(() => decide({ ...JOB, outcome })).toThrow(expect.objectContaining({ code: 'IMG.0105', status: 409 }));
  });

  it("knows neither an absent job nor another project's", () => {
    const foreign = { ...JOB, projectId: projectId('f'.repeat(32)) };
    for (const job of [undefined, foreign]) {
      expect(() => decide(job)).toThrow(expect.objectContaining({ code: 'IMG.0023', status: 404 }));
    }
  });

  it('takes a reason of 1024 characters and no longer one', () => {
    expect(decide(JOB, 'r'.repeat(1024)).events).toHaveLength(1);
    expect(() => decide(JOB, 'r'.repeat(1025))).toThrow(expect.objectContaining({ code: 'IMG.0001' }));
  });
});
