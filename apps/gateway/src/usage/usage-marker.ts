import { ImsError } from '@ims/contract';
import type { UsagePlace } from '@ims/db';

/** The line that a page begins with: one of the usage at this place, by the time at which it begins. */
export interface UsageMarker extends UsagePlace {
  begin: Date;
}

// The first part names the version, so that a later order can refuse or translate markers of this one.
const MARKER = /^1\|(\d{1,15})\|(\d{1,15})\|([\w.:-]{1,200})$/;

export const encodeMarker = ({ openedAt, begin, id }: UsageMarker): string =>
  Buffer.from(`1|${openedAt.getTime()}|${begin.getTime()}|${id}`).toString('base64url');

/** @throws ImsError IMG.0001 on text that no page has ended with */
export function decodeMarker(text: string): UsageMarker {
  const [, openedAt, begin, id] = MARKER.exec(Buffer.from(text, 'base64url').toString('latin1')) ?? [];
  const marker = { openedAt: new Date(Number(openedAt)), begin: new Date(Number(begin)), id: id ?? '' };
  // The last day that Postgres and JavaScript both know is far beyond; anything later was not made here.
  if (id === undefined || marker.openedAt.getTime() > MAX_TIME || marker.begin.getTime() > MAX_TIME)
    throw new ImsError('IMG.0001', 'marker is none of this list');
  return marker;
}

const MAX_TIME = Date.UTC(9999, 0);
