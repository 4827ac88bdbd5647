export { imageBatch } from './image-batch/image-batch.workflow';
export { imageCreate } from './image-create/image-create.workflow';
export { imageDelete } from './image-delete/image-delete.workflow';
export { imageDigest } from './image-digest/image-digest.workflow';
export { storeCollect } from './store-collect/store-collect.workflow';
