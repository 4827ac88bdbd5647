import type { EventData, EventType } from '@ims/contract';

/** What a state may be made of: all of it is recorded. */
export type PastEvent = {
  [T in EventType]: { type: T; data: EventData<T>; streamId: string; projectId: string; occurredAt: Date };
}[EventType];

/** Events of one saga's steps; they differ in what they output, not in what they mean. */
type StepEvent = Extract<PastEvent, { type: `${string}.step-${'completed' | 'undone'}` }>;

export const isStepEvent = (event: PastEvent): event is StepEvent => /\.step-(?:completed|undone)$/.test(event.type);

/** The event cannot follow on what came before it: the log is damaged, or the state is asked of the wrong stream. */
export class EvolutionError extends Error {
  constructor({ type, streamId }: Pick<PastEvent, 'type' | 'streamId'>, reason: string) {
    super(`evolve ${streamId} by ${type}: ${reason}`);
    this.name = EvolutionError.name;
  }
}

/** The id behind `job:`, `image:`, … of a stream. */
export const subjectOf = (streamId: string): string => streamId.slice(streamId.indexOf(':') + 1);
