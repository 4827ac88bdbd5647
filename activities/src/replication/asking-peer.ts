import { ImsError } from '@ims/contract';
import { PeerUnreachableError } from '@ims/peer';
import { failure } from '../step/failure';
import { notYet } from '../step/not-yet';

/**
 * Asks another region. One that does not answer is asked again until it does: a link that is down fails no job (fault-matrix N1). What it refuses is
 * refused for good.
 */
export async function askingPeer<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof PeerUnreachableError) throw notYet(error.message);
    if (error instanceof ImsError) throw failure(error.code, error.message, { cause: error, retryable: false });
    throw error;
  }
}
