import type { EventContext } from '@ims/event-log';
import type { Call } from './permits';

// A user agent is the caller's own text; its head is enough to tell clients apart.
const MAX_USER_AGENT = 256;

/** Who did it and by which request, as events record it. */
export function eventContext(caller: Omit<Call, 'isDryRun'>, about: { jobId?: string } = {}): EventContext {
  const {
    projectId,
    userId,
    userName,
    accountId,
    accountName,
    accessKeyId,
    sourceIp,
    userAgent,
    requestId,
    operation,
    claim,
  } = caller;
  return {
    projectId,
    requestId,
    claim,
    ...about,
    actor: {
      kind: 'user',
      userId,
      userName,
      accountId,
      accountName,
      sourceIp,
      ...(accessKeyId === undefined ? {} : { accessKeyId }),
      ...(userAgent === undefined ? {} : { userAgent: userAgent.slice(0, MAX_USER_AGENT) }),
      ...(operation === undefined ? {} : { call: operation }),
    },
  };
}
