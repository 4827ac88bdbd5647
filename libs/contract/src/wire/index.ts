export * from './refusal';
export * from './image-create-request';
export * from './image-list-query';
export * from './image-metadata-request';
export * from './image-answers';
export * from './identity';
export * from './servers';
export * from './volumes';
