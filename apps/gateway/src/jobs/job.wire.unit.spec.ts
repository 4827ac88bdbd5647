import { jobDocument } from '@ims/contract';
import type { JobStepRow, JobView } from '@ims/db';
import { processPercent, toJobDocument } from './job.wire';

const STEPS = ['inspect', 'ingest', 'verify', 'identify-os', 'publish', 'meter'];
const begin = new Date('2026-02-03T08:15:42.118Z');

const SHOWN = { now: begin, temporalUrl: undefined };

const done = (...steps: string[]): JobStepRow[] =>
  steps.map((step) => ({ job_id: 'j', step, state: 'completed', output: null, completed_at: begin, undone_at: null }));

function aJob(changes: Partial<JobView['job']> = {}, rest: Partial<Omit<JobView, 'job'>> = {}): JobView {
  return {
    job: {
      id: 'ff8080828f9a1c33018fa0b7d2c41e55',
      project_id: 'p',
      type: 'imsImportImageJob',
      saga: 'image-create',
      status: 'RUNNING',
      outcome: null,
      image_id: '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c',
      image_name: 'web',
      request: {},
      steps: STEPS,
      current_step: 'ingest',
      epoch: 1,
      cancel_reason: null,
      error_code: null,
      fail_reason: null,
      parent_id: null,
      begin_at: begin,
      end_at: null,
      paused_at: null,
      pauses: 0,
      ...changes,
    },
    steps: [],
    progress: undefined,
    subJobs: [],
    ...rest,
  };
}

const ingested = (bytes_done: number) => ({
  job_id: 'j',
  step: 'ingest',
  bytes_done,
  bytes_total: 1000,
  updated_at: begin,
  step_share: bytes_done / 1000,
  bytes_per_second: null,
  measured_from: null,
  measured_bytes: 0,
  eta_at: null,
});

describe(processPercent.name, () => {
  it('grows with every step and every byte, and says 1 only of success', () => {
    const story: JobView[] = [
      aJob({ status: 'INIT', current_step: null }),
      aJob({}, { steps: done('inspect') }),
      aJob({}, { steps: done('inspect'), progress: ingested(10) }),
      aJob({}, { steps: done('inspect'), progress: ingested(1000) }),
      aJob({}, { steps: done('inspect', 'ingest'), progress: ingested(1000) }),
      aJob({}, { steps: done('inspect', 'ingest', 'verify') }),
      aJob({}, { steps: done(...STEPS) }),
      aJob({ status: 'SUCCESS', outcome: 'succeeded' }, { steps: done(...STEPS) }),
    ];
    const shares = story.map(processPercent);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares[0]).toBe(0);
    expect(shares.at(-2)).toBeLessThan(1);
    expect(shares.at(-1)).toBe(1);
  });

  it('does not go back when steps are undone', () => {
    const steps = done('inspect', 'ingest');
    const undone = steps.map((step) => ({ ...step, state: 'undone' as const, undone_at: begin }));
    expect(processPercent(aJob({ status: 'FAIL', outcome: 'failed' }, { steps: undone }))).toBe(
      processPercent(aJob({}, { steps })),
    );
  });

  it('bears a report that says more than all', () => {
    expect(processPercent(aJob({}, { progress: { ...ingested(5000), bytes_total: 0, step_share: 0 } }))).toBe(0);
    expect(processPercent(aJob({}, { progress: ingested(5000) }))).toBeLessThan(1);
  });
});

describe(toJobDocument.name, () => {
  it('has the documented fields while the job runs (ims-api 10.2)', () => {
    const document = toJobDocument(aJob(), { now: begin, temporalUrl: 'http://ui/x' });
    expect(document).toEqual({
      status: 'RUNNING',
      job_id: 'ff8080828f9a1c33018fa0b7d2c41e55',
      job_type: 'imsImportImageJob',
      begin_time: '2026-02-03T08:15:42.118Z',
      end_time: '',
      error_code: null,
      fail_reason: null,
      entities: {
        image_id: '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c',
        image_name: 'web',
        process_percent: 0,
        current_task: 'ImportImageTask:ingest',
      },
      temporal_url: 'http://ui/x',
    });
    expect(() => jobDocument.parse(document)).not.toThrow();
  });

  it('names the images of a job of several in its parts alone (ims-api 10.3)', () => {
    const parts = [
      { id: '1'.repeat(32), status: 'SUCCESS', outcome: 'succeeded', image_name: 'one', end_at: begin },
      { id: '2'.repeat(32), status: 'FAIL', outcome: 'failed', image_name: 'two', error_code: 'IMG.0022' },
      { id: '3'.repeat(32), status: 'RUNNING', outcome: null, image_name: 'three' },
    ] as const;
    const subJobs = parts.map((part) => aJob({ type: 'imsCopyVolumeToImageJob', ...part }));
    const document = toJobDocument(
      aJob({ saga: 'image-batch', image_id: null, steps: ['sub-jobs'] }, { subJobs }),
      SHOWN,
    );
    expect(document.entities).not.toHaveProperty('image_id');
    expect(document.entities).toMatchObject({
      process_percent: 0.66,
      sub_jobs_list: parts.map(({ id }) => id),
      sub_jobs_result: [
        {
          status: 'SUCCESS',
          job_type: 'imsCopyVolumeToImageJob',
          error_code: null,
          end_time: '2026-02-03T08:15:42.118Z',
        },
        { status: 'FAIL', error_code: 'IMG.0022', fail_reason: 'the job failed', entities: { image_name: 'two' } },
        { status: 'RUNNING', entities: { image_id: '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c', image_name: 'three' } },
      ],
    });
    expect(document.entities.sub_jobs_result?.[1]?.entities).not.toHaveProperty('image_id');
    expect(() => jobDocument.parse(document)).not.toThrow();
  });

  it('tells of bytes whose number in all nobody knows how many there are so far', () => {
    const fetching = { ...ingested(700), bytes_total: 0, step_share: 0 };
    const document = toJobDocument(aJob({}, { progress: fetching }), SHOWN);
    expect(document).toMatchObject({ bytes_done: 700 });
    expect(document).not.toHaveProperty('bytes_total');
  });

  it('tells no rate of bytes that have not moved for long', () => {
    const moving = { ...ingested(700), bytes_per_second: 100 };
    const at = (seconds: number) => ({ now: new Date(begin.getTime() + seconds * 1000), temporalUrl: undefined });
    expect(toJobDocument(aJob({}, { progress: moving }), at(10))).toMatchObject({ bytes_per_second: 100 });
    expect(toJobDocument(aJob({}, { progress: moving }), at(60))).not.toHaveProperty('bytes_per_second');
  });

  it('says of a job that is being cancelled that it is undone, not that it is paused', () => {
    const paused = { paused_at: begin, pauses: 1 };
    expect(toJobDocument(aJob(paused), SHOWN)).toMatchObject({ paused: true, paused_at: '2026-02-03T08:15:42.118Z' });
    const document = toJobDocument(aJob({ ...paused, cancel_reason: 'cancelled by alice' }), SHOWN);
    expect(document).not.toHaveProperty('paused');
    expect(document).not.toHaveProperty('paused_at');
  });

  it('says what could not be told of the system in a file, and that its support has ended (CRE-33, OS-01)', () => {
    const warningsOf = (osVersion: string, unknown: string[] = []) => {
      const [step] = done('identify-os');
      const output = {
        osType: 'Linux',
        osVersion,
        platform: 'Other',
        osBit: '64',
        architecture: 'x86',
        firmware: 'bios',
        evidence: [],
        unknown,
      };
      const steps = step === undefined ? [] : [{ ...step, output }];
      return toJobDocument(aJob({}, { steps }), { now: new Date('2026-11-24'), temporalUrl: undefined }).warnings;
    };
    expect(warningsOf('Other_Linux (64_bit)', ['bits: 64 is assumed'])).toEqual([
      'the system is in no table, registered as Other_Linux (64_bit): servers from it may fail, ask for support first',
      'could not be told: bits: 64 is assumed',
    ]);
    expect(warningsOf('CentOS 7.6 64bit')).toEqual([expect.stringContaining('support of CentOS 7 has ended')]);
    expect(warningsOf('Rocky Linux 8.5 64bit')).toBeUndefined();
    // A data disk has no system.
    expect(toJobDocument(aJob({}, { steps: done('identify-os') }), SHOWN)).not.toHaveProperty('warnings');
  });

  it('always gives a reason and a code on FAIL, also when none was recorded (ims-api 10.2)', () => {
    const { error_code, fail_reason, entities } = toJobDocument(aJob({ status: 'FAIL', outcome: 'failed' }), SHOWN);
    expect([error_code, fail_reason]).toEqual(['IMG.0061', 'the job failed']);
    expect(entities).toMatchObject({ error_code: 'IMG.0061', error: 'the job failed' });
    expect(entities).not.toHaveProperty('image_id');
  });
});
