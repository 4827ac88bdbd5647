import { ImsError } from '@ims/contract';

const MAX_NAME = 128;
const MAX_DESCRIPTION = 1024;

/**
 * Name of an image (ims-api 2.1): 1 to 128 letters, digits, Chinese, `-`, `.`, `_` and blanks, no blank at either end.
 * Fails with IMG.0013 (missing), IMG.0002 (too long), IMG.0003 (other characters).
 */
export function checkImageName(name: string | undefined): string {
  if (name === undefined || name === '') throw new ImsError('IMG.0013');
  if ([...name].length > MAX_NAME) throw new ImsError('IMG.0002');
  if (!/^[A-Za-z0-9\u4e00-\u9fff._-]([A-Za-z0-9\u4e00-\u9fff ._-]*[A-Za-z0-9\u4e00-\u9fff._-])?$/.test(name)) {
    throw new ImsError(
      'IMG.0003',
      'letters, digits, Chinese characters, "-", ".", "_" and blanks between them are allowed',
    );
  }
  return name;
}

// ims-api 2.1, 12.3.
const MAX_GLANCE_NAME = 255;

/** Name of an image as OpenStack clients give it: up to 255 characters, also none (ims-api 12.3). Fails with IMG.0062. */
export function checkGlanceName(name: string): string {
  if ([...name].length > MAX_GLANCE_NAME || /[\u0000-\u001f\u007f]/.test(name))
    throw new ImsError(
      'IMG.0062',
      `it must have up to ${MAX_GLANCE_NAME} characters, no control characters among them`,
    );
  return name;
}

/** Description (ims-api 2.1): up to 1024 characters without line breaks and angle brackets. Fails with IMG.0004 or IMG.0054. */
export function checkDescription(description: string): string {
  if ([...description].length > MAX_DESCRIPTION) throw new ImsError('IMG.0004');
  // Other control characters cannot be stored or shown either; NUL is no character to Postgres.
  if (/[<>\u0000-\u0008\u000a-\u001f\u007f]/.test(description) || !description.isWellFormed())
    throw new ImsError('IMG.0054');
  return description;
}
