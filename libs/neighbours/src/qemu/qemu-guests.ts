import { type MachineOptions, QemuMachine } from './qemu-machine';
import type { RunningGuests } from './running-guests';

interface Guest {
  machine: QemuMachine;
  /** Runs once when the machine is gone, whoever ended it. */
  gone: Promise<void>;
}

/** The virtual machines of this process, by the server they are. */
export class QemuGuests implements RunningGuests {
  private readonly guests = new Map<string, Guest>();

  isRunning(serverId: string): boolean {
    return this.guests.has(serverId);
  }

  get serverIds(): string[] {
    return [...this.guests.keys()];
  }

  /** `onEnd` is called once the machine has ended and before `stop` returns. */
  async start(serverId: string, options: MachineOptions, onEnd: () => Promise<void>): Promise<void> {
    const machine = await QemuMachine.start(options);
    const gone = machine.exited.then(async () => {
      this.guests.delete(serverId);
      await onEnd();
    });
    // Whoever stops it waits for this and sees a failure; one that ends by itself has nobody to tell.
    gone.catch(() => undefined);
    this.guests.set(serverId, { machine, gone });
  }

  /** What its serial console has printed; `undefined` when it does not run. */
  async console(serverId: string): Promise<string | undefined> {
    return this.guests.get(serverId)?.machine.console();
  }

  async stop(serverId: string): Promise<void> {
    const guest = this.guests.get(serverId);
    if (guest === undefined) return;
    await guest.machine.stop();
    await guest.gone;
  }

  async pause(serverId: string): Promise<(() => Promise<void>) | undefined> {
    const guest = this.guests.get(serverId);
    if (guest === undefined) return undefined;
    await guest.machine.pause();
    return async () => {
      // One that has ended meanwhile needs no waking.
      if (guest.machine.isRunning) await guest.machine.resume();
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.guests.keys()].map((serverId) => this.stop(serverId)));
  }
}
