/** What is metered, by the name that events, records and the rate card have for it. */
export const METERS = [
  /** Bytes of an image in the store, over time (BIL-02). */
  'image.storage',
  /** Bytes of a backup that an image of a whole server is, over time (BIL-03). */
  'backup.storage',
  /** An image of the marketplace, or one made from it, over time (BIL-05, BIL-08). */
  'market.image',
  /** Bytes that went to another region for a replica of an image of disks (BIL-10). */
  'replication.traffic',
  /** The same for an image of a whole server (BIL-11). */
  'backup-replication.traffic',
  /** Bytes that were written into a bucket of the user's, who pays for them there (BIL-09). */
  'export',
] as const;
export type Meter = (typeof METERS)[number];
