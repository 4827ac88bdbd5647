import { type FetchedFile, fetchedFile, type ImageCreateInput, type ImageSource } from '@ims/contract';
import { downloadFromWeb, StagingFullError } from '@ims/staging';
import type { ActivityPorts } from '../step/ports';
import { failure } from '../step/failure';
import { progressReporter } from '../step/progress';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'staged' | 'web'>;

/** Files of the web, on their way into the staging area. */
export function createFetchActivities(ports: Ports) {
  return {
    /** Goes on from the last durable byte as long as the file is the version it was begun with (REL: no byte is fetched twice without need). */
    fetchWebFile: (input: ImageCreateInput): Promise<FetchedFile> =>
      runStep(ports, {
        name: 'fetch',
        saga: 'image-create',
        input,
        parse: (output) => fetchedFile.parse(output),
        effect: async (run) => {
          await startJob(ports, 'fetch', input);
          const { uri, stagedId } = webSource(input.source);
          const progress = progressReporter(ports, run, input.jobId, 'fetch');
          try {
            await ports.staged.create(stagedId, { projectId: input.projectId, jobId: input.jobId });
            const onProgress = (done: number, total: number | null): void => {
              run.note({ bytesWritten: done });
              progress.tick(done, total ?? 0);
            };
            const sizeBytes = await downloadFromWeb(
              ports.staged,
              { id: stagedId, uri, signal: run.signal, onProgress },
              ports.web,
            );
            return { stagedId, sizeBytes };
          } catch (err) {
            // Somebody has to make room first; until then the job would only hold what it has.
            if (err instanceof StagingFullError)
              throw failure('IMG.0060', 'there is no room for the file', { cause: err, retryable: false });
            throw err;
          } finally {
            await progress.settle();
          }
        },
      }),
    dropFetched: (input: ImageCreateInput): Promise<void> =>
      runUndo(ports, {
        name: 'fetch',
        saga: 'image-create',
        input,
        effect: () => ports.staged.delete(webSource(input.source).stagedId),
      }),
  };
}

function webSource(source: ImageSource): Extract<ImageSource, { kind: 'web-file' }> {
  // The saga calls these steps for files of the web alone; anything else here is a defect of it.
  if (source.kind !== 'web-file') throw new TypeError(`a ${source.kind} is not of the web`);
  return source;
}
