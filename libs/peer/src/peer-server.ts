import { ImsError, receiveOffer, type SendingJob } from '@ims/contract';
import type { Clock } from '@ims/db';
import type { PeerAddress } from './peer-config';
import { isPeerDateNear, isSameSignature, PEER_HEADERS, signPeerAnswer, signPeerRequest } from './peer-signature';
import type { Receives } from './receives';
import type { Replications } from './replications';

/** A request as it came over the wire, whatever server took it. */
export interface PeerRequest {
  method: string;
  /** Path and query. */
  target: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: Buffer;
}

export interface PeerAnswer {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

export interface PeerServerParts {
  region: string;
  /** Regions that may ask, with the secret of each. */
  peers: ReadonlyMap<string, PeerAddress>;
  clock: Clock;
  receives: Receives;
  replications: Replications;
  /** Told of what failed for no documented reason; the other side learns no more than that. */
  onTrouble(error: unknown): void;
}

const PREFIX = '/peer/v1';

/**
 * The peer port: what gateways of other regions ask this one. It has rules of its own, apart from those for tenants: every request is signed with the
 * secret of the pair, and so is every answer.
 */
export class PeerServer {
  constructor(private readonly parts: PeerServerParts) {}

  /** Answers any request below `/peer/v1`; never throws. */
  async answer(request: PeerRequest): Promise<PeerAnswer> {
    const { region, peers, clock } = this.parts;
    const from = headerOf(request, PEER_HEADERS.from);
    const date = headerOf(request, PEER_HEADERS.date);
    const signature = headerOf(request, PEER_HEADERS.signature);
    const { method, target, body } = request;
    const secret = peers.get(from)?.secret;
    if (
      secret === undefined ||
      !isPeerDateNear(date, clock.now()) ||
      !isSameSignature(signature, signPeerRequest({ method, target, from, to: region, date, body }, secret))
    )
      // Not signed: there is nobody it would be meant for.
      return refused(new ImsError('APIGW.0301', 'this is no request of a peer'));
    const answer = await this.#routed(from, request).catch((error: unknown) => this.#failed(error));
    return {
      ...answer,
      headers: { ...answer.headers, [PEER_HEADERS.signature]: signPeerAnswer(answer, signature, secret) },
    };
  }

  async #routed(from: string, { method, target, body }: PeerRequest): Promise<PeerAnswer> {
    const { receives, replications } = this.parts;
    const url = new URL(target, 'http://peer');
    const [what, id = '', of] = url.pathname.slice(PREFIX.length).split('/').filter(Boolean);
    switch (`${method} ${what}${of === undefined ? '' : `/${of}`}`) {
      case 'POST receives':
        if (id === 'check') {
          await receives.check(from, offerOf(body));
          return said({});
        }
        if (id === '') return said(await receives.start(from, offerOf(body)));
        break;
      case 'GET receives':
        return said(await receives.show(from, sendingJobOf(id, url)));
      case 'DELETE receives':
        return said(await receives.cancel(from, sendingJobOf(id, url)));
      case 'GET replications/manifest':
        return bytes(await replications.manifest(from, id, url.searchParams.get('part') ?? ''));
      case 'POST replications/segments':
        return bytes(await replications.answer(from, id, url.searchParams.get('part') ?? '', body));
      default:
        break;
    }
    throw new ImsError('APIGW.0101');
  }

  #failed(error: unknown): PeerAnswer {
    if (error instanceof ImsError) return refused(error);
    this.parts.onTrouble(error);
    return refused(new ImsError('IMG.0061', undefined, 500));
  }
}

const headerOf = ({ headers }: PeerRequest, name: string): string => {
  const value = headers[name];
  return typeof value === 'string' ? value : '';
};

/** @throws ImsError IMG.0001 */
function sendingJobOf(jobId: string, { searchParams }: URL): SendingJob {
  const epoch = receiveOffer.shape.epoch.safeParse(Number(searchParams.get('epoch') ?? 'none'));
  if (!epoch.success) throw new ImsError('IMG.0001', 'epoch is none');
  return { jobId, epoch: epoch.data };
}

/** @throws ImsError IMG.0001 */
function offerOf(body: Buffer) {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    throw new ImsError('IMG.0001', 'the offer is not JSON');
  }
  const parsed = receiveOffer.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ImsError('IMG.0001', `the offer: ${issue?.path.join('.')}: ${issue?.message}`);
}

const said = (value: unknown): PeerAnswer => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: Buffer.from(JSON.stringify(value), 'utf8'),
});
const bytes = (body: Buffer): PeerAnswer => ({
  status: 200,
  headers: { 'content-type': 'application/x-ims-peer' },
  body,
});
const refused = ({ code, detail, status }: ImsError): PeerAnswer => ({
  ...said({ code, status, ...(detail === undefined ? {} : { detail }) }),
  status,
});
