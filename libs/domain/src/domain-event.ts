import type { EventData, EventType, StreamId } from '@ims/contract';

/** What a decider decided: appended as it is by the caller, in one transaction. `key` is unique within its stream. */
export type DomainEvent = {
  [T in EventType]: { type: T; stream: StreamId; key: string; data: EventData<T> };
}[EventType];
