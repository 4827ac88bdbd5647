import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Meter } from '@ims/contract';
import { estimate, type EstimatedJob } from './estimate';
import { priced } from './pricing';
import { RateCard, RateCardError } from './rate-card';
import { focusHeader, focusRow, sdrRecordOf } from './records';
import { eachLine, type UsageLine, type UsageWindow } from './usage-lines';
import type { Usage } from './usage-events';

const GIB = 2 ** 30;
const region = 'region-1';
const CARD = {
  version: 1,
  currency: 'EUR',
  regions: {
    'region-1': {
      'backup.storage': [
        { from: '2026-01-01T00:00:00Z', price: '0.0002' },
        { from: '2027-01-01T00:00:00Z', price: '0.0003' },
      ],
      'replication.traffic': '0.05',
    },
  },
  product_codes: { 'db-1': '0.12' },
};
const card = RateCard.parse(JSON.stringify(CARD), 'test');
const AT = new Date('2026-03-01T09:00:00Z');
const HOUR: UsageWindow = { from: AT, to: new Date('2026-03-01T10:00:00Z') };

const aUsage = (meter: Meter, change: Partial<Usage> = {}): Usage => ({
  id: `${meter}:1`,
  meter,
  projectId: '1'.repeat(32),
  imageId: '11111111-1111-4111-8111-111111111111',
  backupId: null,
  productCode: null,
  bytes: 3.2 * 1024 ** 3,
  openedAt: new Date('2026-03-01T09:30:00Z'),
  closedAt: null,
  eventIds: ['event-1'],
  ...change,
});
function aLine(meter: Meter, change: Partial<Usage> = {}, window = HOUR): UsageLine {
  const [line] = [...eachLine(aUsage(meter, { bytes: 3 * GIB, ...change }), window)];
  if (line === undefined) throw new Error('no line');
  return line;
}

describe('priced', () => {
  it('charges the image of a whole server as storage of its backup, and says how it comes to the amount (BIL-03)', () => {
    expect(priced(aLine('backup.storage'), { region, card })).toMatchObject({
      quantity: '1.5',
      unitPrice: '0.0002',
      amount: '0.0003',
      currency: 'EUR',
      explanation: 'backup of 3 GB kept 0.5 h: 1.5 GB·h × 0.0002 EUR/GB·h = 0.0003 EUR',
    });
  });

  it('keeps images free of charge, and says why (BIL-02)', () => {
    const { amount, explanation } = priced(aLine('image.storage'), { region, card });
    expect(amount).toBe('0');
    expect(explanation).toBe('image of 3 GB kept 0.5 h: 1.5 GB·h; images are kept free of charge (BIL-02)');
  });

  it("charges a marketplace image at its provider's price, by the product code (BIL-05)", () => {
    const line = aLine('market.image', { productCode: 'db-1' });
    expect(priced(line, { region, card })).toMatchObject({ quantity: '0.5', unitPrice: '0.12', amount: '0.06' });
    const unknown = priced(aLine('market.image', { productCode: 'constructor' }), { region, card });
    expect(unknown.amount).toBeNull();
    expect(unknown.explanation).toMatch(/no price for product constructor$/);
  });

  it('tells quantities alone without a rate card, and where the card has no price (BIL-12)', () => {
    const without = priced(aLine('backup.storage'), { region, card: undefined });
    expect(without).toMatchObject({ quantity: '1.5', unitPrice: null, amount: null, currency: null });
    expect(without.explanation).toMatch(/no rate card/);
    const elsewhere = priced(aLine('backup.storage'), { region: 'region-9', card });
    expect(elsewhere).toMatchObject({ unitPrice: null, amount: null });
    expect(elsewhere.explanation).toMatch(/no price for backup.storage in region-9$/);
  });

  it('takes the price of the hour (BIL-12)', () => {
    const window = { from: new Date('2026-12-31T23:00:00Z'), to: new Date('2027-01-01T01:00:00Z') };
    const lines = [...eachLine(aUsage('backup.storage', { bytes: GIB }), window)];
    expect(lines.map((line) => priced(line, { region, card }).unitPrice)).toEqual(['0.0002', '0.0003']);
    const of = { meter: 'backup.storage', productCode: null, region } as const;
    expect(card.cut(of, window).map(({ to }) => to.toISOString())).toEqual([
      '2027-01-01T00:00:00.000Z',
      '2027-01-01T01:00:00.000Z',
    ]);
    expect(card.priceOf(of, new Date('2025-12-31T23:59:59Z'))).toBeNull();
  });

  it('charges no export, and an export is told with its bytes (BIL-09, EXP-11)', () => {
    const line = aLine('export', { openedAt: AT, closedAt: AT, bytes: 4096 });
    const { amount, bytes, explanation } = priced(line, { region, card });
    expect([amount, bytes]).toEqual(['0', 4096]);
    expect(explanation).toMatch(/^export of 4096 bytes .* bucket/);
  });
});

describe(RateCard.name, () => {
  it('is valid as the example that comes with the service', () => {
    const path = join(__dirname, '../../../infra/rate-card.example.json');
    const example = RateCard.parse(readFileSync(path, 'utf8'), path);
    expect(example.priceOf({ meter: 'backup.storage', productCode: null, region }, AT)).toBe('0.0002');
  });

  it.each([
    ['text that is no JSON', '{', /no JSON/],
    ['a number where text is exact', { ...CARD, product_codes: { a: 0.1 } }, /product_codes\.a/],
    ['a negative price', { ...CARD, product_codes: { a: '-1' } }, /product_codes\.a/],
    ['an exponent', { ...CARD, product_codes: { a: '1e3' } }, /product_codes\.a/],
    ['a meter that nobody knows', { ...CARD, regions: { 'region-1': { 'image.copy': '1' } } }, /regions\.region-1/],
    ['a price for what is free', { ...CARD, regions: { 'region-1': { 'image.storage': '1' } } }, /regions\.region-1/],
    ['no currency', { ...CARD, currency: 'euro' }, /currency: .*ISO 4217/],
    [
      'a change within an hour',
      { ...CARD, product_codes: { a: [{ from: '2026-01-01T00:30:00Z', price: '1' }] } },
      /product_codes\.a\.0\.from: .*whole hour/,
    ],
    [
      'a change on a day that is none',
      { ...CARD, product_codes: { a: [{ from: '2026-02-30T00:00:00Z', price: '1' }] } },
      /hour/,
    ],
    [
      'prices that are not in the order of time',
      {
        ...CARD,
        product_codes: { a: ['2027', '2026'].map((year) => ({ from: `${year}-01-01T00:00:00Z`, price: '1' })) },
      },
      /product_codes\.a: .*order of time/,
    ],
    [
      'a number as the price of a region',
      { ...CARD, regions: { r: { 'backup.storage': 1 } } },
      /backup\.storage: .*decimal/,
    ],
    ['another version', { ...CARD, version: 2 }, /version/],
    ['a word that it does not know', { ...CARD, price: '1' }, /price/],
  ])('refuses %s with the place of the mistake', (_name, document, message) => {
    const text = typeof document === 'string' ? document : JSON.stringify(document);
    const parse = (): unknown => RateCard.parse(text, 'card.json');
    expect(parse).toThrow(RateCardError);
    expect(parse).toThrow(message);
    expect(parse).toThrow(/^rate card card\.json: /);
  });

  it('names the file that it cannot read', async () => {
    await expect(RateCard.read('/nonexistent/card.json')).rejects.toThrow(/rate card \/nonexistent\/card\.json/);
  });
});

describe('estimate', () => {
  const of = (job: EstimatedJob, prices = card) => estimate(job, { region, card: prices, at: AT });

  it('has nothing for the upload of a file and the image that is made from it: free (BIL-06)', () => {
    const { lines, total, isComplete } = of({ saga: 'image-create', bytes: 10 * GIB });
    expect(lines.map(({ meter, amount }) => [meter, amount])).toEqual([['image.storage', '0']]);
    expect(total).toEqual({ once: '0', perHour: '0' });
    expect(isComplete).toBe(true);
  });

  it('tells of a server from an image its 40 GB and 100 GB disks, charged by the disk service: 140 GB (BIL-07)', () => {
    const { lines, total } = of({ saga: 'server-create', bytes: null, disksGb: [40, 100] });
    expect(lines).toEqual([expect.objectContaining({ meter: 'volume.storage', chargedBy: 'evs', quantity: '140' })]);
    expect(lines[0]?.explanation).toMatch(/140 GB \(40 \+ 100\).*image itself is free/);
    expect(total).toEqual({ once: '0', perHour: '0' });
  });

  it('charges a copy within the region nothing (BIL-09)', () => {
    expect(of({ saga: 'image-copy', bytes: 10 * GIB }).total).toEqual({ once: '0', perHour: '0' });
  });

  it('charges traffic once for a copy into another region, and of a whole server the backup there too (BIL-10, BIL-11)', () => {
    expect(of({ saga: 'image-replicate', bytes: 10 * GIB })).toMatchObject({ total: { once: '0.5', perHour: '0' } });
    const whole = of({ saga: 'image-replicate', bytes: 10 * GIB, isWholeServer: true });
    expect(whole.lines.map(({ meter, per }) => [meter, per])).toEqual([
      ['backup-replication.traffic', 'once'],
      ['backup.storage', 'hour'],
    ]);
    // The card has no price for that traffic: the sum is of what is known, and says that it is not all.
    expect(whole).toMatchObject({ total: { once: '0', perHour: '0.002' }, isComplete: false });
  });

  it('charges one payer once: an image of a backup that is charged already adds nothing (BIL-03)', () => {
    const job = { saga: 'image-create', bytes: 10 * GIB, isWholeServer: true };
    expect(of(job).total).toEqual({ once: '0', perHour: '0.002' });
    expect(of({ ...job, isBackupCharged: true }).lines).toEqual([]);
  });

  it("adds the provider's price of a marketplace image to whatever is made from it (BIL-08)", () => {
    for (const saga of ['image-create', 'image-copy', 'image-replicate'])
      expect(of({ saga, bytes: GIB, productCodes: ['db-1'] }).total?.perHour).toBe('0.12');
  });

  it('says so where the bytes are not known before the work', () => {
    const { lines, isComplete } = of({ saga: 'server-backup', bytes: null });
    expect(lines[0]).toMatchObject({ quantity: null, amount: null, unitPrice: '0.0002' });
    expect(lines[0]?.explanation).toMatch(/not known before the work.*0\.0002 EUR/);
    expect(isComplete).toBe(false);
  });

  it('has quantities alone without a rate card (BIL-12)', () => {
    const { lines, total, currency } = estimate(
      { saga: 'server-backup', bytes: GIB },
      { region, card: undefined, at: AT },
    );
    expect([lines[0]?.quantity, lines[0]?.amount, total, currency]).toEqual(['1', null, null, null]);
  });
});

describe('records for others', () => {
  const payer = { accountId: 'a'.repeat(32), accountName: 'acme' };

  it('has the shape of the pull contract, in whole units (backends F2.1)', () => {
    const line = aLine('replication.traffic', { openedAt: AT, closedAt: AT, bytes: 5 * GIB });
    expect(sdrRecordOf(line, region)).toEqual({
      user_id: '1'.repeat(32),
      region_id: 'region-1',
      cloud_service_type: 'hws.service.type.obs',
      resource_type: 'hws.resource.type.obs',
      resource_spec_code: 'ims.replication.traffic',
      resource_id: '11111111-1111-4111-8111-111111111111',
      begin_time: '20260301090000',
      end_time: '20260301100000',
      accumulate_factor_name: 'upflow',
      accumulate_factor_value: 5120,
    });
    const market = sdrRecordOf(aLine('market.image', { productCode: 'db-1' }), region);
    expect(market).toMatchObject({ resource_spec_code: 'db-1', accumulate_factor_value: 1800 });
    expect(sdrRecordOf(aLine('backup.storage', { bytes: 1 }), region)).toBeUndefined();
  });

  it('writes rows of as many cells as the header, quoted where they must be, and never a formula (backends F3.2)', () => {
    const line = aLine('market.image', { productCode: '=HYPERLINK("x"), y' });
    const row = focusRow(priced(line, { region, card }), payer);
    expect(row).toContain(`"'=HYPERLINK(""x""), y"`);
    const plain = focusRow(priced(aLine('backup.storage'), { region, card }), payer)
      .trimEnd()
      .split(',');
    const names = focusHeader().trimEnd().split(',');
    expect(plain).toHaveLength(names.length);
    const cellOf = (name: string) => plain[names.indexOf(name)];
    expect([cellOf('BilledCost'), cellOf('PricingQuantity'), cellOf('ChargeCategory')]).toEqual([
      '0.0003',
      '1.5',
      'Usage',
    ]);
    expect([cellOf('BillingAccountId'), cellOf('BillingAccountName'), cellOf('SubAccountId')]).toEqual([
      payer.accountId,
      'acme',
      '1'.repeat(32),
    ]);
    expect(cellOf('BillingPeriodEnd')).toBe('2026-04-01T00:00:00.000Z');
  });
});
