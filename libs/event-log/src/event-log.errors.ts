/** The event cannot be recorded: its data does not fit the type, or it is no text that Postgres and RFC 8785 can hold, or too long. */
export class EventRefusedError extends Error {
  constructor(
    readonly type: string,
    reason: string,
    options?: ErrorOptions,
  ) {
    super(`append ${type}: ${reason}`, options);
    this.name = EventRefusedError.name;
  }
}

/** The key is taken by an event that says something else. Two writers disagree about a fact: never retried, never swallowed. */
export class EventConflictError extends Error {
  constructor(
    readonly streamId: string,
    readonly eventKey: string,
    readonly eventId: string,
  ) {
    super(`append to ${streamId}: key ${eventKey} belongs to event ${eventId}, which says something else`);
    this.name = EventConflictError.name;
  }
}

/** The cursor was not made by `readAll`, or by another version of it. */
export class EventCursorError extends Error {
  constructor(cursor: string) {
    super(`read events: cursor ${JSON.stringify(cursor.slice(0, 100))} is malformed`);
    this.name = EventCursorError.name;
  }
}
