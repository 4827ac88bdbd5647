import { SetMetadata } from '@nestjs/common';

const IDEMPOTENCY = 'ims:idempotency';

/**
 * How a POST takes an `Idempotency-Key`. `recorded`, which all are that say nothing: whatever it changes is an event, so the log knows whether it has
 * taken effect. `unrecorded`: it changes what no event tells of. `none`: it takes no key, for the reason given.
 */
export type Idempotency = { kind: 'recorded' } | { kind: 'unrecorded' } | { kind: 'none'; reason: string };

const RECORDED: Idempotency = { kind: 'recorded' };

/** A POST whose effects are in the tables of an embedded neighbour alone: after a crash nobody knows whether they are there, so it is not done again. */
export const LeavesNoEvent = (): MethodDecorator =>
  SetMetadata(IDEMPOTENCY, { kind: 'unrecorded' } satisfies Idempotency);

/** A POST that refuses an `Idempotency-Key`, and why it needs or can have none. */
export const TakesNoKey = (reason: string): MethodDecorator =>
  SetMetadata(IDEMPOTENCY, { kind: 'none', reason } satisfies Idempotency);

export function idempotencyOf(handler: object): Idempotency {
  // Written by the decorators above alone; SetMetadata keeps no type.
  return (Reflect.getMetadata(IDEMPOTENCY, handler) as Idempotency | undefined) ?? RECORDED;
}
