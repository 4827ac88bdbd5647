import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { type CompleteUploadRequest, imageId, ImsError, type JobId, projectId } from '@ims/contract';
import { type Clock, type Database, ImagesRepository, inTransaction } from '@ims/db';
import { decideBeginUpload, decideEndUpload } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import {
  type AppendOptions,
  type StagedFile,
  StagedFileBusyError,
  StagedFileExistsError,
  type StagedFiles,
  StagingFullError,
} from '@ims/staging';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { CLOCK, STAGED_FILES } from '../http/injection-tokens';
import type { Upload } from '../http/upload';
import { ImageReadsService } from '../images/image-reads.service';
import { ImageUploadService } from '../images/image-upload.service';
import { checkAnnounced, clearAbandoned, MANY_REQUESTS, MAX_UPLOAD_BYTES, nothing } from './staging-refusal';
import { noUpload } from './tus';

const CONFLICT = 409;

/** How far an upload is, with the moment at which it ends by itself. */
export interface UploadUnderWay {
  id: string;
  offset: number;
  length: number | null;
  expiresAt: Date;
}

/** What one request adds to an upload. */
export interface UploadPart {
  offset: number;
  /** Length of the whole, when its sender tells it only now. */
  announcedBytes: number | undefined;
  upload: Upload;
}

/**
 * The bytes of an image over many requests. What is durable is the staged file's business; that an image's bytes are on their way is an event of
 * the image.
 */
@Injectable()
export class UploadsService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly images: ImageReadsService,
    private readonly jobs: ImageUploadService,
    private readonly config: GatewayConfig,
    @Inject(STAGED_FILES) private readonly staged: StagedFiles,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** @throws ImsError IMG.0144 (404), IMG.0046 (409: the image does not wait for bytes, or others are on their way), IMG.0059 (413) */
  async begin(caller: Call, id: string, announcedBytes: number | undefined): Promise<UploadUnderWay> {
    checkAnnounced(announcedBytes);
    try {
      return this.#underWay(await this.#begin(caller, id, announcedBytes));
    } catch (error) {
      if (!(error instanceof StagedFileExistsError) || !(await clearAbandoned(this.staged, id))) throw error;
      return this.#underWay(await this.#begin(caller, id, announcedBytes));
    }
  }

  #begin(caller: Call, id: string, announcedBytes: number | undefined): Promise<StagedFile> {
    return inTransaction(this.db, async (trx) => {
      const uploadId = `${MANY_REQUESTS}${randomUUID()}`;
      const locked = await this.jobs.lockWaiting(trx, caller, id);
      const { image, events } = decideBeginUpload(locked, { projectId: projectId(caller.projectId), uploadId });
      const file = { projectId: image.projectId, imageId: image.id };
      const begun = await this.staged.create(
        uploadId,
        announcedBytes === undefined ? file : { ...file, announcedBytes },
        trx,
      );
      await appendEvents(trx, eventContext(caller), events, this.clock);
      return begun;
    });
  }

  async state(caller: Call, id: string): Promise<UploadUnderWay> {
    return this.#underWay(await this.#find(caller, id));
  }

  /**
   * Adds what comes to the end of the upload. What had arrived when the sender went away stays.
   *
   * @throws StagedOffsetError, StagedFileBusyError; when there is no room the upload has ended and nothing of it remains
   * @throws ImsError APIGW.0201 (400: another length than was announced before, or than has arrived), IMG.0059 (413)
   */
  async append(caller: Call, id: string, { offset, announcedBytes, upload }: UploadPart): Promise<UploadUnderWay> {
    const file = await this.#find(caller, id);
    if (announcedBytes === undefined) await this.#appendOrEnd(caller, file, offset, upload);
    else {
      if (announcedBytes !== (file.announcedBytes ?? announcedBytes) || announcedBytes < file.lengthBytes)
        throw new ImsError('APIGW.0201', 'Upload-Length is told once, and is what there is in the end');
      checkAnnounced(announcedBytes);
      await this.#appendOrEnd(caller, file, offset, upload, { announcedBytes });
    }
    return this.state(caller, id);
  }

  async #appendOrEnd(
    caller: Call,
    file: StagedFile,
    offset: number,
    { body, signal }: Pick<Upload, 'body' | 'signal'>,
    how: Pick<AppendOptions, 'announcedBytes' | 'restartAs' | 'isRest'> = {},
  ) {
    try {
      // A body that is given up half-way stays open: its sender still has to be told why.
      const bytes = body.iterator({ destroyOnReturn: false });
      return await this.staged.append(file.id, offset, bytes, { ...how, signal, maxBytes: MAX_UPLOAD_BYTES });
    } catch (error) {
      // A sender who sends more than was announced may still send what was.
      if (error instanceof StagingFullError && error.why !== 'announced')
        await this.#end(caller, file, 'there was no room for its bytes');
      throw error;
    }
  }

  /** Gives an upload up. */
  async end(caller: Call, id: string): Promise<void> {
    await this.#end(caller, await this.#find(caller, id), 'its upload was ended');
  }

  async #end(caller: Call, { id: uploadId, imageId: image }: StagedFile, reason: string): Promise<void> {
    await inTransaction(this.db, async (trx) => {
      const row = await new ImagesRepository(trx).findForUpdate(caller.projectId, image ?? '');
      // Completed meanwhile: the file is a job's.
      if (!(await this.staged.forgetIdle(trx, uploadId, this.clock.now()))) return;
      const { events } = decideEndUpload(row && { id: imageId(row.id), status: row.status }, { uploadId, reason });
      await appendEvents(trx, eventContext(caller), events, this.clock);
    });
    const left = await this.staged.find(uploadId);
    if (left === undefined) await this.staged.delete(uploadId);
  }

  /**
   * Hands the bytes to the job that makes the image of them, if they are what their sender says they are (SEC-06).
   *
   * @throws ImsError IMG.0057 (400: other bytes than the sender knows, or none), IMG.0046 (409: bytes are missing, or other ones came meanwhile)
   * @throws StagedFileBusyError
   */
  async complete(caller: Call, id: string, { size, sha256 }: CompleteUploadRequest = {}): Promise<JobId> {
    const file = await this.#find(caller, id);
    const { lengthBytes: sizeBytes, announcedBytes } = file;
    if (announcedBytes !== null && sizeBytes !== announcedBytes)
      throw new ImsError('IMG.0046', `${sizeBytes} of ${announcedBytes} bytes have arrived`, CONFLICT);
    if (sizeBytes === 0) throw new ImsError('IMG.0057', 'the file is empty');
    if (size !== undefined && size !== sizeBytes)
      throw new ImsError('IMG.0057', `${sizeBytes} bytes have arrived, not ${size}`);
    // As long as somebody adds to it, nobody knows what it will be.
    if (!file.sealed) await this.staged.append(file.id, sizeBytes, nothing());
    const from = { by: 'upload', stagedId: file.id, sizeBytes } as const;
    if (sha256 === undefined) return this.jobs.accept(caller, id, from, 'uploading');
    const found = await this.staged.digests(file.id);
    if (found.sha256 !== sha256.toLowerCase())
      throw new ImsError('IMG.0057', `the SHA-256 of what has arrived is ${found.sha256}`);
    const now = await this.staged.find(file.id);
    if (now?.touchedAt.getTime() !== file.touchedAt.getTime())
      throw new ImsError('IMG.0046', 'another upload of this image has taken over', CONFLICT);
    const { sizeBytes: _same, ...digests } = found;
    return this.jobs.accept(caller, id, { ...from, digests }, 'uploading');
  }

  /**
   * The whole file in one request, to be imported by another (upstream image API, "stage"). Again from the start when one before it was cut.
   *
   * @throws ImsError as `begin`; IMG.0057 when another length has come than was announced; then nothing of it remains
   */
  async stage(caller: Call, id: string, { body, announcedBytes, signal }: Upload): Promise<void> {
    checkAnnounced(announcedBytes);
    const under = await this.#ofImage((await this.images.findOwn(caller, id)).id);
    if (under === undefined) await this.begin(caller, id, announcedBytes);
    const file = await this.#find(caller, id);
    try {
      // Of several senders at once one is first; from the first byte to the last the file is its own.
      const restartAs = { announcedBytes: announcedBytes ?? null, validator: null };
      const sizeBytes = await this.#appendOrEnd(caller, file, 0, { body, signal }, { restartAs, isRest: true });
      if (announcedBytes !== undefined && sizeBytes !== announcedBytes)
        throw new ImsError('IMG.0057', `${sizeBytes} bytes have come, ${announcedBytes} were announced`);
      if (sizeBytes === 0) throw new ImsError('IMG.0057', 'the file is empty');
    } catch (error) {
      // It is somebody else who sends it.
      if (error instanceof StagedFileBusyError) throw error;
      await this.#end(caller, file, 'its bytes did not arrive');
      throw error;
    }
  }

  /** Hands over what was staged; refuses what is not known to be whole. */
  async importStaged(caller: Call, id: string): Promise<JobId> {
    const file = await this.#ofImage((await this.images.findOwn(caller, id)).id);
    if (file === undefined) throw new ImsError('IMG.0046', 'nothing has been staged', CONFLICT);
    if (!file.sealed && file.announcedBytes === null)
      throw new ImsError('IMG.0046', 'nobody has said that its bytes are complete', CONFLICT);
    return this.complete(caller, id);
  }

  async #find(caller: Call, id: string): Promise<StagedFile> {
    const file = await this.#ofImage((await this.images.findOwn(caller, id)).id);
    if (file === undefined) throw noUpload();
    return file;
  }

  async #ofImage(id: string): Promise<StagedFile | undefined> {
    const file = await this.staged.findOfImage(id);
    return file?.id.startsWith(MANY_REQUESTS) === true ? file : undefined;
  }

  #underWay({ id, lengthBytes, announcedBytes, touchedAt }: StagedFile): UploadUnderWay {
    const expiresAt = new Date(touchedAt.getTime() + this.config.uploadIdleMs);
    return { id, offset: lengthBytes, length: announcedBytes, expiresAt };
  }
}
