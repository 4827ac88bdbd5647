import { systemClock } from '@ims/db';
import { Client, Connection } from '@temporalio/client';

export interface TemporalAddress {
  address: string;
  namespace: string;
}

/** A client whose connection is made at first use, so that reads and submissions work while the engine is down. */
export class Temporal {
  #connection: Connection | undefined;
  #client: Client | undefined;

  constructor(private readonly at: TemporalAddress) {}

  get client(): Client {
    this.#connection ??= Connection.lazy({ address: this.at.address, connectTimeout: '3s' });
    this.#client ??= new Client({ connection: this.#connection, namespace: this.at.namespace });
    return this.#client;
  }

  /** Runs calls with a deadline: an engine that hangs must not hang a request. */
  within<T>(ms: number, call: () => Promise<T>): Promise<T> {
    return this.client.withDeadline(systemClock.now().getTime() + ms, call);
  }

  async close(): Promise<void> {
    await this.#connection?.close();
  }
}
