import { jobDocument } from '@ims/contract';
import { durationText, milestone, sizeText, watchLine } from './job-lines';

const aJob = (more: object, percent = 0.42) =>
  jobDocument.parse({
    status: 'RUNNING',
    job_id: 'ff8080828f9a1c33018fa0b7d2c41e55',
    job_type: 'imsImportImageJob',
    begin_time: '2026-02-03T08:15:42.118Z',
    end_time: '',
    error_code: null,
    fail_reason: null,
    entities: { process_percent: percent, current_task: 'ImportImageTask:ingest' },
    ...more,
  });

describe(watchLine.name, () => {
  it('shows bar, state, step, bytes, rate and the time that is left', () => {
    const pace = { bytes_done: 3 * 2 ** 29, bytes_total: 2 ** 32, bytes_per_second: 2 ** 27, eta_seconds: 61 };
    expect(watchLine(aJob(pace))).toBe(
      '[########............]  42 %  RUNNING  ingest  1.5 GiB of 4.0 GiB, 128.0 MiB/s, 1 min 1 s left',
    );
  });

  it('shows how many bytes there are so far where nobody knows how many there will be', () => {
    expect(watchLine(aJob({ bytes_done: 2 ** 20, bytes_per_second: 2 ** 10 }))).toBe(
      '[########............]  42 %  RUNNING  ingest  1.0 MiB, 1.0 KiB/s',
    );
  });

  it('leaves out what is not known, and says that a job is paused', () => {
    expect(watchLine(aJob({ paused: true, paused_at: '2026-02-03T08:16:00.000Z' }))).toBe(
      '[########............]  42 %  RUNNING, paused  ingest',
    );
  });
});

describe(milestone.name, () => {
  it('changes with the state, the step and every tenth, and with nothing else', () => {
    const at = (percent: number, more: object = {}) => milestone(aJob(more, percent));
    expect(at(0.41, { bytes_done: 1, bytes_total: 9 })).toBe(at(0.49, { bytes_done: 2, bytes_total: 9 }));
    expect(new Set([at(0.41), at(0.5), at(0.41, { paused: true }), at(0.41, { status: 'INIT' })]).size).toBe(4);
  });
});

it.each([
  [sizeText(0), '0 B'],
  [sizeText(1023), '1023 B'],
  [sizeText(1536), '1.5 KiB'],
  [sizeText(2 ** 60), '1024.0 PiB'],
  [durationText(0.2), '1 s'],
  [durationText(59), '59 s'],
  [durationText(3600), '1 h 0 min'],
  [durationText(90_061), '25 h 1 min'],
])('%s reads %s', (text, expected) => expect(text).toBe(expected));
