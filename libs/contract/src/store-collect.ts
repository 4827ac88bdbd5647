import { z } from 'zod';

/** Steps of the saga `store-collect`, in order. */
export const STORE_COLLECT_STEPS = ['collect', 'audit'] as const;
export type StoreCollectStep = (typeof STORE_COLLECT_STEPS)[number];

export const storeCollectInput = z.object({
  jobId: z.string(),
  /** Fencing epoch, as of every job. */
  epoch: z.number().int().positive(),
  projectId: z.string(),
});
export type StoreCollectInput = z.infer<typeof storeCollectInput>;

/** What one pass of the collector removed. */
export const collectedStore = z.object({
  segmentsRemoved: z.number().int().nonnegative(),
  packsRemoved: z.number().int().nonnegative(),
  /** Bytes set free in the availability zone. */
  bytesRemoved: z.number().int().nonnegative(),
});
export type CollectedStore = z.infer<typeof collectedStore>;

// An event has at most 65,535 bytes (events.md); so many names of 130 bytes, twice, fit well.
export const MOST_NAMED_OBJECTS = 100;

/** What the store holds that no row explains, and what rows require that it does not hold; of each at most `MOST_NAMED_OBJECTS` by name. */
export const auditedStore = z.object({
  unknownObjectCount: z.number().int().nonnegative(),
  missingObjectCount: z.number().int().nonnegative(),
  unknownObjects: z.array(z.string()).max(MOST_NAMED_OBJECTS),
  missingObjects: z.array(z.string()).max(MOST_NAMED_OBJECTS),
});
export type AuditedStore = z.infer<typeof auditedStore>;
