import type { Database } from '@ims/db';
import type { Selectable } from 'kysely';
import { envelopeOf, type EventRow } from './event-rows';
import { canonical, chainHash, contentHash, envelopeFields, FIRST_PREV_HASH } from './leaf';

export type HeadRow = Selectable<Database['stream_head']>;
export type KeyRow = Selectable<Database['event_key']>;

/** What can be wrong with the log. */
export type DamageKind =
  /** A column says something else than the hashed leaf. */
  | 'column-changed'
  /** Leaf, hash or prev_hash do not belong together: the event was altered together with its leaf, or one of the three was. */
  | 'hash-wrong'
  /** The event is intact but does not follow the one before it: one of them was replaced. */
  | 'chain-broken'
  | 'event-removed'
  /** An event that no key knows, or a second one at the same position. */
  | 'event-inserted'
  | 'key-disagrees'
  | 'head-disagrees';

export interface Damage {
  kind: DamageKind;
  streamId: string;
  /** The event concerned, where one can be named. */
  eventId: string | null;
  /** Its position in the stream by its column; for a removed one the position that is empty. */
  position: number | null;
  /** What disagrees, in words. */
  detail: string;
}

/** What an event was before its columns were changed, as its leaf says. */
export interface Original {
  eventId: unknown;
  streamId: unknown;
  position: unknown;
}

// A row whose leaf names another identity or place stands at a place that is not its own.
const PLACE_COLUMNS: readonly string[] = ['event_id', 'stream_id', 'stream_position'];

interface Gap {
  from: number;
  to: number;
}

function parseLeaf(leaf: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(leaf.toString('utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    // A damaged leaf need not be JSON any more.
    return undefined;
  }
}

/**
 * Checks one stream, row by row in the order of its positions, from nothing but what is stored: every leaf, hash and position is computed
 * again. Pure; memory does not grow with the stream.
 */
export class StreamVerifier {
  readonly #damages: Damage[] = [];
  readonly #gaps: Gap[] = [];
  readonly #originals: Original[] = [];
  #last: { position: number; hash: Buffer; computed: Buffer; transactionId: string } | undefined;

  constructor(readonly streamId: string) {}

  /**
   * @param key the row of `event_key` with the event's stream and key
   * @returns whether the leaf confirms every column, as far as JavaScript can tell
   */
  add(row: EventRow, key: KeyRow | undefined): boolean {
    const changed = this.#checkColumns(row);
    const computed = chainHash(row.prev_hash, row.leaf);
    this.#checkKey(row, key, changed);
    if (!changed.some((name) => PLACE_COLUMNS.includes(name))) {
      this.#checkPlace(row, computed, changed.includes('leaf'));
    }
    return changed.length === 0;
  }

  /**
   * @param orphans rows of `event_key` of this stream whose event is not there, in the order of recording
   * @returns what is wrong, and what changed events were before: such an event is not missing from its place
   */
  finish(head: HeadRow | undefined, orphans: readonly KeyRow[]): { damages: Damage[]; originals: Original[] } {
    const last = this.#last;
    const position = last?.position ?? 0;
    if (head === undefined) {
      this.#reportHead('the head of the stream is missing');
    } else if (head.position > position) {
      this.#gaps.push({ from: position + 1, to: head.position });
    } else if (head.position < position) {
      this.#reportHead(`the head is at position ${head.position}, the last event at ${position}`);
    } else if (last === undefined) {
      if (!head.hash.equals(FIRST_PREV_HASH)) this.#reportHead('the head of an empty stream has a hash');
    } else {
      if (!head.hash.equals(last.hash) && !head.hash.equals(last.computed)) {
        this.#reportHead('the hash of the head is not that of the last event');
      }
      if (head.transaction_id !== last.transactionId) {
        this.#reportHead('the transaction of the head is not that of the last event');
      }
    }
    this.#reportRemoved(orphans.filter(({ event_id }) => !this.#originals.some(({ eventId }) => eventId === event_id)));
    return { damages: this.#damages, originals: this.#originals };
  }

  #report(kind: DamageKind, row: EventRow, detail: string): void {
    this.#damages.push({ kind, streamId: this.streamId, eventId: row.event_id, position: row.stream_position, detail });
  }

  #reportHead(detail: string): void {
    this.#damages.push({ kind: 'head-disagrees', streamId: this.streamId, eventId: null, position: null, detail });
  }

  /** Names of the columns whose values the leaf does not confirm; `leaf` when the leaf is what was changed. */
  #checkColumns(row: EventRow): string[] {
    const fields = envelopeFields(envelopeOf(row));
    const expected = Buffer.from(canonical(fields), 'utf8');
    if (expected.equals(row.leaf)) return [];
    // The columns give the recorded hash, so they are what was recorded.
    if (chainHash(row.prev_hash, expected).equals(row.hash)) {
      this.#report('column-changed', row, 'leaf');
      return ['leaf'];
    }
    const recorded = parseLeaf(row.leaf);
    const names = new Set([...Object.keys(fields), ...Object.keys(recorded ?? {})]);
    const changed = [...names].filter(
      (name) => recorded === undefined || !(name in recorded) || canonical(fields[name]) !== canonical(recorded[name]),
    );
    if (recorded === undefined || changed.length === 0) {
      this.#report('column-changed', row, 'leaf');
      return ['leaf'];
    }
    this.#report('column-changed', row, changed.join(', '));
    this.#originals.push({
      eventId: recorded.event_id,
      streamId: recorded.stream_id,
      position: recorded.stream_position,
    });
    return changed;
  }

  #checkKey(row: EventRow, key: KeyRow | undefined, changed: readonly string[]): void {
    // The key belongs to what the event was before; the change itself is reported already.
    if (changed.some((name) => ['stream_id', 'event_key', 'event_id', 'recorded_at'].includes(name))) return;
    if (key === undefined) {
      this.#report('event-inserted', row, `no key ${row.event_key} was recorded`);
      return;
    }
    if (key.event_id !== row.event_id) {
      this.#report('event-inserted', row, `key ${row.event_key} belongs to event ${key.event_id}`);
      return;
    }
    if (key.recorded_at.getTime() !== row.recorded_at.getTime()) {
      this.#report('key-disagrees', row, `key ${row.event_key} has another time of recording`);
    }
    if (changed.includes('type') || changed.includes('data')) return;
    if (!key.content_hash.equals(contentHash(row.type, row.data))) {
      this.#report('key-disagrees', row, `key ${row.event_key} has another content hash`);
    }
  }

  #checkPlace(row: EventRow, computed: Buffer, leafChanged: boolean): void {
    const last = this.#last;
    const expected = (last?.position ?? 0) + 1;
    if (row.stream_position < expected) {
      this.#report('event-inserted', row, `position ${row.stream_position} is taken already`);
      return;
    }
    const contiguous = row.stream_position === expected;
    if (!contiguous) this.#gaps.push({ from: expected, to: row.stream_position - 1 });
    const previous = last === undefined ? [FIRST_PREV_HASH] : [last.hash, last.computed];
    const follows = previous.some((hash) => hash.equals(row.prev_hash));
    const consistent = computed.equals(row.hash);
    if (!consistent && !leafChanged) {
      // With the right predecessor everything fits: then prev_hash is what was changed.
      const repaired = contiguous && previous.some((hash) => chainHash(hash, row.leaf).equals(row.hash));
      this.#report('hash-wrong', row, repaired ? 'prev_hash' : 'hash, or the event together with its leaf');
    } else if (contiguous && !follows) {
      this.#report('chain-broken', row, 'it does not follow the event before it');
    }
    this.#last = { position: row.stream_position, hash: row.hash, computed, transactionId: row.transaction_id };
  }

  /** Empty positions and keys without events are two sides of the same removal: they are told together, in order. */
  #reportRemoved(orphans: readonly KeyRow[]): void {
    const left = [...orphans];
    const report = (eventId: string | null, position: number | null, detail: string) =>
      this.#damages.push({ kind: 'event-removed', streamId: this.streamId, eventId, position, detail });
    for (const { from, to } of this.#gaps) {
      let position = from;
      for (; position <= to && left.length > 0; position += 1) {
        const key = left.shift();
        if (key !== undefined) report(key.event_id, position, `the event with key ${key.event_key} is gone`);
      }
      if (position === to) report(null, position, 'the event at this position is gone, and its key');
      else if (position < to)
        report(null, position, `the events at positions ${position} to ${to} are gone, and their keys`);
    }
    for (const key of left) report(key.event_id, null, `the event with key ${key.event_key} is gone`);
  }
}
