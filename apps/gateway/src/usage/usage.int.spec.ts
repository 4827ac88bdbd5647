import { randomUUID } from 'node:crypto';
import { HOUR_MS, RateCard, sum } from '@ims/billing';
import {
  imageId,
  jobId,
  projectId,
  SYSTEM,
  type UsageLineDocument,
  type UsageList,
  type UsageSummary,
} from '@ims/contract';
import { inTransaction, systemClock } from '@ims/db';
import {
  closeCharge,
  type DomainEvent,
  openBackupCharge,
  openImageCharge,
  openProductCharge,
  recordUsage,
  voidCharge,
} from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { JobEstimates } from './job-estimates';
import { UsageController } from './usage.controller';

const GIB = 2 ** 30;
const CARD = RateCard.parse(
  JSON.stringify({
    version: 1,
    currency: 'EUR',
    regions: { 'region-1': { 'backup.storage': '0.0002', 'replication.traffic': '0.05' } },
    product_codes: { 'db-1': '0.12' },
  }),
  'test',
);

let gateway: GatewayUnderTest;
let token: string;
beforeAll(async () => {
  gateway = await gatewayUnderTest({ rateCard: CARD });
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const DAY = 'from=2026-03-01&to=2026-03-02';
const get = (path: string, as = token, project = gateway.identity.projectId) =>
  gateway.app.inject({ url: path.replace('{p}', project), headers: { 'x-auth-token': as } });

async function happened(at: string, events: DomainEvent[], project = gateway.identity.projectId): Promise<void> {
  const occurredAt = new Date(at);
  await inTransaction(gateway.parts.db, (trx) =>
    appendEvents(
      trx,
      { projectId: projectId(project), actor: SYSTEM },
      events.map((event) => ({ ...event, occurredAt })),
    ),
  );
}
const anImage = () => imageId(randomUUID());

async function allLines(query: string): Promise<UsageLineDocument[]> {
  const lines: UsageLineDocument[] = [];
  for (let marker = ''; ;) {
    const page = (await get(`/v1/{p}/usage?${query}${marker}`)).json<UsageList>();
    lines.push(...page.usage);
    if (page.next_marker === undefined) return lines;
    marker = `&marker=${page.next_marker}`;
  }
}

describe(UsageController.name, () => {
  it('charges the backup of a whole server hour by hour until it is deleted, and says why (BIL-03, BIL-04)', async () => {
    const image = anImage();
    const backupId = randomUUID();
    const open = openBackupCharge({ backupId, imageId: image, bytes: 2 * GIB });
    await happened('2026-03-01T09:30:00Z', [open]);
    await happened('2026-03-01T11:15:00Z', [
      closeCharge({ usageId: `backup-storage:${backupId}:${image}`, backupId }, image),
    ]);
    const answer = await get(`/v1/{p}/usage?${DAY}&image_id=${image}`);
    expect(answer.statusCode).toBe(200);
    const { usage, ...page } = answer.json<UsageList>();
    expect(page).toEqual({ from: '2026-03-01T00:00:00.000Z', to: '2026-03-02T00:00:00.000Z' });
    expect(usage.map(({ quantity, amount }) => [quantity, amount])).toEqual([
      ['1', '0.0002'],
      ['2', '0.0004'],
      ['0.5', '0.0001'],
    ]);
    expect(usage[0]).toMatchObject({
      meter: 'backup.storage',
      backup_id: backupId,
      region: 'region-1',
      currency: 'EUR',
      is_final: true,
      explanation: 'backup of 2 GB kept 0.5 h: 1 GB·h × 0.0002 EUR/GB·h = 0.0002 EUR',
    });
    const ids = await gateway.parts.db
      .selectFrom('event')
      .select('event_id')
      .where('stream_id', '=', `usage:backup:${backupId}`)
      .orderBy('stream_position')
      .execute();
    expect(usage[0]?.event_ids).toEqual(ids.map(({ event_id }) => event_id));
  });

  it('keeps private images free of charge, and public and uploaded ones out of the bill (BIL-01, BIL-02, BIL-06)', async () => {
    const image = anImage();
    await happened('2026-03-01T10:00:00Z', [openImageCharge({ imageId: image, meter: 'image.storage', bytes: GIB })]);
    const usage = await allLines(`${DAY}&image_id=${image}`);
    expect(usage).toHaveLength(14);
    expect(usage.every(({ amount, explanation }) => amount === '0' && /free of charge/.test(explanation))).toBe(true);
  });

  it("charges a marketplace image, and what was made from it, at the provider's price (BIL-05, BIL-08)", async () => {
    const image = anImage();
    await happened('2026-03-01T22:00:00Z', [openProductCharge({ imageId: image, productCode: 'db-1', bytes: GIB })]);
    const usage = await allLines(`${DAY}&image_id=${image}`);
    expect(usage.map(({ product_code, quantity, amount }) => [product_code, quantity, amount])).toEqual([
      ['db-1', '1', '0.12'],
      ['db-1', '1', '0.12'],
    ]);
  });

  it('charges the traffic of a replication once, however often it is recorded; exports are information (BIL-09, BIL-10)', async () => {
    const image = anImage();
    const job = jobId(randomUUID().replaceAll('-', ''));
    const traffic = recordUsage({ jobId: job, imageId: image, meter: 'replication.traffic', bytes: 10 * GIB });
    await happened('2026-03-01T05:20:00Z', [traffic]);
    await happened('2026-03-01T05:20:00Z', [traffic]);
    await happened('2026-03-01T06:00:00Z', [recordUsage({ jobId: job, imageId: image, meter: 'export', bytes: 4096 })]);
    const usage = await allLines(`${DAY}&image_id=${image}`);
    expect(usage.map(({ meter, amount, size_bytes }) => [meter, amount, size_bytes])).toEqual([
      ['replication.traffic', '0.5', 10 * GIB],
      ['export', '0', 4096],
    ]);
  });

  it('charges a copy of a whole server for its traffic and for the new backup (BIL-11)', async () => {
    const image = anImage();
    const job = jobId(randomUUID().replaceAll('-', ''));
    await happened('2026-03-01T23:00:00Z', [
      recordUsage({ jobId: job, imageId: image, meter: 'backup-replication.traffic', bytes: GIB }),
      openImageCharge({ imageId: image, meter: 'backup.storage', bytes: GIB }),
    ]);
    const usage = await allLines(`${DAY}&image_id=${image}`);
    expect(new Set(usage.map(({ meter }) => meter))).toEqual(new Set(['backup-replication.traffic', 'backup.storage']));
    // The card has no price for that traffic (BIL-12).
    expect(usage.find(({ meter }) => meter === 'backup-replication.traffic')?.amount).toBeNull();
  });

  it('has nothing of a charge that was voided', async () => {
    const image = anImage();
    await happened('2026-03-01T08:00:00Z', [openImageCharge({ imageId: image, meter: 'image.storage', bytes: GIB })]);
    await happened('2026-03-01T09:00:00Z', [voidCharge({ usageId: `image-storage:${image}`, backupId: null }, image)]);
    expect(await allLines(`${DAY}&image_id=${image}`)).toEqual([]);
  });

  it('pages through the lines without losing or doubling one, whatever the size of a page', async () => {
    const whole = await allLines(`${DAY}&limit=1000`);
    expect(whole.length).toBeGreaterThan(20);
    expect(new Set(whole.map(({ id }) => id)).size).toBe(whole.length);
    expect(await allLines(`${DAY}&limit=7`)).toEqual(whole);
    const halves = [
      await allLines('from=2026-03-01&to=2026-03-01T10:00:00Z'),
      await allLines('from=2026-03-01T10:00:00Z&to=2026-03-02'),
    ];
    expect(
      halves
        .flat()
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(whole.map(({ id }) => id).toSorted());
  });

  it('sums exactly what the lines say', async () => {
    const lines = await allLines(`${DAY}&limit=1000`);
    const summary = (await get(`/v1/{p}/usage/summary?${DAY}`)).json<UsageSummary>();
    for (const { meter, product_code, quantity, amount } of summary.meters) {
      const these = lines.filter((line) => line.meter === meter && line.product_code === product_code);
      expect(quantity).toBe(sum(these.map((line) => line.quantity)));
      const amounts = these.map((line) => line.amount);
      expect(amount).toBe(amounts.includes(null) ? null : sum(amounts.map((each) => each ?? '0')));
    }
    expect(new Set(summary.meters.map(({ meter }) => meter))).toEqual(new Set(lines.map(({ meter }) => meter)));
    expect([summary.currency, summary.is_complete]).toEqual(['EUR', false]);
  });

  it('exports the same lines by FOCUS 1.2', async () => {
    const answer = await get(`/v1/{p}/usage/focus?${DAY}`);
    expect([answer.statusCode, answer.headers['content-type']]).toEqual([200, 'text/csv; charset=utf-8']);
    const [header, ...rows] = answer.body.trimEnd().split('\r\n');
    expect(header).toMatch(/^BilledCost,BillingAccountId,/);
    expect(rows).toHaveLength((await allLines(`${DAY}&limit=1000`)).length);
  });

  it('gives the hours that are over to a metering service, page by page (backends F2.1)', async () => {
    const window = 'start_time=20260301000000&end_time=20260302000000';
    const records: unknown[] = [];
    for (let marker = ''; ;) {
      const page = (await get(`/v1/sdr-meters/backup.storage/records?${window}&limit=2${marker}`)).json<{
        source_data: unknown[];
        marker: string;
      }>();
      records.push(...page.source_data);
      if (page.marker === '') break;
      marker = `&marker=${page.marker}`;
    }
    expect(records).toHaveLength((await allLines(`${DAY}&meter=backup.storage`)).length);
    expect(records[0]).toMatchObject({
      user_id: gateway.identity.projectId,
      cloud_service_type: 'hws.service.type.cbr',
      begin_time: '20260301093000',
      accumulate_factor_name: 'size',
      accumulate_factor_value: 1024,
    });
    expect((await get('/v1/sdr-meters/nothing/records')).json()).toMatchObject({ error: { code: 'IMG.0021' } });
  });

  it('tells of this month until now when no window is given, and that the hour goes on', async () => {
    const image = anImage();
    const now = systemClock.now().getTime();
    await happened(new Date(now - 60_000).toISOString(), [
      openImageCharge({ imageId: image, meter: 'image.storage', bytes: GIB }),
    ]);
    const from = new Date(Math.floor((now - 60_000) / HOUR_MS) * HOUR_MS).toISOString();
    const usage = await allLines(`image_id=${image}&from=${from}`);
    const goesOn = usage.at(-1);
    expect(goesOn?.is_final).toBe(false);
    expect(Date.parse(goesOn?.end_time ?? '')).toBeGreaterThanOrEqual(now);
  });

  it.each([
    ['usage', 'from=2026-03-02&to=2026-03-01'],
    ['usage', 'from=2026-03-01&to=2026-03-01'],
    ['usage', 'from=2026-03-01T00:30:00Z'],
    ['usage', 'from=2026-02-30'],
    ['usage', 'from=yesterday'],
    ['usage', 'from=2020-01-01&to=2026-01-01'],
    // Until now is as long.
    ['usage', 'from=2020-01-01'],
    ['usage/summary', 'from=2020-01-01'],
    ['usage/focus', 'from=2020-01-01'],
    ['usage', 'to=0000-01-01'],
    ['usage', 'from=2999-01-01'],
    ['usage', 'meter=image.copy'],
    ['usage', 'limit=0'],
    ['usage', 'limit=1001'],
    ['usage', 'marker=nonsense'],
    ['usage/summary', 'from=2026-03-02&to=2026-03-01'],
    ['usage/focus', 'from=2999-01-01'],
  ])('refuses %s?%s with IMG.0001', async (path, query) => {
    const answer = await get(`/v1/{p}/${path}?${query}`);
    expect([answer.statusCode, answer.json<{ error: { code: string } }>().error.code]).toEqual([400, 'IMG.0001']);
  });

  it.each(['usage', 'usage/summary', 'usage/focus'])('refuses %s of what is no id of an image', async (path) => {
    for (const id of ['garbage', '']) {
      const answer = await get(`/v1/{p}/${path}?${DAY}&image_id=${id}`);
      expect([answer.statusCode, answer.body]).toEqual([400, expect.stringContaining('IMG.0066')]);
    }
  });

  it.each(['/v1/{p}/usage', '/v1/{p}/usage/summary', '/v1/{p}/usage/focus', '/v1/sdr-meters/export/records'])(
    'shows %s to whoever may see it, and to nobody else',
    async (path) => {
      const url = path.replace('{p}', gateway.identity.projectId);
      expect((await gateway.app.inject({ url })).statusCode).toBe(401);
      const stranger = await gateway.anotherAccount(['ims:images:list']);
      const refused = await get(path, stranger.token, stranger.projectId);
      expect([refused.statusCode, refused.json()]).toMatchObject([403, { error: { code: 'IMG.0026' } }]);
      const reader = await gateway.anotherAccount(['ims:usage:list']);
      const empty = await get(path.includes('sdr') ? path : `${path}?${DAY}`, reader.token, reader.projectId);
      expect(empty.statusCode).toBe(200);
      expect(empty.body).not.toContain(gateway.identity.projectId);
      if (path.includes('{p}')) {
        const foreign = await get(path, reader.token, gateway.identity.projectId);
        expect(foreign.json()).toMatchObject({ error: { code: 'IMG.0030' } });
      }
    },
  );

  it('has nothing of an image of another project, whether it is there or not', async () => {
    const reader = await gateway.anotherAccount(['ims:usage:list']);
    const [line] = await allLines(`${DAY}&limit=1`);
    for (const id of [line?.image_id ?? '', randomUUID()]) {
      const answer = await get(`/v1/{p}/usage?${DAY}&image_id=${id}`, reader.token, reader.projectId);
      expect(answer.json()).toMatchObject({ usage: [] });
    }
  });
});

describe(JobEstimates.name, () => {
  it('tells what a job would cost in words of the wire (BIL-07)', () => {
    const estimates = gateway.app.get(JobEstimates);
    expect(estimates.estimate({ saga: 'server-backup', bytes: GIB })).toMatchObject({
      lines: [{ meter: 'backup.storage', charged_by: 'ims', per: 'hour', quantity: '1', unit_price: '0.0002' }],
      total: { once: '0', per_hour: '0.0002' },
      currency: 'EUR',
      is_complete: true,
    });
    expect(estimates.estimate({ saga: 'server-create', bytes: null, disksGb: [40, 100] }).lines).toMatchObject([
      { meter: 'volume.storage', charged_by: 'evs', quantity: '140' },
    ]);
  });
});
