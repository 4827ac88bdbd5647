import { ImsError } from '@ims/contract';
import { blockListOf, isPublicAddress } from './web-address';
import { DEFAULT_WEB_SETTINGS, WebRules, webRulesOf } from './web-rules';

function reasonOf(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (err) {
    if (err instanceof ImsError && err.code === 'IMG.0057') return err.detail;
    throw err;
  }
}

describe(isPublicAddress.name, () => {
  it.each([
    '1.1.1.1',
    '93.184.216.34',
    '172.15.255.255',
    '172.32.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '223.255.255.255',
  ])('lets %s through', (address) => expect(isPublicAddress(address)).toBe(true));
  it.each(['2606:4700:4700::1111', '2a00:1450:4001:800::200e', '2001:4860:4860::8888'])('lets %s through', (address) =>
    expect(isPublicAddress(address)).toBe(true),
  );
  it.each([
    ['loopback', '127.0.0.1'],
    ['loopback', '127.255.255.254'],
    ['loopback', '::1'],
    ['unspecified', '0.0.0.0'],
    ['unspecified', '::'],
    ['private', '10.0.0.1'],
    ['private', '172.16.0.1'],
    ['private', '172.31.255.255'],
    ['private', '192.168.1.1'],
    ['carrier-grade NAT', '100.64.0.1'],
    ['carrier-grade NAT', '100.127.255.255'],
    ['link-local', '169.254.0.1'],
    ['link-local', 'fe80::1'],
    ['link-local with a zone', 'fe80::1%lo'],
    ['site-local', 'fec0::1'],
    ['unique local', 'fd12:3456::1'],
    ['multicast', '224.0.0.1'],
    ['multicast', 'ff02::1'],
    ['broadcast', '255.255.255.255'],
    ['metadata', '169.254.169.254'],
    ['metadata', '100.100.100.200'],
    ['metadata', '168.63.129.16'],
    ['metadata', '192.0.0.192'],
    ['metadata', 'fd00:ec2::254'],
    ['IPv4-mapped loopback', '::ffff:127.0.0.1'],
    ['IPv4-mapped private', '::ffff:a00:1'],
    ['IPv4-mapped public', '::ffff:1.1.1.1'],
    ['IPv4-compatible', '::127.0.0.1'],
    ['NAT64', '64:ff9b::7f00:1'],
    ['NAT64 of local use', '64:ff9b:1::a00:1'],
    ['6to4', '2002:7f00:1::'],
    ['Teredo', '2001:0:4136:e378:8000:63bf:3fff:fdd2'],
    ['documentation', '203.0.113.7'],
    ['documentation', '2001:db8::1'],
    ['benchmark', '198.18.0.1'],
    ['no address', 'localhost'],
    ['no address', ''],
  ])('refuses %s %s', (_kind, address) => expect(isPublicAddress(address)).toBe(false));
});

describe(WebRules.name, () => {
  const rules = new WebRules();

  it.each([
    'http://files.example.test/disk.qcow2',
    'https://files.example.test/disk.qcow2?token=1',
    'https://files.example.test:8443/',
    'http://files.example.test:8080/a',
    'http://1.1.1.1/a',
    'http://[2606:4700:4700::1111]/a',
  ])('takes %s', (uri) => expect(reasonOf(() => rules.checkUri(uri))).toBeUndefined());

  it.each([
    ['file:///etc/passwd', 'only http and https'],
    ['ftp://files.example.test/a', 'only http and https'],
    ['gopher://files.example.test/a', 'only http and https'],
    ['data:,abc', 'only http and https'],
    ['http://user@files.example.test/a', 'user name or password'],
    ['http://user:secret@files.example.test/a', 'user name or password'],
    ['http://files.example.test:22/a', 'port 22'],
    ['https://files.example.test:5432/a', 'port 5432'],
    ['not an address', 'malformed'],
    ['//files.example.test/a', 'malformed'],
    ['http://', 'malformed'],
    [`http://files.example.test/${'a'.repeat(2048)}`, 'at most 2048 characters'],
    // Every spelling of an address is the address.
    ['http://127.0.0.1/a', 'not a public host'],
    ['http://127.1/a', 'not a public host'],
    ['http://2130706433/a', 'not a public host'],
    ['http://0x7f000001/a', 'not a public host'],
    ['http://0177.0.0.1/a', 'not a public host'],
    ['http://%31%32%37.0.0.1/a', 'not a public host'],
    ['http://127。0。0。1/a', 'not a public host'],
    ['http://169.254.169.254/latest/meta-data', 'not a public host'],
    ['http://[::1]/a', 'not a public host'],
    ['http://[::ffff:10.0.0.1]/a', 'not a public host'],
    ['http://[64:ff9b::a9fe:a9fe]/a', 'not a public host'],
  ])('refuses %s', (uri, reason) => expect(reasonOf(() => rules.checkUri(uri))).toContain(reason));

  it('checks where a redirection leads by the same rules', () => {
    const base = new URL('https://files.example.test/a/b');
    expect(rules.checkUri('../c', base).href).toBe('https://files.example.test/c');
    expect(reasonOf(() => rules.checkUri('//127.0.0.1/c', base))).toContain('not a public host');
    expect(reasonOf(() => rules.checkUri('file:///c', base))).toContain('only http and https');
  });

  it('lets the operator name hosts and networks that are not public', () => {
    const allowing = new WebRules({
      ...DEFAULT_WEB_SETTINGS,
      allow: ['mirror.internal', '*.lab.internal', '10.1.0.0/16', 'fd00::/8', '127.0.0.9'],
    });
    const private10 = '10.9.9.9';
    const check = (host: string, address: string) =>
      reasonOf(() => allowing.checkAddress(new URL(`http://${host}/`), address));
    expect(check('mirror.internal', private10)).toBeUndefined();
    expect(check('MIRROR.internal.', private10)).toBeUndefined();
    expect(check('a.b.lab.internal', private10)).toBeUndefined();
    expect(check('lab.internal', private10)).toBeDefined();
    expect(check('evil-lab.internal', private10)).toBeDefined();
    expect(check('mirror.internal.evil.test', private10)).toBeDefined();
    expect(check('anything.test', '10.1.2.3')).toBeUndefined();
    expect(check('anything.test', 'fd00::1')).toBeUndefined();
    expect(check('anything.test', '10.2.0.1')).toBeDefined();
    expect(reasonOf(() => allowing.checkUri('http://127.0.0.9/a'))).toBeUndefined();
    expect(reasonOf(() => allowing.checkUri('http://127.0.0.8/a'))).toBeDefined();
  });

  it('does not tell a stranger what the operator’s names stand for', () => {
    expect(reasonOf(() => rules.checkAddress(new URL('http://db.internal/'), '10.77.88.99'))).not.toContain('10.77');
  });

  it('are what the operator has written down', () => {
    const written = webRulesOf({ ports: '443, 8443', allow: ' mirror.internal,10.1.0.0/16 ' });
    expect(reasonOf(() => written.checkUri('https://10.1.0.1:8443/'))).toBeUndefined();
    expect(reasonOf(() => written.checkUri('http://10.1.0.1/'))).toContain('port 80');
    expect(reasonOf(() => webRulesOf({ ports: '', allow: '' }).checkUri('http://1.1.1.1:8080/'))).toBeUndefined();
    for (const ports of ['http', '0', '65536', '1.5']) expect(() => webRulesOf({ ports })).toThrow(RangeError);
  });

  it('refuses settings that mean nothing', () => {
    for (const entry of ['10.0.0.0/33', '10.0.0.0/', 'no host', '10.0.0.0/8/8', '*.', ''])
      expect(() => new WebRules({ ...DEFAULT_WEB_SETTINGS, allow: [entry] })).toThrow(RangeError);
    expect(() => blockListOf(['::/0'])).not.toThrow();
  });
});
