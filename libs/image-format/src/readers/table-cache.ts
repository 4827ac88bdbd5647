// Hides the latency of a store while all tables are walked; the reads of the walk itself are few and small.
const READ_AHEAD = 8;

/** A small least-recently-used cache of translation tables; loads of the same table are shared. */
export class TableCache {
  private readonly tables = new Map<number, Promise<Buffer>>();

  constructor(
    private readonly maxTables: number,
    private readonly load: (key: number) => Promise<Buffer>,
  ) {}

  /** Starts loading tables that will be asked for soon; what is not needed in the end costs a read, never an error. */
  prefetch(keys: Iterable<number>): void {
    for (const key of keys) {
      // The one who asks for the table is told of the failure.
      if (!this.tables.has(key)) this.get(key).catch(() => undefined);
    }
  }

  /** Tables that fit beside the one in use without pushing each other out. */
  get readAhead(): number {
    return Math.min(READ_AHEAD, Math.floor(this.maxTables / 2));
  }

  get(key: number, signal?: AbortSignal): Promise<Buffer> {
    const known = this.tables.get(key);
    if (known !== undefined) {
      this.tables.delete(key);
      this.tables.set(key, known);
      return known;
    }
    // The load is not tied to one caller's signal: another may be waiting for the same table.
    signal?.throwIfAborted();
    const loading = this.load(key);
    this.tables.set(key, loading);
    // A failed load must not be remembered: the next read may succeed.
    loading.catch(() => {
      if (this.tables.get(key) === loading) this.tables.delete(key);
    });
    for (const oldest of this.tables.keys()) {
      if (this.tables.size <= this.maxTables) break;
      this.tables.delete(oldest);
    }
    return loading;
  }
}
