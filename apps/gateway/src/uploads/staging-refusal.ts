import { ImsError } from '@ims/contract';
import { maxFileBytes } from '@ims/domain';
import {
  StagedFileBusyError,
  StagedFileExistsError,
  StagedFileMissingError,
  type StagedFiles,
  StagedOffsetError,
  StagingFullError,
} from '@ims/staging';

const CONFLICT = 409;
const TOO_LARGE = 413;

/** ims-api 12.7: as long as the longest file of a normal import. */
export const MAX_UPLOAD_BYTES = maxFileBytes(false);

/** @throws ImsError IMG.0059 (413) for a length that was told and is too long */
export function checkAnnounced(bytes: number | undefined): void {
  if (bytes !== undefined && bytes > MAX_UPLOAD_BYTES) throw new ImsError('IMG.0059', undefined, TOO_LARGE);
}

/** What a caller is told when the staging area refuses; everything else as it is. */
export function stagingRefusal(error: unknown): unknown {
  if (error instanceof StagedFileExistsError || error instanceof StagedFileBusyError)
    return new ImsError('IMG.0046', 'another upload of this image is under way', CONFLICT);
  if (error instanceof StagedFileMissingError)
    return new ImsError('IMG.0046', 'another upload of this image has taken over', CONFLICT);
  if (error instanceof StagedOffsetError)
    return new ImsError('IMG.0046', 'another upload of this image has added to it', CONFLICT);
  return error instanceof StagingFullError ? noRoom(error) : error;
}

function noRoom({ why }: StagingFullError): ImsError {
  switch (why) {
    case 'file':
      return new ImsError('IMG.0059', undefined, TOO_LARGE);
    case 'announced':
      return new ImsError('IMG.0057', 'more bytes have come than were announced');
    case 'project':
      return new ImsError('IMG.0060', 'the project has too many bytes waiting to become images', TOO_LARGE);
    case 'disk':
      return new ImsError('IMG.0060', 'there is no room for files that arrive', TOO_LARGE);
    default:
      return why satisfies never;
  }
}

/** Staged files of uploads in one request: worth nothing once that has ended. */
export const ONE_REQUEST = 'put-';
/** Staged files of uploads that go on over many requests. */
export const MANY_REQUESTS = 'upload-';

/**
 * Removes what an upload in one request left behind when its process died: it is in nobody's way.
 *
 * @returns whether there was nothing else in the way
 * @throws StagedFileBusyError as long as somebody writes it
 */
export async function clearAbandoned(
  staged: Pick<StagedFiles, 'findOfImage' | 'append' | 'deleteUnclaimed'>,
  imageId: string,
): Promise<boolean> {
  const other = await staged.findOfImage(imageId);
  if (other === undefined) return true;
  if (!other.id.startsWith(ONE_REQUEST)) return false;
  await staged.append(other.id, other.lengthBytes, nothing());
  // Its sender may have been about to hand it to a job just now.
  await staged.deleteUnclaimed(other.id);
  return true;
}

/** A body for whoever wants to know that nobody else writes. */
export async function* nothing(): AsyncGenerator<Uint8Array> {
  // Only the right to write is wanted.
}
