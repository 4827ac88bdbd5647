export { appendEvents } from './append-events';
export type { AppendResult } from './append-events';
export { EventConflictError, EventCursorError, EventRefusedError } from './event-log.errors';
export type { EventContext, NewEvent, RecordedEvent } from './event-log.port';
export { findEvent, readAll, readStream } from './read-events';
export type { EventPage } from './read-events';
