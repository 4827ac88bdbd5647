/** Exit codes of `ims`, the same for every command. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  jobFailed: 3,
  auth: 4,
  notFound: 5,
  conflict: 6,
  timeout: 7,
  unreachable: 8,
  verifyFailed: 9,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
