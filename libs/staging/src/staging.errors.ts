/** No such file: never begun, deleted, or complete where more was to be appended. */
export class StagedFileMissingError extends Error {
  override readonly name = 'StagedFileMissingError';
  constructor(readonly id: string) {
    super(`staged file ${id} is not there or no longer open`);
  }
}

/** Another request, here or in another process, is writing the file. */
export class StagedFileBusyError extends Error {
  override readonly name = 'StagedFileBusyError';
  constructor(readonly id: string) {
    super(`staged file ${id} is being written by another request`);
  }
}

export class StagedFileExistsError extends Error {
  override readonly name = 'StagedFileExistsError';
  constructor(readonly id: string) {
    super(`staged file ${id}: bytes of that name or for that image are arriving already`);
  }
}

/** Bytes were offered for another place than the end of the file. */
export class StagedOffsetError extends Error {
  override readonly name = 'StagedOffsetError';
  constructor(
    readonly id: string,
    readonly offset: number,
    /** Where the file ends: the place to go on from. */
    readonly lengthBytes: number,
  ) {
    super(`staged file ${id} ends at ${lengthBytes}, not at ${offset}`);
  }
}

const WHY = {
  disk: 'the disk is full',
  project: 'the project has too many bytes waiting',
  file: 'it is longer than allowed',
  announced: 'it is longer than announced',
} as const;

/** There is no room. What was durable before stays until the file is deleted. */
export class StagingFullError extends Error {
  override readonly name = 'StagingFullError';
  constructor(
    readonly id: string,
    readonly why: keyof typeof WHY,
    options?: ErrorOptions,
  ) {
    super(`staged file ${id}: ${WHY[why]}`, options);
  }
}
