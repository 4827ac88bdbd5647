/** What disks and backups must know of servers that run as virtual machines. */
export interface RunningGuests {
  isRunning(serverId: string): boolean;
  /** Stands the virtual machine still; `undefined` when there is none to pause. The returned function lets it go on. */
  pause(serverId: string): Promise<(() => Promise<void>) | undefined>;
}
