import { setTimeout as delay } from 'node:timers/promises';
import { ImsError } from '@ims/contract';
import { StagingFullError } from '../staging.errors';
import type { StagedFiles } from '../staging.port';
import { openWebFile, type WebClientOptions, WebTroubleError } from './web-file';

export interface WebDownloadOptions extends WebClientOptions {
  /** First pause before the other side is asked again; doubled each time nothing came of it. */
  pauseMs: number;
}

export interface WebDownload {
  id: string;
  uri: string;
  signal: AbortSignal;
  /** Called as bytes become durable; `bytesTotal` is null while the other side has not said. */
  onProgress?: (bytesDone: number, bytesTotal: number | null) => void;
}

// With the pause doubled each time: a server that restarts is waited for, one that is gone is not.
const TRIES_WITHOUT_PROGRESS = 6;

/**
 * Brings a file of the web into a staged one that was created before, and seals it. Goes on from what is durable as long as the file is the
 * version it was begun with, also after a crash. Resolves with its length.
 *
 * Fails with `ImsError` IMG.0057 (refused, gone, never complete) or IMG.0059 (too large), and with `StagingFullError` when there is no room here.
 */
export async function downloadFromWeb(
  staged: StagedFiles,
  { id, uri, signal, onProgress }: WebDownload,
  options: WebDownloadOptions,
): Promise<number> {
  for (let idle = 0; ;) {
    const before = await staged.length(id);
    try {
      return await fetchRest(staged, { id, uri, signal, ...(onProgress === undefined ? {} : { onProgress }) }, options);
    } catch (err) {
      if (err instanceof StagingFullError && err.why === 'file')
        throw new ImsError('IMG.0059', `the file has more than ${options.maxBytes} bytes`);
      if (!(err instanceof WebTroubleError)) throw err;
      idle = (await staged.length(id)) > before ? 0 : idle + 1;
      if (idle === TRIES_WITHOUT_PROGRESS) throw new ImsError('IMG.0057', err.message);
    }
    await delay(options.pauseMs * 2 ** idle, undefined, { signal });
  }
}

async function fetchRest(staged: StagedFiles, download: WebDownload, options: WebDownloadOptions): Promise<number> {
  const { id, uri, signal, onProgress } = download;
  const known = await staged.find(id);
  // An attempt that died had everything.
  if (known?.sealed === true) return known.lengthBytes;
  const file = await openWebFile(
    {
      uri,
      signal,
      offset: known?.lengthBytes ?? 0,
      validator: known?.validator ?? null,
      sizeBytes: known?.announcedBytes ?? null,
    },
    options,
  );
  if (file.offset === 0) await staged.restart(id, { announcedBytes: file.sizeBytes, validator: file.validator });
  const length = await staged.append(id, file.offset, file.body, {
    signal,
    maxBytes: options.maxBytes,
    onDurable: (bytes) => onProgress?.(bytes, file.sizeBytes),
  });
  if (file.sizeBytes !== null && length !== file.sizeBytes)
    throw new WebTroubleError(`${length} of ${file.sizeBytes} bytes arrived`);
  if (length === 0) throw new ImsError('IMG.0057', 'the file is empty');
  await staged.seal(id);
  return length;
}
