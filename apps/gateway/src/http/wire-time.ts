/** `yyyy-MM-ddTHH:mm:ssZ`, the form of image times (ims-api 2.1). */
export const imageTime = (at: Date): string => `${at.toISOString().slice(0, 19)}Z`;

/** `yyyy-MM-ddTHH:mm:ss.SSSZ`, the form of job times; `""` while there is none (ims-api 2.1). */
export const jobTime = (at: Date | null): string => (at === null ? '' : at.toISOString());

/** `YYYY-MM-DDTHH:mm:ss.ffffffZ`, the form of token times (iam 2.1). */
export const tokenTime = (at: Date): string => `${at.toISOString().slice(0, 23)}000Z`;

/** `YYYY-MM-DDTHH:mm:ss.ffffff`, the form of the backup service's times, which are UTC without saying so (backends E1). */
export const backupTime = (at: Date): string => `${at.toISOString().slice(0, 23)}000`;
