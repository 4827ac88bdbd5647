import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import {
  imageAttributes,
  imageId,
  ImsError,
  isImageId,
  type Listing,
  LISTING_PARTIES,
  LISTING_STATUSES,
  type MarketActionRequest,
  type MarketListing,
  type MarketListings,
  type MarketListingsQuery,
  PLATFORM_PROJECT,
  projectId,
} from '@ims/contract';
import { type Clock, type Database, type ImageRow, ImagesRepository, inTransaction } from '@ims/db';
import { decideMarketAction, isEncrypted, type ListableImage } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { z } from 'zod';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import { CLOCK } from '../http/injection-tokens';

const stored: z.ZodType<Listing> = z.object({
  round: z.number(),
  status: z.enum(LISTING_STATUSES),
  productCode: z.string(),
  approvedBy: z.array(z.enum(LISTING_PARTIES)),
  reason: z.string().nullable(),
});

/** What is sold on the marketplace, and the way there (IMG-14, SVC-10). */
@Injectable()
export class MarketService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly images: ImagesRepository,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Those of the caller's own project; of all projects for whoever runs the market. */
  async list(caller: Call, { status }: MarketListingsQuery): Promise<MarketListings> {
    const rows = await this.images.listings({
      ...(caller.projectId === PLATFORM_PROJECT ? {} : { projectId: caller.projectId }),
      ...(status === undefined ? {} : { status }),
    });
    return { listings: rows.map(listingOf) };
  }

  /** @throws ImsError as `decideMarketAction` */
  async act(caller: Call, id: string, request: MarketActionRequest): Promise<MarketListing> {
    return inTransaction(this.db, async (trx) => {
      const images = new ImagesRepository(trx);
      const row = isImageId(id) ? await images.findForMarket(caller.projectId, id) : undefined;
      const code = request.product_code;
      // Of two providers that want one code at once the second sees the first one's.
      const providers = code === undefined ? [] : await images.lockProvidersOf(code);
      const events = decideMarketAction(row && (await listable(images, row)), {
        projectId: projectId(caller.projectId),
        request,
        freshProductCode: randomUUID().replaceAll('-', ''),
        providers,
      });
      if (row === undefined) throw new TypeError('something was decided on an image that is not there');
      // Whoever decides on it, the trail is its owner's.
      await appendEvents(trx, { ...eventContext(caller), projectId: row.project_id }, events, this.clock);
      const after = await images.ancestor(id);
      if (after === undefined) throw new TypeError(`image ${id} is gone in the middle of a change`);
      return listingOf(after);
    });
  }
}

async function listable(images: ImagesRepository, row: ImageRow): Promise<ListableImage> {
  const attributes = imageAttributes.parse(row.attributes);
  const text = (name: string): string | undefined => {
    const value = attributes[name];
    return value === undefined || value === null || value === '' ? undefined : String(value);
  };
  // What it inherits, not what it is sold by itself.
  const inherited = row.product_code;
  const sellers = inherited === null ? [] : await images.providersOf(inherited);
  return {
    id: imageId(row.id),
    projectId: projectId(row.project_id),
    listing: row.listing === null ? null : stored.parse(row.listing),
    status: row.status,
    imageType: row.image_type,
    virtualEnvType: text('virtual_env_type') ?? 'FusionCompute',
    isWholeServer: text('__whole_image') === 'true',
    backupId: text('__data_origin')?.startsWith('server_backup,') === true ? text('__backup_id') : undefined,
    isEncrypted: isEncrypted(attributes),
    isOfAnotherProduct: inherited !== null && !sellers.includes(row.project_id),
  };
}

function listingOf(row: ImageRow): MarketListing {
  const listing = stored.safeParse(row.listing);
  if (!listing.success) throw new ImsError('IMG.0044', 'nobody asked for it to be listed');
  const { productCode, status, approvedBy, reason } = listing.data;
  return {
    image_id: row.id,
    image_name: row.name,
    owner: row.project_id,
    product_code: productCode,
    status,
    approved_by: approvedBy,
    reason,
  };
}
