import type { ImageSource } from '@ims/contract';
import type { ActivityPorts } from './ports';

/** Removes what was sent or fetched for a job that has ended. The sweeper finds what this misses, so a job never fails by it. */
export async function forgetStaged(
  { staged }: Pick<ActivityPorts, 'staged'>,
  source: ImageSource | undefined,
): Promise<void> {
  if (source?.kind !== 'staged-file' && source?.kind !== 'web-file') return;
  await staged.delete(source.stagedId).catch(() => undefined);
}
