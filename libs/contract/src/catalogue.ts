import { z } from 'zod';

/**
 * Where the bytes of a public image come from, and what they must be: facts of its entry in the catalogue that every event about the entry repeats
 * (ADV-04).
 */
export const catalogueFacts = z.object({
  /** Name of the entry within the catalogue; stays the same over all versions. */
  key: z.string(),
  version: z.string(),
  /** How often the entry was written down for this image, beginning with 1. */
  revision: z.number().int().positive(),
  /** `bucket:object`, or an address of the web; `null` where the entry names no bytes. */
  source: z.string().nullable(),
  /** Digest of the source's bytes, lower-case hex; `null` where there are none. */
  sha256: z.string().nullable(),
  /** Who publishes the system. */
  vendor: z.string(),
  /** Who builds its kernel. */
  kernelVendor: z.string(),
  licence: z.string(),
  /** Page on which the vendor publishes it. */
  homepage: z.string().nullable(),
});
export type CatalogueFacts = z.infer<typeof catalogueFacts>;

/** How far the listing of an image on the marketplace has come (IMG-14). */
export const LISTING_STATUSES = ['requested', 'listed', 'refused', 'withdrawn'] as const;
export type ListingStatus = (typeof LISTING_STATUSES)[number];

/** Who has to approve before an image is listed: who offers it, and who runs the market (IMG-14). */
export const LISTING_PARTIES = ['provider', 'market'] as const;
export type ListingParty = (typeof LISTING_PARTIES)[number];
export const listingParty = z.enum(LISTING_PARTIES);

/** The listing of an image as its row and its past states have it. */
export interface Listing {
  /** Which request of this image it is, beginning with 1. */
  round: number;
  status: ListingStatus;
  productCode: string;
  /** In the order in which they came. */
  approvedBy: ListingParty[];
  /** Why it was refused or withdrawn. */
  reason: string | null;
}
