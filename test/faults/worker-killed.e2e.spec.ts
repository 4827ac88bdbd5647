import { testTemporal, TestStack } from '@ims/testing';
import { RegionUnderFault, type Source } from './support/region-under-fault';

const MIB = 2 ** 20;
const THREADS = 2;
const PACK_BYTES = 64 * MIB;
// Four packs are sealed on the way, two at a time, so the points lie before, between and after seals.
const SOURCE_MIB = 160;
const POINTS = 5;

describe('a worker killed at five points of an ingest (P1, CRE-09)', () => {
  let region: RegionUnderFault;

  beforeAll(async () => {
    region = RegionUnderFault.watch(await TestStack.start({ threads: THREADS }), await testTemporal());
  });
  afterAll(() => region.stop());

  it('goes on from sealed packs: the guest bytes are right, and only open packs are written again', async () => {
    const jobs: { id: string; source: Source; kills: number; openAtKill: Map<string, number> }[] = [];
    for (let point = 0; point < POINTS; point++) {
      // Earlier jobs wait for their heartbeat timeout meanwhile; a kill may meet their second attempt too.
      const seen = await region.ingestAt(`killed-${point}`, SOURCE_MIB, ((point + 0.5) / POINTS) * SOURCE_MIB * MIB);
      jobs.push({ ...seen, kills: 0, openAtKill: new Map() });
      const running = await region.running();
      await region.stack.kill('worker');
      for (const hit of jobs) {
        const open = (await region.packs(hit.id)).filter((pack) => pack.state === 'open' && pack.fileBytes > 0);
        if (running.some((run) => run.jobId === hit.id && run.step === 'ingest')) hit.kills += 1;
        for (const pack of open) hit.openAtKill.set(pack.id, pack.fileBytes);
      }
      process.stderr.write(`killed at ${point}.5/${POINTS} during ${running.map(({ step }) => step).join(', ')}\n`);
      await region.stack.run('worker');
    }
    expect(new Set(await region.settle(jobs.map(({ id }) => id)))).toEqual(new Set(['succeeded']));

    for (const { id, source, kills, openAtKill } of jobs) {
      const packs = await region.packs(id);
      const kept = new Set(packs.map((pack) => pack.id));
      // An open pack that was whole has been adopted; what is gone was written in vain.
      const lostBytes = [...openAtKill].reduce((sum, [pack, bytes]) => sum + (kept.has(pack) ? 0 : bytes), 0);
      const storedBytes = packs.reduce((sum, pack) => sum + pack.fileBytes, 0);
      expect(kills).toBeGreaterThan(0);
      expect(lostBytes).toBeLessThanOrEqual(kills * THREADS * PACK_BYTES);
      // Nothing is stored twice either: incompressible bytes, a little for frames and footers.
      expect(storedBytes).toBeGreaterThanOrEqual(source.dataBytes);
      expect(storedBytes).toBeLessThan(source.dataBytes * 1.01 + 4 * MIB);
      expect(await region.guestSha256(id)).toBe(source.sha256);
    }
    expect(await region.violations(jobs.map(({ id }) => id))).toEqual([]);
  }, 240_000);
});
