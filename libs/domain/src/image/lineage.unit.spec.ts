import { lineageFrom, type LineageParent } from './lineage';

const parent = (more: Partial<LineageParent> = {}): LineageParent => ({
  id: 'a',
  imageType: 'private',
  platform: 'Ubuntu',
  productCode: undefined,
  inherited: { publicPlatform: null, productCode: null },
  ...more,
});

describe(lineageFrom, () => {
  it('names the parent, and nothing more where the line begins with a private image', () => {
    expect(lineageFrom(parent())).toEqual({ parentImageId: 'a', publicPlatform: null, productCode: null });
  });

  it('keeps the platform of the public image at the beginning, at any depth and across regions (EXP-09)', () => {
    const first = lineageFrom(parent({ imageType: 'gold' }));
    const second = lineageFrom(parent({ id: 'b', platform: 'CentOS', inherited: first }));
    // A replica's parent is in another region: the line is broken there, what it passes on is not.
    const replica = { ...lineageFrom(parent({ id: 'c', inherited: second })), parentImageId: null };
    expect(lineageFrom(parent({ id: 'd', inherited: replica }))).toEqual({
      parentImageId: 'd',
      publicPlatform: 'Ubuntu',
      productCode: null,
    });
  });

  it('keeps the product code of the marketplace image at the beginning, at depth 3 (EXP-10, BIL-08)', () => {
    const first = lineageFrom(parent({ imageType: 'market', productCode: 'pc-1' }));
    const second = lineageFrom(parent({ id: 'b', inherited: first }));
    expect(lineageFrom(parent({ id: 'c', inherited: second })).productCode).toBe('pc-1');
  });
});
