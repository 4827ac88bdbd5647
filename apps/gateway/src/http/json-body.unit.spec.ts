import { ImsError } from '@ims/contract';
import { parseJsonBody } from './json-body';

const refusal = (bytes: Buffer | string): unknown => {
  try {
    return parseJsonBody(Buffer.from(bytes));
  } catch (error) {
    return error instanceof ImsError ? error.code : error;
  }
};

describe(parseJsonBody.name, () => {
  it('reads a document', () => {
    expect(parseJsonBody(Buffer.from('{"a":[1,"x",{"b":null}]}'))).toEqual({ a: [1, 'x', { b: null }] });
  });

  it('takes no body and blanks for nothing', () => {
    expect(parseJsonBody(Buffer.alloc(0))).toBeUndefined();
    expect(parseJsonBody(Buffer.from(' \n'))).toBeUndefined();
  });

  it.each([
    ['malformed JSON', '{"a":'],
    ['a key that would change a prototype', '{"__proto__":{"isAdmin":true}}'],
    ['the same key written with escapes, nested', '{"a":[{"\\u005f_proto__":1}]}'],
    ['a NUL in a value', '{"a":"x\\u0000y"}'],
    ['a NUL in a key', '{"x\\u0000y":1}'],
    ['half a surrogate pair', '{"a":"\\ud800"}'],
    ['nesting without end', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ['objects without end', '{"a":'.repeat(100_000)],
  ])('refuses %s with IMG.0001', (_what, text) => {
    expect(refusal(text)).toBe('IMG.0001');
  });

  it('refuses bytes that are not UTF-8 with IMG.0001', () => {
    expect(refusal(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toBe('IMG.0001');
  });

  it('does not count brackets inside strings', () => {
    const text = JSON.stringify({ a: `${'['.repeat(500)}\\"${'{'.repeat(500)}` });
    expect(parseJsonBody(Buffer.from(text))).toEqual(JSON.parse(text));
  });

  it('never repeats the body in its refusal', () => {
    expect(() => parseJsonBody(Buffer.from('{"password":"hunter2"'))).toThrow(expect.not.stringContaining('hunter2'));
  });
});
