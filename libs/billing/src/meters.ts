import type { Meter } from '@ims/contract';

/**
 * How a meter counts: what is kept for a time (GB·h), how long something is there (h), or what is used up at once (GB). A GB is 2^30 bytes
 * throughout, as the vendor counts disks and images.
 */
export type MeterKind = 'kept' | 'time' | 'once';

export interface MeterSpec {
  kind: MeterKind;
  unit: 'GB-Hours' | 'Hours' | 'GB';
  /** Why it costs nothing, whatever the rate card says; `null` where the card has the price. */
  freeBecause: string | null;
  /** What is counted, for people. */
  what: string;
  sku: string;
  /** Codes of backends F2.2. */
  cloudServiceType: string;
  resourceType: string;
  /** Factor of the pull records, and its unit: whole numbers, so smaller than ours (backends F2.1). */
  factor: 'duration' | 'upflow' | 'size';
  factorUnit: 'MB·h' | 's' | 'MB';
  /** Of the export by FOCUS (backends F3.2). */
  serviceCategory: 'Storage' | 'Compute';
}

const IMS = { cloudServiceType: 'hws.service.type.ims', resourceType: 'hws.resource.type.image' } as const;
const CBR = { cloudServiceType: 'hws.service.type.cbr', resourceType: 'hws.resource.type.cbr.vault' } as const;
const OBS = { cloudServiceType: 'hws.service.type.obs', resourceType: 'hws.resource.type.obs' } as const;

/** Every meter, once: unit, price or the reason of none, and its names in the records of others (backends F1, F2.2). */
export const METER_SPECS: Readonly<Record<Meter, MeterSpec>> = {
  /** BIL-02: for planning of capacity. */
  'image.storage': {
    kind: 'kept',
    unit: 'GB-Hours',
    freeBecause: 'images are kept free of charge (BIL-02)',
    what: 'image',
    sku: 'ims.image.storage',
    ...IMS,
    factor: 'size',
    factorUnit: 'MB·h',
    serviceCategory: 'Storage',
  },
  /** BIL-03, BIL-04, BIL-11: the image of a whole server is charged as the backup that it is. */
  'backup.storage': {
    kind: 'kept',
    unit: 'GB-Hours',
    freeBecause: null,
    what: 'backup',
    sku: 'vault.backup.server.normal',
    ...CBR,
    factor: 'size',
    factorUnit: 'MB·h',
    serviceCategory: 'Storage',
  },
  /** BIL-05, BIL-08: by the hour that the image is there, at the price of its product code. The provider sells a right, not bytes, so the size does not count. */
  'market.image': {
    kind: 'time',
    unit: 'Hours',
    freeBecause: null,
    what: 'marketplace image',
    sku: 'ims.market.image',
    ...IMS,
    factor: 'duration',
    factorUnit: 's',
    serviceCategory: 'Compute',
  },
  /** BIL-10. */
  'replication.traffic': {
    kind: 'once',
    unit: 'GB',
    freeBecause: null,
    what: 'replication',
    sku: 'ims.replication.traffic',
    ...OBS,
    factor: 'upflow',
    factorUnit: 'MB',
    serviceCategory: 'Storage',
  },
  /** BIL-11. */
  'backup-replication.traffic': {
    kind: 'once',
    unit: 'GB',
    freeBecause: null,
    what: 'replication of a backup',
    sku: 'ims.backup-replication.traffic',
    ...CBR,
    factor: 'upflow',
    factorUnit: 'MB',
    serviceCategory: 'Storage',
  },
  /** BIL-09: information. The object is charged by the service whose bucket it lies in. */
  export: {
    kind: 'once',
    unit: 'GB',
    freeBecause: 'an export is free of charge, its object is charged with the bucket that holds it (BIL-09)',
    what: 'export',
    sku: 'ims.export',
    ...OBS,
    factor: 'upflow',
    factorUnit: 'MB',
    serviceCategory: 'Storage',
  },
};
