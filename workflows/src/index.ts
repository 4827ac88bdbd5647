export { imageBatch } from './image-batch/image-batch.workflow';
export { cloudChange } from './cloud-change/cloud-change.workflow';
export { imageCreate } from './image-create/image-create.workflow';
export { imageDelete } from './image-delete/image-delete.workflow';
export { imageDigest } from './image-digest/image-digest.workflow';
export { storeCollect } from './store-collect/store-collect.workflow';
export { serverCreate } from './server-create/server-create.workflow';
export { volumeCreate } from './volume-create/volume-create.workflow';
