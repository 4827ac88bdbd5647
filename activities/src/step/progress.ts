import { ProgressRepository } from '@ims/db';
import { LatestWriter } from './latest-writer';
import type { StepPorts, StepRun } from './run-step';

// One row write a second is all a person can see; the rest would only wear out the database.
const WRITE_EVERY_MS = 1_000;

/**
 * Progress of a transfer: into its own table and the evidence of its attempt at most once a second (one statement), and into the heartbeat, which is what Temporal's UI shows.
 * No event and no signal per tick, so a job's history does not grow with its bytes.
 */
export function progressReporter(ports: StepPorts, run: StepRun, jobId: string, step: string) {
  const progress = new ProgressRepository(ports.db);
  const rows = new LatestWriter<{ bytesDone: number; bytesTotal: number }>(
    WRITE_EVERY_MS,
    ({ bytesDone, bytesTotal }) =>
      // A lost tick is made good by the next one.
      progress.report(jobId, step, bytesDone, bytesTotal, ports.clock.now(), run.noted()).catch(() => undefined),
  );

  return {
    /** `bytesTotal`: 0 while nobody knows it. */
    tick(bytesDone: number, bytesTotal: number): void {
      const text = bytesTotal === 0 ? sizeOf(bytesDone) : `${sizeOf(bytesDone)} of ${sizeOf(bytesTotal)}`;
      run.report({ step, bytesDone, bytesTotal, text });
      run.note({ bytesDone, bytesTotal });
      rows.put({ bytesDone, bytesTotal });
    },
    /** Waits for the last write, so that none arrives after the step's own event. */
    settle: (): Promise<void> => rows.settle(),
  };
}

function sizeOf(bytes: number): string {
  const gib = bytes / 2 ** 30;
  return gib >= 1 ? `${gib.toFixed(2)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
