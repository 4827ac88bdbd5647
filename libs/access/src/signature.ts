import { createHmac, hkdfSync } from 'node:crypto';
import { type CanonicalParts, canonicalRequest, sha256Hex } from './canonical-request';

export const SDK_ALGORITHM = 'SDK-HMAC-SHA256';
export const DERIVED_ALGORITHM = 'V11-HMAC-SHA256';

/** Scope of a derived key (iam 7): `day` as YYYYMMDD, region (`globe` for global services), service. */
export interface CredentialScope {
  day: string;
  region: string;
  service: string;
}

export interface SigningKey {
  access: string;
  secret: string;
  /** Set: a derived key of this scope signs (V11-HMAC-SHA256); left out: the secret itself (SDK-HMAC-SHA256). */
  scope?: CredentialScope;
}

const scopeText = ({ day, region, service }: CredentialScope): string => `${day}/${region}/${service}`;

/** Hex text of the derived key; the text, not the bytes, is the HMAC key (iam 7). */
export function derivedKey({ access, secret }: { access: string; secret: string }, scope: CredentialScope): string {
  return Buffer.from(hkdfSync('sha256', secret, access, scopeText(scope), 32)).toString('hex');
}

/** Signature in lower-case hex (iam 6.1, 7). `date` is the literal X-Sdk-Date. */
export function signatureOf(parts: CanonicalParts, date: string, key: SigningKey): string {
  const requestHash = sha256Hex(canonicalRequest(parts));
  const [secret, lines] =
    key.scope === undefined
      ? [key.secret, [SDK_ALGORITHM, date, requestHash]]
      : [derivedKey(key, key.scope), [DERIVED_ALGORITHM, date, scopeText(key.scope), requestHash]];
  return createHmac('sha256', secret).update(lines.join('\n')).digest('hex');
}

/** `YYYYMMDDTHHMMSSZ` in UTC. */
export function sdkDate(at: Date): string {
  return at.toISOString().replace(/[-:]|\.\d{3}/g, '');
}

/** Milliseconds since the epoch of a `YYYYMMDDTHHMMSSZ`; `undefined` when it is none or no such day exists. */
export function parseSdkDate(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const at = Date.parse(iso);
  // Date.parse rolls 30 February over to March.
  return Number.isNaN(at) || new Date(at).toISOString() !== iso ? undefined : at;
}
