import {
  ImsError,
  isErrorCode,
  type ReceiveOffer,
  type ReceiveState,
  receiveState,
  type SendingJob,
} from '@ims/contract';
import type { Clock } from '@ims/db';
import { z } from 'zod';
import type { PeerAddress } from './peer-config';
import { isSameSignature, PEER_HEADERS, signPeerAnswer, signPeerRequest } from './peer-signature';

/** The other region does not answer, or not in a way that can be trusted. It is worth asking again. */
export class PeerUnreachableError extends Error {
  override readonly name = 'PeerUnreachableError';
  constructor(
    readonly region: string,
    reason: string,
    options?: ErrorOptions,
  ) {
    super(`region ${region} is out of reach: ${reason}`, options);
  }
}

/** The gateway of another region, as this one asks it. Every call fails with `PeerUnreachableError` or the `ImsError` of the other side. */
export interface Peer {
  /** Whether the offer would be accepted now; begins nothing. */
  check(offer: ReceiveOffer): Promise<void>;
  /** Begins the replication, once, however often it is asked to. */
  start(offer: ReceiveOffer): Promise<ReceiveState>;
  show(job: SendingJob): Promise<ReceiveState>;
  /** Ends the replication without an image; the answer's outcome is null for as long as that takes. */
  cancel(job: SendingJob): Promise<ReceiveState>;
  /** Manifest of a disk that a job of the other region sends. */
  manifest(jobId: string, part: string, signal: AbortSignal): Promise<Buffer>;
  /** Segments of it (see `ImageStore.answer`). */
  exchange(jobId: string, part: string, request: Buffer, signal: AbortSignal): Promise<Buffer>;
}

/** The regions that this one can talk to. */
export interface Peers {
  readonly regions: readonly string[];
  /** @throws ImsError IMG.0147 for a region that is none of them */
  to(region: string): Peer;
}

// A call that begins or shows something is answered from one small transaction.
const CALL_TIMEOUT_MS = 15_000;
// Somebody waits for it, who is not to pay for a link that is down.
const CHECK_TIMEOUT_MS = 3_000;
// An answer of some 8 MiB takes a minute on a line of 1 Mbit/s; one that stands still this long has been lost.
const TRANSFER_TIMEOUT_MS = 120_000;
// How large an answer may be. Whoever sits on the line can write one; what is read of it before its signature is known is bounded.
const MAX_STATE_BYTES = 2 ** 20;
// The largest of a store (segment-exchange).
const MAX_SEGMENTS_BYTES = 11 * 2 ** 20;
// Of a disk of 16 TiB.
const MAX_MANIFEST_BYTES = 300 * 2 ** 20;

const TRANSFER = { timeoutMs: TRANSFER_TIMEOUT_MS };

const refusal = z.object({ code: z.string(), detail: z.string().optional(), status: z.number().int() });

/** Clients for the configured regions. */
export function createPeers(region: string, addresses: ReadonlyMap<string, PeerAddress>, clock: Clock): Peers {
  const peers = new Map([...addresses].map(([name, address]) => [name, new PeerClient(region, name, address, clock)]));
  return {
    regions: [...peers.keys()],
    to: (name) => {
      const peer = peers.get(name);
      if (peer === undefined) throw new ImsError('IMG.0147', `region ${JSON.stringify(name)} is not known here`);
      return peer;
    },
  };
}

interface CallOptions {
  body?: Buffer;
  signal?: AbortSignal;
  timeoutMs?: number;
  /** Of the answer. */
  maxBytes?: number;
}

class PeerClient implements Peer {
  constructor(
    private readonly from: string,
    private readonly to: string,
    private readonly address: PeerAddress,
    private readonly clock: Clock,
  ) {}

  async check(offer: ReceiveOffer): Promise<void> {
    await this.#call('POST', '/receives/check', { body: json(offer), timeoutMs: CHECK_TIMEOUT_MS });
  }
  async start(offer: ReceiveOffer): Promise<ReceiveState> {
    return this.#state('POST', '/receives', json(offer));
  }
  show({ jobId, epoch }: SendingJob): Promise<ReceiveState> {
    return this.#state('GET', `/receives/${jobId}?epoch=${epoch}`);
  }
  cancel({ jobId, epoch }: SendingJob): Promise<ReceiveState> {
    return this.#state('DELETE', `/receives/${jobId}?epoch=${epoch}`);
  }
  manifest(jobId: string, part: string, signal: AbortSignal): Promise<Buffer> {
    return this.#call('GET', `/replications/${jobId}/manifest?part=${encodeURIComponent(part)}`, {
      ...TRANSFER,
      maxBytes: MAX_MANIFEST_BYTES,
      signal,
    });
  }
  exchange(jobId: string, part: string, request: Buffer, signal: AbortSignal): Promise<Buffer> {
    return this.#call('POST', `/replications/${jobId}/segments?part=${encodeURIComponent(part)}`, {
      ...TRANSFER,
      maxBytes: MAX_SEGMENTS_BYTES,
      body: request,
      signal,
    });
  }

  async #state(method: string, path: string, body: Buffer = NO_BODY): Promise<ReceiveState> {
    const bytes = await this.#call(method, path, { body });
    const parsed = receiveState.safeParse(parse(bytes));
    if (parsed.success) return parsed.data;
    throw new PeerUnreachableError(this.to, 'its answer is not of this release');
  }

  async #call(
    method: string,
    path: string,
    { body = NO_BODY, signal, timeoutMs = CALL_TIMEOUT_MS, maxBytes = MAX_STATE_BYTES }: CallOptions,
  ): Promise<Buffer> {
    const { url, secret } = this.address;
    const address = new URL(`${url}/peer/v1${path}`);
    const date = this.clock.now().toISOString();
    const target = `${address.pathname}${address.search}`;
    const signature = signPeerRequest({ method, target, from: this.from, to: this.to, date, body }, secret);
    const timeout = AbortSignal.timeout(timeoutMs);
    let answer: { status: number; body: Buffer; signature: string };
    try {
      const response = await fetch(address, {
        method,
        headers: {
          [PEER_HEADERS.from]: this.from,
          [PEER_HEADERS.date]: date,
          [PEER_HEADERS.signature]: signature,
          // What is stored is compressed already, and what is unpacked on the way has no end that its length would tell.
          'accept-encoding': 'identity',
          ...(body.length === 0 ? {} : { 'content-type': 'application/x-ims-peer' }),
        },
        ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
        redirect: 'error',
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      answer = {
        status: response.status,
        body: await bytesOf(response, maxBytes),
        signature: response.headers.get(PEER_HEADERS.signature) ?? '',
      };
    } catch (cause) {
      if (signal?.aborted === true && !isTimeout(signal.reason)) throw signal.reason;
      throw new PeerUnreachableError(this.to, reasonOf(cause), { cause });
    }
    if (!isSameSignature(answer.signature, signPeerAnswer(answer, signature, secret)))
      throw new PeerUnreachableError(this.to, `an answer of status ${answer.status} is not signed by it`);
    if (answer.status === 200) return answer.body;
    const refused = refusal.safeParse(parse(answer.body));
    if (!refused.success || !isErrorCode(refused.data.code) || answer.status >= 500)
      throw new PeerUnreachableError(this.to, `status ${answer.status}`);
    throw new ImsError(refused.data.code, refused.data.detail, refused.data.status);
  }
}

const NO_BODY = Buffer.alloc(0);
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value), 'utf8');

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    // No JSON is one more way of not being an answer; the schema refuses it.
    return undefined;
  }
}

/** The body as it was sent, which says how long it is and is no longer than such an answer can be. */
async function bytesOf(response: Response, maxBytes: number): Promise<Buffer> {
  const length = Number(response.headers.get('content-length') ?? Infinity);
  if (!(length <= maxBytes) || response.headers.has('content-encoding')) {
    await response.body?.cancel();
    throw new RangeError('its answer has no end');
  }
  return Buffer.from(await response.arrayBuffer());
}

const isTimeout = (reason: unknown): boolean => reason instanceof Error && reason.name === 'TimeoutError';

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof Error ? cause.message : String(cause);
}
