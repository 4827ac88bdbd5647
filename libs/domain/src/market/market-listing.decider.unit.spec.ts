import {
  imageId,
  ImsError,
  type MarketActionRequest,
  PLATFORM_PROJECT,
  projectId,
  type ProjectId,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { evolveImage, type ImageState } from '../trail/image.evolver';
import { decideMarketAction, type ListableImage } from './market-listing.decider';

const SELLER = projectId('5'.repeat(32));
const STRANGER = projectId('7'.repeat(32));
const ID = imageId('11111111-1111-4111-8111-111111111111');
const AT = new Date('2026-11-24T10:00:00Z');

const anImage = (changes: Partial<ListableImage> = {}): ListableImage => ({
  id: ID,
  projectId: SELLER,
  listing: null,
  status: 'active',
  imageType: 'private',
  virtualEnvType: 'FusionCompute',
  isWholeServer: false,
  backupId: undefined,
  isEncrypted: false,
  isOfAnotherProduct: false,
  ...changes,
});

const act = (
  image: ListableImage | undefined,
  request: Partial<MarketActionRequest>,
  { by = SELLER, providers = [] }: { by?: ProjectId; providers?: string[] } = {},
): DomainEvent[] =>
  decideMarketAction(image, {
    projectId: by,
    request: { operation: 'publish', mode: 'market', ...request },
    freshProductCode: 'fresh',
    providers,
  });

function codeOf(attempt: () => unknown): string | undefined {
  try {
    attempt();
  } catch (error) {
    if (error instanceof ImsError) return error.code;
    throw error;
  }
  return undefined;
}

/** An image whose listing goes through `steps`; what came of it, and the keys of its events. */
function story(...steps: [Partial<MarketActionRequest>, ProjectId?][]) {
  let state: ImageState | undefined = {
    ...blank(),
    status: 'active',
  };
  const keys: string[] = [];
  for (const [request, by = SELLER] of steps) {
    const image = anImage({ listing: state?.listing ?? null, imageType: state?.image_type ?? 'private' });
    for (const { type, key, data, stream } of act(image, request, { by })) {
      keys.push(key);
      // The event is one of a listing, whichever it is.
      const event = { type, data, streamId: stream, projectId: SELLER, occurredAt: AT } as Parameters<
        typeof evolveImage
      >[1];
      state = evolveImage(state, event);
    }
  }
  return { state, keys };
}

function blank(): ImageState {
  const state = evolveImage(undefined, {
    type: 'image.queued',
    streamId: `image:${ID}`,
    projectId: SELLER,
    occurredAt: AT,
    data: { name: 'a', diskFormat: 'zvhd2', minDiskGib: 1, minRamMib: 0, tags: [], attributes: {} },
  });
  if (state === undefined) throw new Error('a queued image is one');
  return state;
}

const publish = { operation: 'publish', product_code: 'db-1' } as const;
const approve = { operation: 'approve' } as const;

describe(decideMarketAction.name, () => {
  it.each<[string, [ProjectId, ProjectId]]>([
    ['the provider first', [SELLER, PLATFORM_PROJECT]],
    ['the market first', [PLATFORM_PROJECT, SELLER]],
  ])('lists an image with the second approval, %s (IMG-14)', (_, [first, second]) => {
    const { state: waiting } = story([publish], [approve, first]);
    expect(waiting).toMatchObject({ image_type: 'private', listing: { status: 'requested' } });
    const { state, keys } = story([publish], [approve, first], [approve, second]);
    expect(state).toMatchObject({
      image_type: 'market',
      attributes: { __productcode: 'db-1' },
      listing: { status: 'listed', round: 1 },
    });
    expect(new Set(state?.listing?.approvedBy)).toEqual(new Set(['provider', 'market']));
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('does not take one side’s approval for both (IMG-14)', () => {
    for (const by of [SELLER, PLATFORM_PROJECT])
      expect(codeOf(() => story([publish], [approve, by], [approve, by]))).toBe('IMG.0044');
  });

  it('is the owner’s private image again after a withdrawal, and can be published anew (MGT-06)', () => {
    const listed = [[publish], [approve], [approve, PLATFORM_PROJECT]] as const;
    const { state } = story(...listed.map((step): [Partial<MarketActionRequest>, ProjectId?] => [...step]), [
      { operation: 'withdraw', reason: 'too cheap' },
    ]);
    expect(state).toMatchObject({
      image_type: 'private',
      attributes: {},
      listing: { status: 'withdrawn', reason: 'too cheap' },
    });
    const { keys } = story([publish], [{ operation: 'refuse' }, PLATFORM_PROJECT], [publish], [approve]);
    expect(keys).toEqual([
      'listing-requested:1',
      'listing-refused:1',
      'listing-requested:2',
      'listing-approved:2:provider',
    ]);
  });

  it('makes a code where the provider has chosen none', () => {
    expect(act(anImage(), {})).toMatchObject([{ data: { productCode: 'fresh', round: 1 } }]);
  });

  it.each<[string, string, Partial<ListableImage>]>([
    ['IMG.0046', 'that is not active', { status: 'queued' }],
    ['IMG.0083', 'that is public', { imageType: 'gold' }],
    ['IMG.0124', 'of a data disk', { virtualEnvType: 'DataImage' }],
    ['IMG.0051', 'from a backup', { backupId: 'b', isWholeServer: true }],
    ['IMG.0129', 'of a whole server', { isWholeServer: true }],
    ['IMG.0082', 'that is encrypted', { isEncrypted: true }],
    ['IMG.0082', 'that is an ISO file', { virtualEnvType: 'IsoImage' }],
    ['IMG.0043', 'made from somebody else’s product', { isOfAnotherProduct: true }],
  ])('refuses with %s to publish an image %s (IMG-14)', (code, _, changes) => {
    expect(codeOf(() => act(anImage(), publish))).toBeUndefined();
    expect(codeOf(() => act(anImage(changes), publish))).toBe(code);
    // Whatever has become of it since it was asked for.
    const listing = { round: 1, status: 'requested', productCode: 'a', approvedBy: [], reason: null } as const;
    if (changes.imageType === undefined)
      expect(codeOf(() => act(anImage({ ...changes, listing: { ...listing, approvedBy: [] } }), approve))).toBe(code);
  });

  it.each([
    ['IMG.0125', { virtualEnvType: 'DataImage' }],
    ['IMG.0131', { isWholeServer: true }],
    ['IMG.0082', {}],
  ])('refuses with %s to make an image public', (code, changes) => {
    expect(codeOf(() => act(anImage(changes), { ...publish, mode: 'public' }))).toBe(code);
  });

  it('refuses to publish twice (IMG.0049), and by the code of another provider (IMG.0045)', () => {
    expect(codeOf(() => story([publish], [publish]))).toBe('IMG.0049');
    expect(codeOf(() => story([publish], [approve], [approve, PLATFORM_PROJECT], [publish]))).toBe('IMG.0049');
    expect(codeOf(() => act(anImage(), publish, { providers: [STRANGER] }))).toBe('IMG.0045');
    expect(codeOf(() => act(anImage(), publish, { providers: [SELLER] }))).toBeUndefined();
  });

  it.each([
    ['approve', 'IMG.0044'],
    ['refuse', 'IMG.0050'],
    ['withdraw', 'IMG.0042'],
  ] as const)('refuses to %s what nobody has asked for with %s', (operation, code) => {
    expect(codeOf(() => act(anImage(), { operation }))).toBe(code);
    expect(codeOf(() => story([publish], [{ operation: 'refuse' }], [{ operation }]))).toBe(code);
  });

  it.each([
    ['an image that nobody shows the caller', undefined, 'IMG.0144'],
    ['one that is shared', anImage(), 'IMG.0052'],
    ['one that somebody else sells', anImage({ imageType: 'market' }), 'IMG.0047'],
    ['a public one', anImage({ imageType: 'gold' }), 'IMG.0083'],
  ])('lets a stranger do nothing with %s', (_, image, code) => {
    for (const operation of ['publish', 'approve', 'refuse', 'withdraw'] as const)
      expect(codeOf(() => act(image, { operation }, { by: STRANGER }))).toBe(code);
  });
});
