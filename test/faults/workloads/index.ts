import type { Workload } from '../support/fault-bench';
import { cloudChange } from './cloud-change';
import { imageBatch } from './image-batch';
import { imageCopy } from './image-copy';
import { imageCreateBackup } from './image-create-backup';
import { imageCreateCancelled } from './image-create-cancelled';
import { imageCreateFile } from './image-create-file';
import { imageCreateServer } from './image-create-server';
import { imageCreateVolume } from './image-create-volume';
import { imageDelete } from './image-delete';
import { imageDigest } from './image-digest';
import { imageReceive } from './image-receive';
import { imageReplicate } from './image-replicate';
import { imageExport } from './image-export';
import { diskBackup, serverBackup } from './server-backup';
import { serverCreate } from './server-create';
import { storeCollect } from './store-collect';
import { volumeCreate } from './volume-create';

/** Every kind of work that the bench kills parts under. Another workflow, or another kind of source, is a line here and a file beside it. */
export const WORKLOADS = [
  imageCreateFile,
  imageCreateCancelled,
  imageCreateServer,
  imageCreateVolume,
  imageCreateBackup,
  imageBatch,
  imageExport,
  serverBackup,
  diskBackup,
  imageCopy,
  imageDelete,
  imageDigest,
  imageReplicate,
  imageReceive,
  serverCreate,
  volumeCreate,
  cloudChange,
  storeCollect,
] as const satisfies readonly Workload[];
