import type { ImageLineage } from '@ims/contract';

/** What of an image its descendants inherit. */
export interface LineageParent {
  id: string;
  /** `__imagetype` (ims-api 2.2). */
  imageType: string;
  /** `__platform` of its system. */
  platform: string | undefined;
  /** `__productcode` of its own. */
  productCode: string | undefined;
  /** What it inherited itself. */
  inherited: Omit<ImageLineage, 'parentImageId'>;
}

/**
 * The lineage of an image that is made from `parent`, by whatever way: copy, replica, server, backup. Each generation takes over what the one before
 * had, so the rules that ask (EXP-09, EXP-10, BIL-08) look at one image, however deep the line is and wherever its beginning has gone.
 */
export function lineageFrom(parent: LineageParent): ImageLineage {
  const isPublic = parent.imageType === 'gold';
  return {
    parentImageId: parent.id,
    publicPlatform: parent.inherited.publicPlatform ?? (isPublic ? (parent.platform ?? null) : null),
    productCode: parent.productCode ?? parent.inherited.productCode,
  };
}
