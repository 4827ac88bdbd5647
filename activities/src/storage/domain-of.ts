import type { DedupDomainId } from '@ims/contract';
import type { ActivityPorts } from '../step/ports';

/** Where an image of the project is stored: in the open, or under the key that it is to be kept under (ENC-01). */
export const domainOf = (
  store: Pick<ActivityPorts['store'], 'plainDomain' | 'keyedDomain'>,
  projectId: string,
  cmkId: string | undefined,
): Promise<DedupDomainId> => (cmkId === undefined ? store.plainDomain(projectId) : store.keyedDomain(projectId, cmkId));
