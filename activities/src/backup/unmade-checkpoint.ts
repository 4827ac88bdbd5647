import { NeighbourError } from '@ims/neighbours';
import type { ActivityPorts } from '../step/ports';

/** Undoes a checkpoint. What was complete may have become the image of somebody else meanwhile: it is theirs then. */
export async function deleteUnlessImaged(
  { backups }: Pick<ActivityPorts, 'backups'>,
  projectId: string,
  checkpointId: string,
): Promise<void> {
  try {
    await backups.deleteCheckpoint(projectId, checkpointId);
  } catch (err) {
    if (!(err instanceof NeighbourError) || err.refusal !== 'IN_USE') throw err;
  }
}
