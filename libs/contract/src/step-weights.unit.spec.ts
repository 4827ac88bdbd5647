import { IMAGE_COPY_STEPS } from './image-copy';
import { WEB_FILE_STEPS, WHOLE_SERVER_STEPS } from './image-create';
import { IMAGE_EXPORT_STEPS } from './image-export';
import { IMAGE_RECEIVE_STEPS } from './image-receive';
import { IMAGE_REPLICATE_STEPS } from './image-replicate';
import { SERVER_BACKUP_STEPS } from './server-backup';
import { stepWeight } from './step-weights';

describe(stepWeight.name, () => {
  // The time that a job still needs is reckoned by these shares from the step at work.
  it.each([
    ['ingest', WHOLE_SERVER_STEPS],
    ['disks', WHOLE_SERVER_STEPS],
    ['disks', SERVER_BACKUP_STEPS],
    ['fetch', WEB_FILE_STEPS],
    ['copy-disk', IMAGE_COPY_STEPS],
    ['export', IMAGE_EXPORT_STEPS],
    ['receive', IMAGE_RECEIVE_STEPS],
    ['await-receive', IMAGE_REPLICATE_STEPS],
  ] as const)('makes %s, which moves all bytes, a large part of its job', (step, steps) => {
    const total = steps.reduce((sum: number, each) => sum + stepWeight(each), 0);
    expect(stepWeight(step) / total).toBeGreaterThan(0.35);
  });
});
