/** Who calls, as far as an account-level call needs it. */
export interface Principal {
  accountId: string;
  accountName: string;
  userId: string;
  userName: string;
  /** Only of calls that were signed. */
  accessKeyId?: string;
  method: 'token' | 'signature';
  /** Action patterns such as `ims:images:*`. */
  permissions: string[];
}

/** Who calls, in which project. */
export interface Caller extends Principal {
  projectId: string;
}

/**
 * Whether one of the caller's patterns covers an action such as `ims:images:create`. A `*` stands for any text within a pattern
 * (iam 11); patterns and actions are compared without regard to case, as published. Nothing covers by default.
 */
export function permits(caller: Pick<Principal, 'permissions'>, action: string): boolean {
  return caller.permissions.some((pattern) => covers(pattern.toLowerCase(), action.toLowerCase()));
}

/** Greedy match from star to star: linear, unlike a regular expression made from foreign text. */
function covers(pattern: string, action: string): boolean {
  const parts = pattern.split('*');
  const first = parts[0] ?? '';
  const last = parts.at(-1) ?? '';
  if (parts.length === 1) return pattern === action;
  if (!action.startsWith(first) || !action.endsWith(last) || action.length < first.length + last.length) return false;
  const end = action.length - last.length;
  let position = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = action.indexOf(part, position);
    if (found < 0 || found + part.length > end) return false;
    position = found + part.length;
  }
  return true;
}
