/** Why an embedded server could not be had; callers choose exit codes and documentation links by it. */
export type EmbeddedErrorCode =
  | 'BINARY_MISSING'
  | 'DATA_DIRECTORY_IN_USE'
  | 'DATA_DIRECTORY_UNUSABLE'
  | 'DISK_FULL'
  | 'OS_USER_MISSING'
  | 'PORT_TAKEN'
  | 'START_FAILED'
  | 'WRONG_PASSWORD'
  | 'WRONG_VERSION';

/** The message says what was attempted; `remedy` says what the person at the keyboard can do about it. */
export class EmbeddedError extends Error {
  override readonly name = 'EmbeddedError';

  constructor(
    readonly code: EmbeddedErrorCode,
    message: string,
    readonly remedy: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
