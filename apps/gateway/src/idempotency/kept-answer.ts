import { type Clock, type Database, IdempotencyRepository, type KeptAnswer } from '@ims/db';
import type { Transaction } from 'kysely';
import type { Call } from '../access/permits';
import { Answer } from '../http/answer';

/** Tells that the call was done before and is not done again. */
const REPLAYED = { 'Idempotency-Replayed': 'true' } as const;

export const keptAnswer = ({ status, body, headers }: Answer): KeptAnswer => ({
  status,
  headers,
  body: body === undefined ? null : JSON.stringify(body),
});

export function toAnswer({ status, headers, body }: KeptAnswer): Answer {
  // Written by `keptAnswer` from the body of an answer, which is an object.
  return new Answer(status, body === null ? undefined : (JSON.parse(body) as object), { ...headers, ...REPLAYED });
}

/** Keeps the answer in the transaction that does what the call asks for, if the call is to be done once. */
export async function keepAnswer(
  trx: Transaction<Database>,
  { claim }: Call,
  clock: Clock,
  answer: Answer,
): Promise<void> {
  if (claim !== undefined) await new IdempotencyRepository(trx).settle(claim, clock.now(), keptAnswer(answer));
}
