import {
  type ImageId,
  imageStream,
  ImsError,
  type Listing,
  LISTING_PARTIES,
  type ListingParty,
  type MarketActionRequest,
  PLATFORM_PROJECT,
  type ProjectId,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { checkListable, type ListableContent, refusePublic } from './market-listing.rules';

/** An image that its owner sells, or wants to. */
export interface ListableImage extends ListableContent {
  id: ImageId;
  projectId: ProjectId;
  listing: Listing | null;
}

export interface MarketActionCommand {
  /** Project of the caller. */
  projectId: ProjectId;
  request: MarketActionRequest;
  /** For an image whose provider has chosen no code. */
  freshProductCode: string;
  /** Projects that have sold something by the wanted code, ever. */
  providers: readonly string[];
}

/**
 * Decides on a step on an image's way to the marketplace and back (IMG-14, MGT-06, SVC-10): its owner asks, both its owner and whoever runs the market
 * approve, in either order, and with the second approval it is listed; either may refuse before, and withdraw after.
 *
 * @param image as the caller sees it: of its own project, shared with it, or anyone's for whoever runs the market; `undefined` for any other
 * @throws ImsError of an image that is not the caller's: IMG.0144 (404) unseen, IMG.0052 shared, IMG.0047 on sale by somebody else. `publish`: IMG.0049
 *   listed or under way, IMG.0045 another provider's code, and as `checkListable`; with mode `public` as `refusePublic`. `approve`: IMG.0044 not under
 *   way or approved by this party. `refuse`: IMG.0050 not under way. `withdraw`: IMG.0042 not listed
 */
export function decideMarketAction(image: ListableImage | undefined, command: MarketActionCommand): DomainEvent[] {
  if (image === undefined) throw new ImsError('IMG.0144', undefined, 404);
  const { request } = command;
  switch (request.operation) {
    case 'publish':
      return published(image, command);
    case 'approve':
      return approved(image, partyOf(image, command));
    case 'refuse':
      return refused(image, partyOf(image, command), request.reason);
    case 'withdraw':
      return withdrawn(image, partyOf(image, command), request.reason);
    default:
      return request.operation satisfies never;
  }
}

const isOwner = (image: ListableImage, { projectId }: MarketActionCommand): boolean => image.projectId === projectId;

/** In whose name the caller speaks. Whoever runs the market and sells on it speaks for the image first, where that is still to be said. */
function partyOf(image: ListableImage, command: MarketActionCommand): ListingParty {
  const isMarket = command.projectId === PLATFORM_PROJECT;
  if (!isOwner(image, command)) {
    if (isMarket) return 'market';
    throw foreign(image);
  }
  return isMarket && image.listing?.approvedBy.includes('provider') === true ? 'market' : 'provider';
}

function foreign(image: ListableImage): ImsError {
  switch (image.imageType) {
    case 'gold':
    case 'public':
      return new ImsError('IMG.0083', 'it belongs to the platform');
    case 'market':
      return new ImsError('IMG.0047', 'somebody else sells it');
    default:
      return new ImsError('IMG.0052', 'it is shared with you, not yours');
  }
}

function published(image: ListableImage, command: MarketActionCommand): DomainEvent[] {
  if (!isOwner(image, command)) throw foreign(image);
  const { request, providers, freshProductCode } = command;
  if (request.mode === 'public') refusePublic(image);
  const { listing } = image;
  if (image.imageType === 'market' || listing?.status === 'requested') throw new ImsError('IMG.0049');
  checkListable(image);
  if (providers.some((provider) => provider !== image.projectId))
    throw new ImsError('IMG.0045', `${request.product_code ?? 'the code'} is another provider's`);
  const productCode = request.product_code ?? freshProductCode;
  const round = (listing?.round ?? 0) + 1;
  return [of(image, round, { type: 'image.listing-requested', data: { round, productCode } })];
}

function approved(image: ListableImage, by: ListingParty): DomainEvent[] {
  const { round, productCode, approvedBy } = underWay(image, 'IMG.0044');
  if (approvedBy.includes(by)) throw new ImsError('IMG.0044', `the ${by} has approved; the other side has not`);
  // Much may have happened to it since it was asked for.
  checkListable(image);
  const approval = of(image, round, { type: 'image.listing-approved', data: { round, by } }, by);
  const isLast = LISTING_PARTIES.every((party) => party === by || approvedBy.includes(party));
  return isLast ? [approval, of(image, round, { type: 'image.listed', data: { round, productCode } })] : [approval];
}

function refused(image: ListableImage, by: ListingParty, reason = 'no reason given'): DomainEvent[] {
  const { round } = underWay(image, 'IMG.0050');
  return [of(image, round, { type: 'image.listing-refused', data: { round, by, reason } })];
}

function withdrawn(image: ListableImage, by: ListingParty, reason = 'no reason given'): DomainEvent[] {
  const { listing } = image;
  if (image.imageType !== 'market' || listing?.status !== 'listed') throw new ImsError('IMG.0042');
  const { round } = listing;
  return [of(image, round, { type: 'image.delisted', data: { round, by, reason } })];
}

function underWay({ listing }: ListableImage, code: 'IMG.0044' | 'IMG.0050'): Listing {
  if (listing?.status !== 'requested')
    throw new ImsError(code, listing === null ? 'nobody asked for it to be listed' : `it is ${listing.status}`);
  return listing;
}

type Change = {
  [T in DomainEvent['type']]: Pick<Extract<DomainEvent, { type: T }>, 'type' | 'data'>;
}['image.listing-requested' | 'image.listing-approved' | 'image.listed' | 'image.listing-refused' | 'image.delisted'];

/** An image is listed and withdrawn any number of times; each round has each step once, an approval once by each party. */
const of = (image: ListableImage, round: number, change: Change, by = ''): DomainEvent => ({
  ...change,
  stream: imageStream(image.id),
  key: `${change.type.replace('image.', '')}:${round}${by === '' ? '' : `:${by}`}`,
});
