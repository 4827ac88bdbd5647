import { EMPTY_HASH, type SignedHeader, canonicalPath, canonicalQuery, sha256Hex } from './canonical-request';
import {
  type CredentialScope,
  DERIVED_ALGORITHM,
  SDK_ALGORITHM,
  type SigningKey,
  sdkDate,
  signatureOf,
} from './signature';

export interface RequestToSign {
  method: string;
  /** Path and query as they go over the wire, already percent-encoded. */
  rawPath: string;
  rawQuery?: string;
  /** Headers to sign; send them unchanged. `host` should be among them. */
  headers: Readonly<Record<string, string>>;
  body?: Uint8Array | string;
}

export interface RequestSigner {
  access: string;
  secret: string;
  securityToken?: string;
  /** Region and service for a derived key (iam 7); left out, the key itself signs. */
  derived?: Omit<CredentialScope, 'day'>;
}

/**
 * Signs a request as the official SDKs do (iam 6.1, 7) and returns all headers to send: the given ones in lower case with
 * `x-sdk-date`, `authorization` and, for temporary keys, `x-security-token`.
 *
 * @example
 * const headers = signRequest({ method: 'GET', rawPath: '/v2/cloudimages', headers: { host } }, { access, secret }, clock.now());
 */
export function signRequest(request: RequestToSign, signer: RequestSigner, at: Date): Record<string, string> {
  const date = sdkDate(at);
  const headers: Record<string, string> = {
    ...Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value])),
    'x-sdk-date': date,
    ...(signer.securityToken === undefined ? {} : { 'x-security-token': signer.securityToken }),
  };
  // Proxies may drop header names with an underscore, so clients leave them unsigned (iam 6.3).
  const signed: SignedHeader[] = Object.entries(headers)
    .filter(([name]) => !name.includes('_'))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const scope = signer.derived === undefined ? undefined : { day: date.slice(0, 8), ...signer.derived };
  const key: SigningKey = { access: signer.access, secret: signer.secret, ...(scope === undefined ? {} : { scope }) };
  const body = request.body ?? '';
  const signature = signatureOf(
    {
      method: request.method,
      path: canonicalPath(request.rawPath),
      query: canonicalQuery(request.rawQuery ?? ''),
      headers: signed,
      bodyHash: headers['x-sdk-content-sha256'] ?? (body.length === 0 ? EMPTY_HASH : sha256Hex(body)),
    },
    date,
    key,
  );
  const credential =
    scope === undefined
      ? `${SDK_ALGORITHM} Access=${key.access}`
      : `${DERIVED_ALGORITHM} Credential=${key.access}/${scope.day}/${scope.region}/${scope.service}`;
  const names = signed.map(([name]) => name).join(';');
  return { ...headers, authorization: `${credential}, SignedHeaders=${names}, Signature=${signature}` };
}
