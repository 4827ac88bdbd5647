import type { Workload } from '../support/fault-bench';
import { imageCreateCancelled } from './image-create-cancelled';
import { imageCreateFile } from './image-create-file';
import { imageCreateServer } from './image-create-server';
import { imageDelete } from './image-delete';
import { imageDigest } from './image-digest';
import { storeCollect } from './store-collect';

/** Every kind of work that the bench kills parts under. A new workflow belongs here: `histories.replay` lists which there are. */
export const WORKLOADS = [
  imageCreateFile,
  imageCreateCancelled,
  imageCreateServer,
  imageDelete,
  imageDigest,
  storeCollect,
] as const satisfies readonly Workload[];
