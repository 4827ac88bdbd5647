/** The file behind a pinned source is no longer the pinned one: it was replaced, rewritten, cut or removed (backends D1.1 row 6). */
export class SourceChangedError extends Error {
  override readonly name = 'SourceChangedError';
  constructor(bucket: string, key: string, options?: ErrorOptions) {
    super(`read ${bucket}:${key}: the file changed after it was pinned; start again with the new file`, options);
  }
}

/** A bucket or object name that a store cannot hold. `reason` says which rule it breaks. */
export class ObjectNameError extends Error {
  override readonly name = 'ObjectNameError';
  constructor(name: string, reason: string) {
    super(`object name ${JSON.stringify(name)}: ${reason}`);
  }
}

/** A body that is longer or shorter than it was announced; nothing of it is kept. */
export class BodyLengthError extends Error {
  override readonly name = 'BodyLengthError';
  constructor(bucket: string, key: string, announced: number, received: number) {
    super(`store ${bucket}:${key}: ${announced} bytes were announced, ${received} arrived; nothing was kept`);
  }
}

/** An object of that name is there already, and none is ever overwritten (IMG.0070). */
export class ObjectExistsError extends Error {
  override readonly name = 'ObjectExistsError';
  constructor({ bucket, key }: { bucket: string; key: string }) {
    super(`create ${bucket}:${key}: there is an object of that name`);
  }
}

/** An upload that was dropped, or that the store has forgotten. */
export class UploadGoneError extends Error {
  override readonly name = 'UploadGoneError';
  constructor({ bucket, key }: { bucket: string; key: string }, options?: ErrorOptions) {
    super(`upload of ${bucket}:${key}: it is gone`, options);
  }
}
