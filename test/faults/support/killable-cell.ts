import { KillablePostgres, KillableTemporal, temporaryDirectory, TestStack } from '@ims/testing';
import { RegionUnderFault } from './region-under-fault';
import type { VictimPart } from './victims';

/** A region with every part its own: gateway, worker, Postgres and engine, each to be killed and started again. */
export class KillableCell {
  private constructor(
    readonly region: RegionUnderFault,
    private readonly postgres: KillablePostgres,
    private readonly temporal: KillableTemporal,
  ) {}

  /** Two that know each other; the first one's region has the second one's as its other region. */
  static async startJoined(
    env: Record<string, string>,
  ): Promise<{ cells: [KillableCell, KillableCell]; stop(): Promise<void> }> {
    const parts = async () => ({
      database: await KillablePostgres.start(await temporaryDirectory()),
      temporal: await KillableTemporal.start(await temporaryDirectory()),
      env,
    });
    const [here, there] = await Promise.all([parts(), parts()]);
    const { stacks, links } = await TestStack.startJoined([here, there]);
    const beside = RegionUnderFault.watch(stacks[1], there.temporal);
    const cells: [KillableCell, KillableCell] = [
      new KillableCell(RegionUnderFault.watch(stacks[0], here.temporal, beside), here.database, here.temporal),
      new KillableCell(beside, there.database, there.temporal),
    ];
    const stop = async (): Promise<void> => {
      for (const { region } of cells) await region.stop();
      for (const link of links) await link.close();
      for (const { temporal } of cells) await temporal.stop();
    };
    return { cells, stop };
  }

  async kill(part: VictimPart): Promise<void> {
    switch (part) {
      case 'worker':
      case 'gateway':
        return this.region.stack.kill(part);
      case 'postgres':
        return this.postgres.kill();
      case 'temporal':
        return this.temporal.kill();
      case 'temporal-database':
        await this.temporal.kill();
        return this.temporal.deleteDatabase();
      default:
        return part satisfies never;
    }
  }

  async revive(part: VictimPart): Promise<void> {
    switch (part) {
      case 'worker':
      case 'gateway':
        return this.region.stack.run(part);
      case 'postgres':
        return this.postgres.run();
      case 'temporal':
      case 'temporal-database':
        return this.temporal.run();
      default:
        return part satisfies never;
    }
  }
}
