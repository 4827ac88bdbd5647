import { BlockList, isIP } from 'node:net';

/** Destinations that are no public host. Sources: the special-purpose address registries of IANA (RFC 6890, 8190), beside them named ones. */
const NOT_PUBLIC_4 = [
  '0.0.0.0/8', // this network, unspecified
  '10.0.0.0/8', // private
  '100.64.0.0/10', // shared by carriers (RFC 6598); also the metadata service of one cloud, 100.100.100.200
  '127.0.0.0/8', // loopback
  '168.63.129.16/32', // metadata service of one cloud, on an address that looks public
  '169.254.0.0/16', // link-local; the metadata service of most clouds, 169.254.169.254
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocol assignments; also a metadata service, 192.0.0.192
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // 6to4 relays
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, broadcast
];

// Everything else is loopback, unspecified, mapped (::ffff:0:0/96), translated (64:ff9b::/96), unique local, link-local, site-local, multicast or unassigned.
const GLOBAL_UNICAST_6 = ['2000::/3'];

const NOT_PUBLIC_6 = [
  '2001::/23', // protocol assignments, Teredo among them: an IPv4 address in disguise
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4: an IPv4 address in disguise
  '3fff::/20', // documentation
];

const notPublic4 = blockListOf(NOT_PUBLIC_4);
const globalUnicast6 = blockListOf(GLOBAL_UNICAST_6);
const notPublic6 = blockListOf(NOT_PUBLIC_6);

/**
 * Whether an IP address is one of a public host, so that a fetch on behalf of a stranger may go there. Text that is no address is not public.
 *
 * @example isPublicAddress('169.254.169.254') // false
 */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !notPublic4.check(address, 'ipv4');
    case 6:
      // An address with a zone belongs to a link of this machine.
      return !address.includes('%') && globalUnicast6.check(address, 'ipv6') && !notPublic6.check(address, 'ipv6');
    default:
      return false;
  }
}

/** Addresses and networks (`10.1.0.0/16`, `fd00::/8`, `127.0.0.1`) as one list. Fails with `RangeError` for anything else. */
export function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix, ...more] = network.split('/');
    const family = isIP(address);
    const longest = family === 6 ? 128 : 32;
    const length = prefix === undefined ? longest : Number(prefix);
    if (family === 0 || more.length > 0 || !/^\d+$/.test(prefix ?? '0') || length > longest)
      throw new RangeError(`${JSON.stringify(network)} is no address or network`);
    list.addSubnet(address, length, family === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}
