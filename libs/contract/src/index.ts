export * from './ids';
export * from './download';
export * from './image-create';
export * from './image-delete';
export * from './store-collect';
export * from './events';
export * from './errors';
export * from './wire';
