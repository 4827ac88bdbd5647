/**
 * Task queues of a region: transfers apart from the short steps, so that a flood of the one cannot starve the other; and what touches servers and
 * their disks apart from both, because only the one worker that owns the embedded cloud may do it. Fetches from the web are apart too: how long one takes is a
 * stranger's choice.
 */
export const controlQueue = (region: string): string => `ims.${region}.control`;
export const transferQueue = (region: string): string => `ims.${region}.transfer`;
export const fetchQueue = (region: string): string => `ims.${region}.fetch`;
export const cloudQueue = (region: string): string => `ims.${region}.cloud`;
