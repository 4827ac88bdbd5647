/** Task queues of a region: transfers apart from the short steps, so that a flood of the one cannot starve the other. */
export const controlQueue = (region: string): string => `ims.${region}.control`;
export const transferQueue = (region: string): string => `ims.${region}.transfer`;
