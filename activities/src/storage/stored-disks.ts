import { CONTENT, dataDiskPart, type IngestedDisk } from '@ims/contract';

export interface NamedStoredDisk {
  /** Name in the store. */
  part: string;
  /** Where the server had it; absent for the disk that is the image's content. */
  device?: string;
  domainId: string;
  manifestHash: string;
  virtualSizeBytes: number;
  storedBytes: number;
}

/** The disks that a job has stored, the content first. */
export function storedDisksOf({ dataDisks = [], ...content }: IngestedDisk): NamedStoredDisk[] {
  return [{ ...content, part: CONTENT }, ...dataDisks.map((disk) => ({ ...disk, part: dataDiskPart(disk.device) }))];
}
