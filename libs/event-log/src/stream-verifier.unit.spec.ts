import { randomUUID } from 'node:crypto';
import { jobStream } from '@ims/contract';
import { envelopeOf, type EventRow } from './event-rows';
import { chainHash, contentHash, FIRST_PREV_HASH, leafOf } from './leaf';
import { anImport } from './spec-support/an-import';
import { type Damage, type HeadRow, type KeyRow, StreamVerifier } from './stream-verifier';

interface Stream {
  rows: EventRow[];
  keys: KeyRow[];
  head: HeadRow;
}

/** The stream of one import as the log records it. */
function aStream(): Stream {
  const work = anImport();
  const stream = jobStream(work.job);
  const events = [work.accepted, work.started, work.inspected, work.published, work.succeeded]
    .flat()
    .filter((event) => event.stream === stream)
    // A first, a middle and a last one; every bit of more of them would only take longer.
    .slice(0, 3);
  const rows: EventRow[] = [];
  let prevHash = FIRST_PREV_HASH;
  for (const [n, event] of events.entries()) {
    const at = new Date(Date.UTC(2026, 10, 24, 10, 0, n, 123));
    const bare: EventRow = {
      global_position: 1000 + n,
      event_id: randomUUID(),
      stream_id: stream,
      stream_position: n + 1,
      type: event.type,
      schema_version: 1,
      event_key: event.key,
      occurred_at: at,
      recorded_at: at,
      transaction_id: String(700 + n),
      actor: work.context.actor,
      project_id: work.project,
      job_id: work.job,
      request_id: work.context.requestId ?? null,
      workflow_id: 'workflow',
      run_id: 'run',
      step: 'inspect',
      attempt: 1,
      data: event.data,
      leaf: Buffer.alloc(0),
      prev_hash: prevHash,
      hash: Buffer.alloc(0),
    };
    const leaf = leafOf(envelopeOf(bare));
    const row = { ...bare, leaf, hash: chainHash(prevHash, leaf) };
    prevHash = row.hash;
    rows.push(row);
  }
  const last = rows.at(-1);
  if (last === undefined) throw new Error('an import has events');
  return {
    rows,
    keys: rows.map((row) => ({
      stream_id: row.stream_id,
      event_key: row.event_key,
      event_id: row.event_id,
      recorded_at: row.recorded_at,
      content_hash: contentHash(row.type, row.data),
    })),
    head: { stream_id: stream, position: rows.length, hash: last.hash, transaction_id: last.transaction_id },
  };
}

function damagesOf({ rows, keys, head }: Stream): Damage[] {
  const verifier = new StreamVerifier(head.stream_id);
  for (const row of rows) {
    verifier.add(
      row,
      keys.find(({ stream_id, event_key }) => stream_id === row.stream_id && event_key === row.event_key),
    );
  }
  return verifier.finish(head, []).damages;
}

/** Every value that differs from this one in a single bit of what Postgres stores for it. */
function* oneBitOff(value: unknown): Iterable<unknown> {
  if (Buffer.isBuffer(value)) {
    for (let bit = 0; bit < value.length * 8; bit += 1) {
      const flipped = Buffer.from(value);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      yield flipped;
    }
  } else if (typeof value === 'string') {
    for (const flipped of oneBitOff(Buffer.from(value, 'utf8'))) {
      // A text that is no UTF-8, or holds NUL, cannot be in a column.
      const text = String(flipped);
      if (!text.includes('\ufffd') && !text.includes('\u0000')) yield text;
    }
  } else if (typeof value === 'number') {
    for (let bit = 0; bit < 48; bit += 1) yield Number(BigInt(value) ^ (1n << BigInt(bit)));
  } else if (value instanceof Date) {
    for (const ms of oneBitOff(value.getTime())) yield new Date(Number(ms));
  } else if (typeof value === 'object' && value !== null) {
    for (const text of oneBitOff(JSON.stringify(value))) {
      let json: unknown;
      try {
        json = JSON.parse(String(text));
      } catch {
        continue; // A value that is no JSON cannot be in a column either.
      }
      // Bits that change only how the same value is written change nothing that is stored.
      if (JSON.stringify(json) !== JSON.stringify(value)) yield json;
    }
  }
}

describe(StreamVerifier.name, () => {
  const stream = aStream();

  it('finds nothing wrong with a stream as it was recorded', () => {
    expect(damagesOf(stream)).toEqual([]);
  });

  const columns = Object.keys(stream.rows[0] ?? {}).filter(
    (name): name is keyof EventRow => stream.rows[0] !== undefined && name in stream.rows[0],
  );
  it.each(columns)(
    'finds every single bit changed in column %s of every event, and names the event (G5, I6)',
    (column) => {
      let edits = 0;
      for (const [n, row] of stream.rows.entries()) {
        for (const value of oneBitOff(row[column])) {
          const changed: EventRow = { ...row, [column]: value };
          const damages = damagesOf({ ...stream, rows: stream.rows.with(n, changed) });
          edits += 1;
          if (!damages.some(({ eventId }) => eventId === changed.event_id)) {
            throw new Error(`event ${n + 1}: ${column} = ${String(value)} was not found: ${JSON.stringify(damages)}`);
          }
        }
      }
      expect(edits).toBeGreaterThan(0);
    },
  );

  it.each(['position', 'hash', 'transaction_id'] as const)(
    'finds every single bit changed in %s of the head',
    (column) => {
      for (const value of oneBitOff(stream.head[column])) {
        expect(damagesOf({ ...stream, head: { ...stream.head, [column]: value } }).length).toBeGreaterThan(0);
      }
    },
  );

  it('finds every single bit changed in the content hash of a key', () => {
    for (const [n, key] of stream.keys.entries()) {
      for (const value of oneBitOff(key.content_hash)) {
        if (!Buffer.isBuffer(value)) throw new Error('a hash is a buffer');
        const damages = damagesOf({ ...stream, keys: stream.keys.with(n, { ...key, content_hash: value }) });
        expect(damages.map(({ kind, eventId }) => [kind, eventId])).toEqual([['key-disagrees', key.event_id]]);
      }
    }
  });

  it('finds each event that was removed, and each pair that was swapped', () => {
    for (const [n] of stream.rows.entries()) {
      const damages = damagesOf({ ...stream, rows: stream.rows.toSpliced(n, 1) });
      expect(damages.map(({ kind, position }) => [kind, position])).toEqual([['event-removed', n + 1]]);
    }
    for (let n = 1; n < stream.rows.length; n += 1) {
      const [a, b] = [stream.rows[n - 1], stream.rows[n]];
      if (a === undefined || b === undefined) throw new Error('both are in the stream');
      const rows = stream.rows
        .with(n - 1, { ...b, stream_position: a.stream_position })
        .with(n, { ...a, stream_position: b.stream_position });
      expect(new Set(damagesOf({ ...stream, rows }).flatMap(({ eventId }) => eventId ?? []))).toEqual(
        new Set([a.event_id, b.event_id]),
      );
    }
  });

  it('does not see a tail that was rewritten with keys and head: that takes an anchor outside', () => {
    const rows = [...stream.rows];
    const last = rows.at(-1);
    if (last === undefined) throw new Error('an import has events');
    const forged = { ...last, data: { forged: true } };
    const leaf = leafOf(envelopeOf(forged));
    const row = { ...forged, leaf, hash: chainHash(forged.prev_hash, leaf) };
    const keys = stream.keys.with(-1, keyOf(row));
    expect(damagesOf({ rows: rows.with(-1, row), keys, head: { ...stream.head, hash: row.hash } })).toEqual([]);
  });
});

function keyOf(row: EventRow): KeyRow {
  return {
    stream_id: row.stream_id,
    event_key: row.event_key,
    event_id: row.event_id,
    recorded_at: row.recorded_at,
    content_hash: contentHash(row.type, row.data),
  };
}
