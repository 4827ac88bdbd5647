import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import { ImsError, type StreamEventsQuery } from '@ims/contract';
import type { Clock, Database } from '@ims/db';
import { readSealed, sealEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { Answer, LazyStream } from '../http/answer';
import { CLOCK } from '../http/injection-tokens';
import { toMessage } from './event.wire';

// Sealing takes up to a quarter of a second; asked more often, most answers would be empty.
const LOOK_EVERY_MS = 250;
// Well below the time after which proxies, and this gateway itself, take a silent connection for dead.
const HEARTBEAT_MS = 15_000;
const PAGE = 100;
// What a reader has not taken yet; beyond it nothing is read for it, so a slow one costs no more than that.
const BUFFER_BYTES = 64 * 1024;
// Each asks the database four times a second.
const MAX_STREAMS = 200;

/** Events as they are sealed, one message each (cts-api 8.5). */
@Injectable()
export class EventStreamService implements BeforeApplicationShutdown {
  readonly #open = new Set<Readable>();
  readonly #closing = new AbortController();

  constructor(
    private readonly db: Kysely<Database>,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * From the message after `lastEventId` on, else from `from_index`, else from the first event. A reader that comes back with the last id that
   * it has seen misses nothing and sees nothing twice.
   *
   * @throws ImsError CTS.0300 for an id that is none, APIGW.0308 when there are too many streams
   */
  stream(projectId: string, query: StreamEventsQuery, lastEventId: string | undefined): Answer {
    const from = lastEventId === undefined ? (query.from_index ?? 0) : indexAfter(lastEventId);
    if (this.#open.size >= MAX_STREAMS) throw new ImsError('APIGW.0308', 'too many streams are open');
    const headers = { 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' };
    return new Answer(200, new LazyStream(() => this.#openStream(projectId, query, from)), headers);
  }

  #openStream(projectId: string, query: StreamEventsQuery, from: number): Readable {
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, this.#closing.signal]);
    const messages = this.#messages(projectId, query, from, signal);
    const stream = new Readable({
      highWaterMark: BUFFER_BYTES,
      read() {
        messages.next().then(
          ({ done, value }) => this.push(done === true ? null : value),
          (error: unknown) => this.destroy(error instanceof Error ? error : new Error(String(error))),
        );
      },
      // At once, not after the message that comes next: a reader that has gone may be the last one there is.
      destroy: (error, done) => {
        gone.abort();
        this.#open.delete(stream);
        done(error);
      },
    });
    this.#open.add(stream);
    return stream;
  }

  async *#messages(projectId: string, query: StreamEventsQuery, from: number, signal: AbortSignal) {
    const { job_id: jobId, image_id: imageId, type } = query;
    let fromIndex = from;
    let spokeAt = this.clock.now().getTime();
    // Sent at once, so that a reader knows that it is connected.
    yield ': events\nretry: 1000\n\n';
    while (!signal.aborted) {
      await sealEvents(this.db);
      const events = await readSealed(this.db, { projectId, jobId, imageId, type, fromIndex, limit: PAGE });
      for (const event of events) {
        yield toMessage(event);
        fromIndex = event.logIndex + 1;
      }
      const now = this.clock.now().getTime();
      if (events.length > 0) spokeAt = now;
      else if (now - spokeAt >= HEARTBEAT_MS) {
        yield ': still here\n\n';
        spokeAt = now;
      }
      // The only reason for it to fail is the signal, which the loop looks at.
      if (events.length < PAGE) await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Streams end between two messages. A reader that takes nothing would keep the process; it comes back with the last id it saw. */
  beforeApplicationShutdown(): void {
    this.#closing.abort();
    for (const stream of this.#open) if (stream.readableLength > 0) stream.destroy();
  }
}

function indexAfter(lastEventId: string): number {
  if (!/^\d{1,15}$/.test(lastEventId)) throw new ImsError('CTS.0300', 'Last-Event-ID is no id of this stream');
  return Number(lastEventId) + 1;
}
