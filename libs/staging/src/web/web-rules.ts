import { type BlockList, isIP } from 'node:net';
import { ImsError } from '@ims/contract';
import { blockListOf, isPublicAddress } from './web-address';

export interface WebSettings {
  ports: readonly number[];
  /**
   * Hosts that may be fetched from although they are not public: names, names with all below them (`*.mirror.example`), addresses and networks.
   */
  allow: readonly string[];
}

export const DEFAULT_WEB_SETTINGS = { ports: [80, 443, 8080, 8443], allow: [] } satisfies WebSettings;

// What browsers and servers take as an address at most; a longer one is no address of a file.
const MAX_URI_LENGTH = 2048;

const refused = (reason: string): ImsError => new ImsError('IMG.0057', reason);

/** Where a fetch on behalf of a stranger may go: the operator's network is not theirs. All refusals are IMG.0057 with the reason. */
export class WebRules {
  readonly #names = new Set<string>();
  readonly #suffixes: string[] = [];
  readonly #networks: BlockList;

  /** @throws RangeError for an entry of `allow` that is neither a name nor a network */
  constructor(private readonly settings: WebSettings = DEFAULT_WEB_SETTINGS) {
    const networks: string[] = [];
    for (const entry of settings.allow) {
      if (entry.includes('/') || isIP(entry) !== 0) networks.push(entry);
      else if (/^\*\.[a-z0-9.-]+$/i.test(entry)) this.#suffixes.push(entry.slice(1).toLowerCase());
      else if (/^[a-z0-9.-]+$/i.test(entry)) this.#names.add(entry.toLowerCase());
      else throw new RangeError(`${JSON.stringify(entry)} is neither a host nor a network`);
    }
    this.#networks = blockListOf(networks);
  }

  /** What can be told from the address alone; the names in it are looked up when it is fetched. */
  checkUri(uri: string, base?: URL): URL {
    if (uri.length > MAX_URI_LENGTH) throw refused(`an address has at most ${MAX_URI_LENGTH} characters`);
    if (!URL.canParse(uri, base?.href)) throw refused('the address is malformed');
    const url = new URL(uri, base);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refused('only http and https are fetched');
    if (url.username !== '' || url.password !== '') throw refused('an address with a user name or password is refused');
    if (!this.settings.ports.includes(portOf(url))) throw refused(`port ${portOf(url)} is not among those allowed`);
    if (url.hostname === '') throw refused('the address has no host');
    const literal = literalOf(url);
    if (literal !== undefined) this.checkAddress(url, literal);
    // It is never sent, and must not make two addresses of one file.
    url.hash = '';
    return url;
  }

  /** Every address of a name is checked: one that is not public condemns the name. */
  checkAddress(url: URL, address: string): void {
    if (this.#isAllowedName(url.hostname) || this.#isAllowedNetwork(address) || isPublicAddress(address)) return;
    // The address itself is not told: who asks would learn how the operator's network is laid out.
    throw refused(`${url.hostname} is not a public host`);
  }

  #isAllowedName(hostname: string): boolean {
    const name = hostname.toLowerCase().replace(/\.$/, '');
    return this.#names.has(name) || this.#suffixes.some((suffix) => name.endsWith(suffix));
  }

  #isAllowedNetwork(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && !address.includes('%') && this.#networks.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }
}

/**
 * The rules that an operator has written down, each setting a list with commas; what is left out or blank is the default.
 *
 * @throws RangeError naming what is no port, host or network
 * @example webRulesOf({ ports: '443,8443', allow: 'mirror.internal,10.1.0.0/16' })
 */
export function webRulesOf(settings: { ports?: string | undefined; allow?: string | undefined }): WebRules {
  const ports = entriesOf(settings.ports).map((text) => {
    const port = Number(text);
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new RangeError(`${JSON.stringify(text)} is no port to fetch from`);
    return port;
  });
  return new WebRules({
    ports: ports.length === 0 ? DEFAULT_WEB_SETTINGS.ports : ports,
    allow: entriesOf(settings.allow),
  });
}

const entriesOf = (text = ''): string[] =>
  text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');

export const portOf = (url: URL): number =>
  url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);

/** The address that stands in a URL in place of a name; the URL parser has brought every spelling of it into one form. */
export function literalOf(url: URL): string | undefined {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return isIP(host) === 0 ? undefined : host;
}
