export { imageCreate } from './image-create/image-create.workflow';
export { imageDigest } from './image-digest/image-digest.workflow';
