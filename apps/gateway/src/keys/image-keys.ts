import { Inject, Injectable } from '@nestjs/common';
import { permits } from '@ims/access';
import { type ErrorCode, ImsError } from '@ims/contract';
import { asImageRefusal, type KeyService } from '@ims/keys';
import type { Call } from '../access/permits';
import { KEYS } from '../http/injection-tokens';

/** What keeping an image under a key, and reading one, needs of whoever calls in safe mode (ims-api 6.1). */
const ACTIONS = ['kms:cmk:get', 'kms:dek:create', 'kms:dek:crypto'] as const;

const CODES: Record<'new' | 'source', { missing: ErrorCode; disabled: ErrorCode; forbidden: ErrorCode }> = {
  new: { missing: 'IMG.0095', disabled: 'IMG.0097', forbidden: 'IMG.0099' },
  source: { missing: 'IMG.0101', disabled: 'IMG.0102', forbidden: 'IMG.0103' },
};

/** Whether keys of images may be used (backends C3). The steps of a job find out once more: time passes until they run. */
@Injectable()
export class ImageKeys {
  constructor(@Inject(KEYS) private readonly keys: KeyService) {}

  /**
   * In safe mode the caller's own rights count; otherwise the service acts for the project, whose keys these are.
   *
   * @throws ImsError IMG.0095, IMG.0097 or IMG.0099, of the key of a copy's source IMG.0101, IMG.0102 or IMG.0103
   */
  async check(
    caller: Call,
    keyId: string | null | undefined,
    { of = 'new', isSafeMode = false }: { of?: 'new' | 'source'; isSafeMode?: boolean | undefined } = {},
  ): Promise<void> {
    if (keyId === undefined || keyId === null || keyId === '') return;
    const codes = CODES[of];
    if (isSafeMode && !ACTIONS.every((action) => permits(caller, action)))
      throw new ImsError(codes.forbidden, ACTIONS.join(', '));
    const { state } = await this.keys.describeKey(caller.projectId, keyId).catch((error: unknown) => {
      const refused = asImageRefusal(error);
      throw refused instanceof ImsError && refused.code === 'IMG.0095' ? new ImsError(codes.missing) : refused;
    });
    if (state !== 'enabled') throw new ImsError(codes.disabled);
  }
}
