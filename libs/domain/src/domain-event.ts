import type { Actor, EventData, EventType, StreamId } from '@ims/contract';

/** What a decider decided: appended as it is by the caller, in one transaction. `key` is unique within its stream. */
export type DomainEvent = {
  [T in EventType]: {
    type: T;
    stream: StreamId;
    key: string;
    data: EventData<T>;
    /** Whose trail it is in, where that is not the caller's project. */
    projectId?: string;
    /** Who did it, as far as that trail may tell. */
    actor?: Actor;
  };
}[EventType];
