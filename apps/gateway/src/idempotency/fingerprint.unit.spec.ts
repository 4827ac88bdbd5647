import { fingerprintOf, keyIn } from './fingerprint';

const CALL = {
  userId: 'u',
  rawPath: '/v2/cloudimages/action',
  rawQuery: '',
  body: Buffer.from('{"a":1,"b":{"c":[1,2],"d":null}}'),
};

describe(fingerprintOf.name, () => {
  it('is the same however the JSON is laid out', () => {
    const body = Buffer.from(' {"b": {"d":null, "c":[1 ,2]},\n"a":1.0}');
    expect(fingerprintOf({ ...CALL, body })).toBe(fingerprintOf(CALL));
  });

  it.each([
    ['another value', { body: Buffer.from('{"a":2,"b":{"c":[1,2],"d":null}}') }],
    ['another order of a list', { body: Buffer.from('{"a":1,"b":{"c":[2,1],"d":null}}') }],
    ['a member less', { body: Buffer.from('{"a":1,"b":{"c":[1,2]}}') }],
    ['no body', { body: Buffer.alloc(0) }],
    ['no JSON', { body: Buffer.from('{"a":1') }],
    ['another user', { userId: 'v' }],
    ['another path', { rawPath: '/v2.1/cloudimages/action' }],
    ['another query', { rawQuery: 'a=b' }],
  ])('is another one for %s', (_, other) => {
    expect(fingerprintOf({ ...CALL, ...other })).not.toBe(fingerprintOf(CALL));
  });
});

describe(keyIn.name, () => {
  it.each(['a', '8e03978e-40d5-43dd-bc93-6894a57f9324', '"quoted"', 'x'.repeat(255)])('takes %s', (key) => {
    expect(keyIn(key)).toBe(key);
  });

  it.each([[''], ['a b'], ['é'], ['x'.repeat(256)], [['a', 'b']]])('refuses %j', (key) => {
    expect(() => keyIn(key)).toThrow(/Idempotency-Key/);
  });
});
