import { ImsError } from '@ims/contract';

/** A file of a listed format that is broken, hostile, truncated or empty (image-formats 2: `IMG.0057`). */
export const broken = (reason: string): ImsError => new ImsError('IMG.0057', reason);

/** A file of a format that is not listed, or one that this machine cannot open safely (image-formats 2: `IMG.0072`). */
export const unlisted = (reason: string): ImsError => new ImsError('IMG.0072', reason);

/** A converter failed for a reason that is not known to lie in the file (image-formats 2: `IMG.0061`). */
export const converterFailed = (reason: string): ImsError => new ImsError('IMG.0061', reason);
