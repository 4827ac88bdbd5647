import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import { ImsError, type StreamEventsQuery } from '@ims/contract';
import type { Database } from '@ims/db';
import { lastSealed, readSealed, sealEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { GatewayConfig } from '../config';
import { Answer, LazyStream } from '../http/answer';
import { toMessage } from './event.wire';

// Sealing takes up to a quarter of a second; asked more often, most answers would be empty.
const LOOK_EVERY_MS = 250;
// Well below the time after which proxies, and this gateway itself, take a silent connection for dead.
const HEARTBEAT_MS = 15_000;
const PAGE = 100;
// What a reader has not taken yet; beyond it nothing is read for it, so a slow one costs no more than that.
const BUFFER_BYTES = 64 * 1024;
// Of one gateway. While nothing happens they share one look; when something does, each reads it for itself.
const MAX_STREAMS = 200;
// No project keeps the others out.
const MAX_STREAMS_OF_PROJECT = 20;
// A reader that takes what is left of its stream has this long for it.
const LAST_WORDS_MS = 10_000;

/** Events as they are sealed, one message each (cts-api 8.5). */
@Injectable()
export class EventStreamService implements BeforeApplicationShutdown {
  /** Streams that somebody listens to, with their projects. */
  readonly #open = new Map<Readable, string>();
  /** The look that all share until the next one is due. */
  #look: { at: number; newest: Promise<ReadonlyMap<string, number>> } | undefined;
  readonly #closing = new AbortController();

  constructor(
    private readonly db: Kysely<Database>,
    private readonly config: GatewayConfig,
  ) {}

  /**
   * From the message after `lastEventId` on, else from `from_index`, else from the first event. A reader that comes back with the last id that
   * it has seen misses nothing and sees nothing twice; it has to when the stream's time is over, with rights that still hold.
   *
   * @throws ImsError CTS.0300 for an id that is none, APIGW.0308 when there are too many streams
   */
  stream(projectId: string, query: StreamEventsQuery, lastEventId: string | undefined): Answer {
    const from = lastEventId === undefined ? (query.from_index ?? 0) : indexAfter(lastEventId);
    const ofProject = [...this.#open.values()].filter((each) => each === projectId).length;
    if (this.#open.size >= MAX_STREAMS || ofProject >= MAX_STREAMS_OF_PROJECT)
      throw new ImsError('APIGW.0308', 'too many streams are open');
    const headers = { 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' };
    return new Answer(200, new LazyStream(() => this.#openStream(projectId, query, from)), headers);
  }

  #openStream(projectId: string, query: StreamEventsQuery, from: number): Readable {
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, this.#closing.signal]);
    const messages = this.#messages(projectId, query, from, signal);
    const life = setTimeout(() => {
      gone.abort();
      last = setTimeout(() => stream.destroy(), LAST_WORDS_MS).unref();
    }, this.config.eventStreamMs).unref();
    let last: NodeJS.Timeout | undefined;
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
        clearTimeout(life);
        clearTimeout(last);
        gone.abort();
        this.#open.delete(stream);
        done(error);
      },
    });
    this.#open.set(stream, projectId);
    return stream;
  }

  async *#messages(projectId: string, query: StreamEventsQuery, from: number, signal: AbortSignal) {
    const { job_id: jobId, image_id: imageId, type } = query;
    let fromIndex = from;
    let spokeAt = performance.now();
    // Sent at once, so that a reader knows that it is connected.
    yield ': events\nretry: 1000\n\n';
    while (!signal.aborted) {
      const newest = (await this.#newest()).get(projectId) ?? -1;
      let count = PAGE;
      while (fromIndex <= newest && count === PAGE && !signal.aborted) {
        const events = await readSealed(this.db, { projectId, jobId, imageId, type, fromIndex, limit: PAGE });
        count = events.length;
        for (const event of events) {
          yield toMessage(event);
          fromIndex = event.logIndex + 1;
          spokeAt = performance.now();
        }
      }
      // Everything up to there has been looked at, whatever of it was asked for.
      if (count < PAGE) fromIndex = Math.max(fromIndex, newest + 1);
      const now = performance.now();
      if (now - spokeAt >= HEARTBEAT_MS) {
        yield ': still here\n\n';
        spokeAt = now;
      }
      // The only reason for it to fail is the signal, which the loop looks at.
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** The newest index of each project that is listened to; one look for all streams. */
  #newest(): Promise<ReadonlyMap<string, number>> {
    const at = performance.now();
    if (this.#look === undefined || at - this.#look.at >= LOOK_EVERY_MS / 2)
      this.#look = { at, newest: this.#lookForNewest() };
    return this.#look.newest;
  }

  async #lookForNewest(): Promise<ReadonlyMap<string, number>> {
    await sealEvents(this.db);
    const newest = new Map<string, number>();
    for (const projectId of new Set(this.#open.values())) {
      const index = await lastSealed(this.db, projectId);
      if (index !== undefined) newest.set(projectId, index);
    }
    return newest;
  }

  /** Streams end between two messages. A reader that takes nothing would keep the process; it comes back with the last id it saw. */
  beforeApplicationShutdown(): void {
    this.#closing.abort();
    for (const stream of this.#open.keys()) if (stream.readableLength > 0) stream.destroy();
  }
}

function indexAfter(lastEventId: string): number {
  if (!/^\d{1,15}$/.test(lastEventId)) throw new ImsError('CTS.0300', 'Last-Event-ID is no id of this stream');
  return Number(lastEventId) + 1;
}
