import * as dns from 'node:dns/promises';
import * as http from 'node:http';
import * as https from 'node:https';
import { isIP } from 'node:net';
import { ImsError } from '@ims/contract';
import { literalOf, type WebRules } from './web-rules';

// As much as the vendor's own clients follow; more is a loop.
const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
// Answers that mean "not now" (RFC 9110 15): asking again may help, unlike after every other refusal.
const NOT_NOW = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The other side is out of reach, slow or ended in the middle; asking again may help. */
export class WebTroubleError extends Error {
  override readonly name = 'WebTroubleError';
}

export interface WebClientOptions {
  rules: WebRules;
  /** Longest file in bytes. */
  maxBytes: number;
  /** A connection that brings nothing for this long is given up. */
  idleMs: number;
  /** Every address of a name. The system's resolver when left out. */
  resolve?: (hostname: string) => Promise<readonly string[]>;
  /** Certificates that are trusted beside the system's. */
  ca?: string;
}

export interface WebRequest {
  uri: string;
  /** Bytes that are there already, of the version that `validator` names. */
  offset: number;
  validator: string | null;
  /** Length of that version; null when its server has not said. */
  sizeBytes: number | null;
  signal: AbortSignal;
}

export interface WebFile {
  /** Where the body begins: the offset asked for, or 0 when the file is another one by now or its server knows no ranges. */
  offset: number;
  /** Length of the whole file; null when its server does not say. */
  sizeBytes: number | null;
  validator: string | null;
  body: AsyncIterable<Uint8Array>;
}

const refused = (reason: string): ImsError => new ImsError('IMG.0057', reason);

async function systemResolve(hostname: string): Promise<readonly string[]> {
  const found = await dns.lookup(hostname, { all: true, verbatim: true });
  return found.map(({ address }) => address);
}

/**
 * Opens a file of the web. Every hop is checked by the rules, and the connection goes to the very address that was checked. Sends no credentials
 * and takes no encoding but the file's own. Fails with `ImsError` IMG.0057 or IMG.0059 when it can never work, with `WebTroubleError` when it may
 * work later.
 */
export async function openWebFile(request: WebRequest, options: WebClientOptions): Promise<WebFile> {
  const rest = await openFrom(request, options);
  // Its server has overlooked the condition, and these bytes do not belong to those that are there.
  if (rest === 'another-version')
    return openWebFile({ ...request, offset: 0, validator: null, sizeBytes: null }, options);
  return rest;
}

async function openFrom(request: WebRequest, options: WebClientOptions): Promise<WebFile | 'another-version'> {
  let url = options.rules.checkUri(request.uri);
  for (let hops = 0; ; hops += 1) {
    const answer = await send(url, request, options);
    const status = answer.statusCode ?? 0;
    if (!REDIRECTS.has(status)) return fileOf(answer, url, request, options);
    answer.destroy();
    const { location } = answer.headers;
    if (location === undefined) throw refused(`${url.hostname} redirects to nowhere`);
    if (hops === MAX_REDIRECTS) throw refused(`more than ${MAX_REDIRECTS} redirections`);
    url = options.rules.checkUri(location, url);
  }
}

/** Addresses of a host that may be connected to, all of them checked. */
async function addressesOf(url: URL, { rules, resolve = systemResolve }: WebClientOptions): Promise<readonly string[]> {
  const literal = literalOf(url);
  if (literal !== undefined) return [literal];
  let addresses: readonly string[];
  try {
    addresses = await resolve(url.hostname);
  } catch (err) {
    if (codeOf(err) === 'ENOTFOUND') throw refused(`there is no host ${url.hostname}`);
    throw new WebTroubleError(`the name ${url.hostname} cannot be looked up`, { cause: err });
  }
  if (addresses.length === 0) throw refused(`there is no host ${url.hostname}`);
  for (const address of addresses) rules.checkAddress(url, address);
  return addresses;
}

async function send(url: URL, request: WebRequest, options: WebClientOptions): Promise<http.IncomingMessage> {
  const addresses = await addressesOf(url, options);
  let last: unknown;
  for (const address of addresses) {
    request.signal.throwIfAborted();
    try {
      return await sendTo(address, url, request, options);
    } catch (err) {
      if (request.signal.aborted || err instanceof ImsError) throw err;
      last = err;
    }
  }
  if (last instanceof WebTroubleError) throw last;
  const code = codeOf(last) ?? 'connection lost';
  if (isDistrusted(code)) throw refused(`the certificate of ${url.hostname} is not accepted: ${code}`);
  throw new WebTroubleError(`${url.hostname} cannot be reached: ${code}`, { cause: last });
}

function sendTo(
  address: string,
  url: URL,
  { offset, validator, signal }: WebRequest,
  { idleMs, ca }: WebClientOptions,
): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const family = isIP(address) === 6 ? 6 : 4;
  const ranged = offset > 0 && validator !== null;
  const sent = (url.protocol === 'https:' ? https : http).request(url, {
    method: 'GET',
    signal,
    // A connection of its own, which nobody else's request leads elsewhere.
    agent: false,
    timeout: idleMs,
    // The name is looked up no second time: it could mean another address by now.
    lookup: (_name, { all }, done) => {
      if (all === true) done(null, [{ address, family }]);
      else done(null, address, family);
    },
    headers: {
      accept: '*/*',
      'accept-encoding': 'identity',
      'user-agent': 'ims-web-download',
      ...(ranged ? { range: `bytes=${offset}-`, 'if-range': validator } : {}),
    },
    ...(ca === undefined ? {} : { ca }),
  });
  sent.on('timeout', () =>
    sent.destroy(new WebTroubleError(`${url.hostname} has sent nothing for ${idleMs / 1000} s`)),
  );
  // Interim answers and headers that trickle keep a connection busy for ever.
  const late = setTimeout(
    () => sent.destroy(new WebTroubleError(`${url.hostname} has not answered for ${idleMs / 1000} s`)),
    idleMs,
  );
  sent.once('response', () => clearTimeout(late)).once('close', () => clearTimeout(late));
  sent.on('error', reject);
  sent.on('response', (answer) => {
    // Nobody listens between here and the first read; the reader meets the failure then.
    answer.on('error', () => undefined);
    resolve(answer);
  });
  sent.end();
  return promise;
}

function fileOf(
  answer: http.IncomingMessage,
  url: URL,
  request: WebRequest,
  { maxBytes }: WebClientOptions,
): WebFile | 'another-version' {
  const { offset } = request;
  try {
    const { headers, statusCode: status = 0 } = answer;
    if (NOT_NOW.has(status)) throw new WebTroubleError(`${url.hostname} answered ${status}`);
    const range = status === 206 ? contentRange(headers['content-range']) : undefined;
    if (offset > 0 && (status === 206 || status === 416) && isAnotherVersion(headers, request)) {
      answer.destroy();
      return 'another-version';
    }
    // What had arrived is all there is.
    if (status === 416 && contentRange(headers['content-range'])?.sizeBytes === offset) {
      answer.destroy();
      return { offset, sizeBytes: offset, validator: validatorOf(headers), body: nothing() };
    }
    if (status !== 200 && (range === undefined || range.offset !== offset))
      throw refused(`${url.hostname} answered ${status}`);
    const encoding = headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity') throw refused(`${url.hostname} sent the file encoded as ${encoding.slice(0, 32)}`);
    const sizeBytes = range === undefined ? lengthOf(headers) : range.sizeBytes;
    if (sizeBytes !== null && sizeBytes > maxBytes) throw new ImsError('IMG.0059', `the file has ${sizeBytes} bytes`);
    return {
      offset: range === undefined ? 0 : offset,
      sizeBytes,
      validator: validatorOf(headers),
      body: bodyOf(answer, url),
    };
  } catch (err) {
    answer.destroy();
    throw err;
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // The file is complete.
}

async function* bodyOf(answer: http.IncomingMessage, url: URL): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of answer) if (chunk instanceof Uint8Array) yield chunk;
  } catch (err) {
    if (err instanceof WebTroubleError || isAbort(err)) throw err;
    throw new WebTroubleError(`${url.hostname} ended in the middle of the file`, { cause: err });
  } finally {
    answer.destroy();
  }
}

/** A strong entity tag, else the time of the last change (RFC 9110 13.1.5); null when neither can name a version. */
function validatorOf(headers: http.IncomingHttpHeaders): string | null {
  if (headers.etag?.startsWith('"') === true) return headers.etag;
  return headers['last-modified'] ?? null;
}

/** Whether a part that was asked for is said to be of another version; a server that does not say is believed. */
function isAnotherVersion(headers: http.IncomingHttpHeaders, { validator, sizeBytes }: WebRequest): boolean {
  const version = validatorOf(headers);
  const size = contentRange(headers['content-range'])?.sizeBytes ?? null;
  const isOfOneKind = (version?.startsWith('"') ?? false) === (validator?.startsWith('"') ?? false);
  if (version !== null && validator !== null && isOfOneKind && version !== validator) return true;
  return size !== null && sizeBytes !== null && size !== sizeBytes;
}

function lengthOf(headers: http.IncomingHttpHeaders): number | null {
  const length = Number(headers['content-length'] ?? 'none');
  return Number.isSafeInteger(length) ? length : null;
}

// `bytes 10-19/100`, or a star for the range where nothing is left (RFC 9110 14.4).
function contentRange(text: string | undefined): { offset: number; sizeBytes: number | null } | undefined {
  const [, from, size] = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(text ?? '') ?? [];
  if (size === undefined) return undefined;
  return { offset: Number(from ?? size), sizeBytes: size === '*' ? null : Number(size) };
}

// Not `instanceof Error`: under a test runner errors of Node's own belong to another realm.
const codeOf = (err: unknown): string | undefined =>
  typeof err === 'object' && err !== null && 'code' in err && typeof err.code === 'string' ? err.code : undefined;

const isAbort = (err: unknown): boolean =>
  typeof err === 'object' && err !== null && 'name' in err && err.name === 'AbortError';

/** Who is there is not who was asked for, and asking again makes no difference (names of Node and OpenSSL). */
const isDistrusted = (code: string): boolean => /CERT|ERR_TLS|UNABLE_TO|ERR_SSL/.test(code);
