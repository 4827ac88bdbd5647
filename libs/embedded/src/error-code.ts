/**
 * Code of an error of the system (`ENOENT`) or of the database driver (SQLSTATE), undefined when it has none.
 * Goes by shape, not by class: under Jest the errors of Node itself belong to another realm and are no instances of its `Error`.
 */
export function errorCode(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

/** Message of whatever was thrown; by shape for the same reason. */
export function errorMessage(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string'
    ? error.message
    : String(error);
}
