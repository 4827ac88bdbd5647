import { connect } from '@ims/db';
import type { DedupDomainId, JobId } from '@ims/contract';
import type { DiskDescriptor } from '@ims/image-format';
import { createImageStore } from '../store/image-store';

/** Runs one ingest in a process of its own, so that a spec can kill it. Tells its progress line by line. */
interface ChildInput {
  url: string;
  directory: string;
  threads: number;
  jobId: JobId;
  domainId: DedupDomainId;
  part?: string;
  disk: DiskDescriptor;
}

async function main(): Promise<void> {
  // The spec wrote it with JSON.stringify from exactly this type.
  const input = JSON.parse(process.argv[2] ?? '') as ChildInput;
  const db = connect(input.url, { poolSize: 4 });
  const store = createImageStore({ db, directory: input.directory, threads: input.threads });
  const disk = await store.ingest({
    jobId: input.jobId,
    domainId: input.domainId,
    ...(input.part === undefined ? {} : { part: input.part }),
    disk: input.disk,
    signal: new AbortController().signal,
    onProgress: (progress) => process.stdout.write(`${JSON.stringify(progress)}\n`),
  });
  process.stdout.write(`${JSON.stringify({ disk })}\n`);
  await store.close();
  await db.destroy();
}

main().catch((error: unknown) => {
  process.stdout.write(`${JSON.stringify({ failed: error instanceof Error ? error.name : String(error) })}\n`);
  process.exit(1);
});
