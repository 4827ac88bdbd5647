import { canonical, chainHash, contentHash, holdsNul, parseData } from './leaf';

describe('canonical', () => {
  it.each([
    // https://www.rfc-editor.org/rfc/rfc8785#section-3.2.2 and 3.2.3
    [
      {
        numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 1e-27],
        string: '€$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
        literals: [null, true, false],
      },
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    ],
    [
      {
        '€': 'Euro Sign',
        '\r': 'Carriage Return',
        '\ufb33': 'Hebrew Letter Dalet With Dagesh',
        '1': 'One',
        '😀': 'Emoji: Grinning Face',
        '\u0080': 'Control',
        ö: 'Latin Small Letter O With Diaeresis',
      },
      '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    ],
    [{ b: undefined, a: -0 }, '{"a":0}'],
  ])('writes %j as RFC 8785 says', (value, text) => {
    expect(canonical(value)).toBe(text);
  });
});

describe(contentHash.name, () => {
  it('does not depend on the order of members, and does on type and data', () => {
    expect(contentHash('t', { a: 1, b: 2 })).toEqual(contentHash('t', { b: 2, a: 1 }));
    expect(contentHash('t', { a: 1 })).not.toEqual(contentHash('u', { a: 1 }));
    expect(contentHash('t', { a: 1 })).not.toEqual(contentHash('t', { a: 2 }));
  });
});

describe(chainHash.name, () => {
  it('is SHA-256 of the previous hash and the leaf', () => {
    // printf '\0%.0s' {1..32} | sha256sum
    expect(chainHash(Buffer.alloc(32), Buffer.alloc(0)).toString('hex')).toBe(
      '66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925',
    );
  });
});

describe(parseData.name, () => {
  it('drops what the type does not name, so that it is neither hashed nor stored', () => {
    const { data, json } = parseData('job.cancel-requested', { reason: 'no', password: 'secret' });
    expect(data).toEqual({ reason: 'no' });
    expect(json).toBe('{"reason":"no"}');
  });
});

describe(holdsNul.name, () => {
  it.each([
    ['a\u0000', true],
    ['\\\u0000', true],
    ['\\u0000', false],
    ['\\\\u0000', false],
    ['', false],
  ])('sees through backslashes: %j', (text, expected) => {
    expect(holdsNul(JSON.stringify(text))).toBe(expected);
  });
});
