import { KillablePostgres, temporaryDirectory, testTemporal, TestStack } from '@ims/testing';
import { RegionUnderFault } from './support/region-under-fault';

const MIB = 2 ** 20;
const SOURCE_MIB = 192;

describe('Postgres and gateway killed', () => {
  let postgres: KillablePostgres;
  let region: RegionUnderFault;

  beforeAll(async () => {
    postgres = await KillablePostgres.start(await temporaryDirectory());
    region = RegionUnderFault.watch(await TestStack.start({ database: postgres }), await testTemporal());
  });
  afterAll(() => region.stop());

  it.each([0.2, 0.6, 0.9])(
    'Postgres killed at %d of an ingest: the job goes on, no answered job is lost (P8)',
    async (share) => {
      const { id, source } = await region.ingestAt(`postgres-${share}`, SOURCE_MIB, share * SOURCE_MIB * MIB);
      await postgres.kill();
      await postgres.run();
      expect(await region.settle([id])).toEqual(['succeeded']);
      expect(await region.guestSha256(id)).toBe(source.sha256);
      expect(await region.violations([id])).toEqual([]);
    },
  );

  it('a gateway killed around submissions: what was answered exists and ends, what was not has no or one effect (P6)', async () => {
    const source = await region.putNoise('gateway.raw', 2);
    const answered: string[] = [];
    const names: string[] = [];
    for (let round = 0; round < 6; round++) {
      const calls = Array.from({ length: 6 }, (_, call) => {
        const name = `gateway-${round}-${call}`;
        names.push(name);
        return region.submit(source, name).then(
          (id) => answered.push(id),
          () => undefined,
        );
      });
      // After a number of answers that differs from round to round, so some calls are before, some in and some after their commit.
      await Promise.race([Promise.all(calls.slice(0, round)), Promise.all(calls)]);
      await region.stack.kill('gateway');
      await Promise.all(calls);
      await region.stack.run('gateway');
    }
    const jobs = await region.db
      .selectFrom('job')
      .select(['id', 'image_name'])
      .where('image_name', 'in', names)
      .execute();
    const ids = jobs.map(({ id }) => id);
    expect(ids).toEqual(expect.arrayContaining(answered));
    expect(answered.length).toBeGreaterThan(0);
    expect(answered.length).toBeLessThan(names.length);
    expect(new Set(jobs.map((job) => job.image_name)).size).toBe(jobs.length);
    expect(new Set(await region.settle(ids))).toEqual(new Set(['succeeded']));
    expect(await region.violations(ids)).toEqual([]);
  });
});
