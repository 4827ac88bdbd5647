import { createHash, timingSafeEqual } from 'node:crypto';
import { ImsError } from '@ims/contract';
import type { Clock } from '@ims/db';
import { EMPTY_HASH, type SignedHeader, canonicalQuery, pathCandidates, sha256Hex } from './canonical-request';
import type { FailureLock } from './failure-lock';
import {
  type CredentialScope,
  DERIVED_ALGORITHM,
  SDK_ALGORITHM,
  type SigningKey,
  parseSdkDate,
  signatureOf,
} from './signature';

/** A request as it came over the wire, before anything parsed it (iam 6.4 step 1). */
export interface SignedRequest {
  method: string;
  /** Path of the request line up to `?`, one character per byte (as Node gives it). */
  rawPath: string;
  /** After `?`, without it; empty when there is none. */
  rawQuery: string;
  /** Lower-case names, as Node gives them. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The whole body of any method, GET too, or its digest when it was hashed while it streamed by. */
  body: Uint8Array | BodyDigest;
}

export interface BodyDigest {
  /** SHA-256 in lower-case hex. */
  sha256: string;
  sizeBytes: number;
}

/** What the verifier has to know about an access key. */
export interface KeyRecord {
  access: string;
  secret: string;
  status: 'active' | 'inactive';
  /** Temporary keys: SHA-256 of the security token that must come with the request, and when both end. */
  securityTokenHash: Uint8Array | null;
  expiresAt: Date | null;
}

export type KeyLookup<K extends KeyRecord> = (access: string) => Promise<K | undefined>;

export interface VerifyOptions {
  clock: Clock;
  lock: FailureLock;
  /** Regions and services that a derived key may be scoped to (iam 7); `globe` is the region of global services. */
  scopes: { regions: readonly string[]; services: readonly string[] };
  /** Refuses an `X-Security-Token` that is not signed (off: the Go client's older versions leave it out). */
  requireSignedSecurityToken?: boolean;
}

// HWC-APIG: further than 15 minutes from server time is refused, either way.
const MAX_SKEW_MS = 15 * 60 * 1000;
// ims-api 17: larger bodies need a token.
const MAX_SIGNED_BODY_BYTES = 12 * 1024 * 1024;

export const DETAIL = {
  missing: 'IAM credentials missing',
  malformed: 'malformed Authorization header',
  signature: 'verify aksk signature fail',
  expired: 'signature expired',
  unknownKey: 'AK does not exist',
  inactiveKey: 'AK is inactive',
  locked: 'AK locked after repeated failures, try again in 5 minutes',
  securityToken: 'security token missing, wrong or expired',
} as const;

const refused = (detail: string): ImsError => new ImsError('APIGW.0301', detail);

/**
 * Verifies `SDK-HMAC-SHA256` and `V11-HMAC-SHA256` signatures (iam 6.4, 7) and returns the key's record.
 *
 * Fails with `ImsError` APIGW.0301 (401) for everything that is wrong with the credentials and APIGW.0201 (413) for a body over 12 MiB.
 * Five wrong signatures in a row lock the key for five minutes.
 *
 * @example const key = await verifySignature(request, findAccessKey, { clock, lock, scopes });
 */
export async function verifySignature<K extends KeyRecord>(
  request: SignedRequest,
  lookup: KeyLookup<K>,
  options: VerifyOptions,
): Promise<K> {
  const digest = digestOf(request.body);
  if (digest.sizeBytes > MAX_SIGNED_BODY_BYTES) {
    throw new ImsError(
      'APIGW.0201',
      'the body of a signed request may have 12 MiB at most; larger ones need a token',
      413,
    );
  }
  const authorization = parseAuthorization(headerOf(request, 'authorization') ?? '');
  if (!authorization.signedHeaders.includes('x-sdk-date')) throw refused('x-sdk-date is not signed');
  const headers = authorization.signedHeaders.map((name): SignedHeader => {
    const value = headerOf(request, name);
    if (value === undefined) throw refused(`signed header ${name} is missing`);
    return [name, value];
  });
  const date = headerOf(request, 'x-sdk-date') ?? '';
  checkDate(date, authorization.scope, options);

  const key = await lookup(authorization.access);
  if (key === undefined) throw refused(DETAIL.unknownKey);
  if (options.lock.isLocked(key.access)) throw refused(DETAIL.locked);
  if (key.status !== 'active') throw refused(DETAIL.inactiveKey);
  checkSecurityToken(request, key, authorization.signedHeaders, options);

  const query = canonicalQuery(request.rawQuery);
  const signingKey: SigningKey = {
    access: key.access,
    secret: key.secret,
    ...(authorization.scope === undefined ? {} : { scope: authorization.scope }),
  };
  let verified = false;
  for (const path of pathCandidates(request.rawPath)) {
    for (const bodyHash of bodyHashCandidates(request, digest)) {
      const expected = signatureOf({ method: request.method, path, query, headers, bodyHash }, date, signingKey);
      // No early end: how long it takes must not tell which candidate was near.
      if (timingSafeEqual(Buffer.from(expected, 'hex'), authorization.signature)) verified = true;
    }
  }
  if (!verified) {
    options.lock.recordFailure(key.access);
    throw refused(DETAIL.signature);
  }
  options.lock.recordSuccess(key.access);
  return key;
}

interface Authorization {
  access: string;
  scope: CredentialScope | undefined;
  signedHeaders: string[];
  signature: Buffer;
}

const PLAIN = /^Access=([^,\s/]{1,128}), ?SignedHeaders=([^,\s]{1,8192}), ?Signature=([0-9a-f]{64})$/;
const DERIVED =
  /^Credential=([^,\s/]{1,128})\/(\d{8})\/([^,\s/]{1,64})\/([^,\s/]{1,64}), ?SignedHeaders=([^,\s]{1,8192}), ?Signature=([0-9a-f]{64})$/;

function parseAuthorization(text: string): Authorization {
  const cut = text.indexOf(' ');
  const algorithm = text.slice(0, cut);
  const rest = text.slice(cut + 1).trim();
  switch (algorithm) {
    case SDK_ALGORITHM: {
      const [, access, names, signature] = PLAIN.exec(rest) ?? [];
      if (access === undefined || names === undefined || signature === undefined) throw refused(DETAIL.malformed);
      return { access, scope: undefined, signedHeaders: headerNames(names), signature: Buffer.from(signature, 'hex') };
    }
    case DERIVED_ALGORITHM: {
      const [, access, day, region, service, names, signature] = DERIVED.exec(rest) ?? [];
      if (
        access === undefined ||
        day === undefined ||
        region === undefined ||
        service === undefined ||
        names === undefined ||
        signature === undefined
      ) {
        throw refused(DETAIL.malformed);
      }
      const scope = { day, region, service };
      return { access, scope, signedHeaders: headerNames(names), signature: Buffer.from(signature, 'hex') };
    }
    default:
      throw refused(text === '' ? DETAIL.missing : 'unsupported signature algorithm');
  }
}

function headerNames(text: string): string[] {
  const names = text.split(';').map((name) => name.toLowerCase());
  const sorted = [...new Set(names)].sort();
  // A name that is listed twice, or `authorization` itself, is signed by no client.
  if (sorted.length !== names.length || names.includes('') || names.includes('authorization'))
    throw refused(DETAIL.malformed);
  return sorted;
}

function checkDate(date: string, scope: CredentialScope | undefined, { clock, scopes }: VerifyOptions): void {
  const at = parseSdkDate(date);
  if (at === undefined) throw refused('x-sdk-date is not YYYYMMDDTHHMMSSZ');
  if (Math.abs(clock.now().getTime() - at) > MAX_SKEW_MS) throw refused(DETAIL.expired);
  if (scope === undefined) return;
  if (scope.day !== date.slice(0, 8)) throw refused('the credential is of another day than x-sdk-date');
  if (!scopes.regions.includes(scope.region) || !scopes.services.includes(scope.service)) {
    throw refused('the credential is for another region or service');
  }
}

function checkSecurityToken(
  request: SignedRequest,
  key: KeyRecord,
  signedHeaders: string[],
  { clock, requireSignedSecurityToken = false }: VerifyOptions,
): void {
  const token = headerOf(request, 'x-security-token');
  if (key.expiresAt !== null && key.expiresAt.getTime() <= clock.now().getTime()) throw refused(DETAIL.securityToken);
  if (key.securityTokenHash === null) return;
  if (token === undefined) throw refused(DETAIL.securityToken);
  if (requireSignedSecurityToken && !signedHeaders.includes('x-security-token')) throw refused(DETAIL.securityToken);
  const hash = createHash('sha256').update(token).digest();
  if (hash.length !== key.securityTokenHash.length || !timingSafeEqual(hash, key.securityTokenHash)) {
    throw refused(DETAIL.securityToken);
  }
}

/**
 * Body hashes a client may have signed (iam 6.4 step 5). The true one always; `UNSIGNED-PAYLOAD` only for bodies that are not JSON,
 * because nothing else protects a JSON command from being exchanged on its way.
 */
function bodyHashCandidates(request: SignedRequest, digest: BodyDigest): string[] {
  const stated = headerOf(request, 'x-sdk-content-sha256');
  if (stated === undefined) return [digest.sha256];
  // The Python client states a placeholder and yet signs the empty hash when there is no body.
  if (digest.sizeBytes === 0 && !/^[0-9a-f]{64}$/i.test(stated))
    return [...new Set([EMPTY_HASH, ...unsigned(request, stated)])];
  if (/^[0-9a-f]{64}$/i.test(stated)) {
    if (stated.toLowerCase() !== digest.sha256) throw refused('x-sdk-content-sha256 is not the hash of the body');
    return [...new Set([stated, digest.sha256])];
  }
  return [digest.sha256, ...unsigned(request, stated)];
}

function unsigned(request: SignedRequest, stated: string): string[] {
  const type = (headerOf(request, 'content-type') ?? '').trim().toLowerCase();
  // The clients' own test: a JSON patch of the OpenStack dialect is not JSON to them and goes unsigned.
  const isJson = type === '' || type.startsWith('application/json');
  return stated === 'UNSIGNED-PAYLOAD' && !isJson ? [stated] : [];
}

function digestOf(body: SignedRequest['body']): BodyDigest {
  return body instanceof Uint8Array ? { sha256: sha256Hex(body), sizeBytes: body.length } : body;
}

function headerOf(request: SignedRequest, name: string): string | undefined {
  const value = Object.hasOwn(request.headers, name) ? request.headers[name] : undefined;
  const text = Array.isArray(value) ? value.join(',') : value;
  // Node reads header bytes as Latin-1; clients sign their UTF-8.
  return text === undefined ? undefined : Buffer.from(text, 'latin1').toString('utf8');
}
