/** Stored bytes are not what was written: a checksum, a leaf, a root or a manifest differs, or an object is gone. Never retried blindly. */
export class StoredBytesDamagedError extends Error {
  override readonly name = 'StoredBytesDamagedError';
}

/** No such manifest in this dedup domain: never made, or collected. */
export class ManifestNotFoundError extends Error {
  override readonly name = 'ManifestNotFoundError';
  constructor(
    readonly domainId: string,
    readonly manifestHash: string,
  ) {
    super(`read manifest ${manifestHash} of domain ${domainId}: there is no such manifest`);
  }
}

/** A newer attempt of the same job has taken over: this one may not commit anything any more. */
export class StaleAttemptError extends Error {
  override readonly name = 'StaleAttemptError';
  constructor(readonly packId: string) {
    super(
      `register pack ${packId}: it is no longer open, a newer attempt of the job has taken over or the job was discarded`,
    );
  }
}

/** The job does not hold what it wants to publish: nothing was ingested under it, or it was discarded or published already. */
export class NotHeldError extends Error {
  override readonly name = 'NotHeldError';
  constructor(jobId: string, manifestHash: string, reason: string) {
    super(`publish manifest ${manifestHash} for job ${jobId}: ${reason}`);
  }
}

/** The directory is not this installation's AZ: its identity file is missing or names another one. */
export class AzIdentityError extends Error {
  override readonly name = 'AzIdentityError';
}

/** Another pass of the collector is under way; only one may be. It is over after a while. */
export class CollectorBusyError extends Error {
  override readonly name = 'CollectorBusyError';
  constructor() {
    super('collect the image store: another pass is under way');
  }
}

/** No such dedup domain. */
export class DomainNotFoundError extends Error {
  override readonly name = 'DomainNotFoundError';
  constructor(readonly domainId: string) {
    super(`dedup domain ${domainId} does not exist`);
  }
}

/** What another store has sent is not what this one can read, or not what it was asked for. Asking again may help. */
export class ExchangeError extends Error {
  override readonly name = 'ExchangeError';
}
