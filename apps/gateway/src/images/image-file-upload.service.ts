import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { Inject, Injectable } from '@nestjs/common';
import { ImsError } from '@ims/contract';
import { Digests, StagedFileExistsError, type StagedFiles } from '@ims/staging';
import type { Call } from '../access/permits';
import { STAGED_FILES } from '../http/injection-tokens';
import type { Upload } from '../http/upload';
import { JobEnds } from '../jobs/job-ends';
import {
  checkAnnounced,
  clearAbandoned,
  MAX_UPLOAD_BYTES,
  ONE_REQUEST,
  stagingRefusal,
} from '../uploads/staging-refusal';
import { ImageUploadService } from './image-upload.service';

/** The bytes of an image in one request (ims-api 12.7). */
@Injectable()
export class ImageFileUploadService {
  constructor(
    private readonly uploads: ImageUploadService,
    private readonly ends: JobEnds,
    @Inject(STAGED_FILES) private readonly staged: StagedFiles,
  ) {}

  /**
   * Takes the bytes as they come, then lets a job make the image of them and waits for its end. Until the last byte has arrived nothing has
   * happened to the image; from then on the job goes on by itself.
   *
   * @throws ImsError IMG.0144 (404), IMG.0046 (409: the image waits for nothing, or another upload is under way), IMG.0059 (413: too long, or no
   * room), IMG.0057 (empty, of another length than announced, or not of the declared format), and whatever ends the job
   */
  async upload(caller: Call, id: string, { body, announcedBytes, signal }: Upload): Promise<void> {
    const image = await this.uploads.checkIsWaiting(caller, id);
    checkAnnounced(announcedBytes);
    const stagedId = `${ONE_REQUEST}${randomUUID()}`;
    try {
      await this.#begin(stagedId, image, announcedBytes);
      const digests = new Digests();
      const sizeBytes = await this.staged.append(stagedId, 0, digested(body, digests), {
        signal,
        maxBytes: MAX_UPLOAD_BYTES,
      });
      if (sizeBytes === 0) throw new ImsError('IMG.0057', 'the file is empty');
      if (announcedBytes !== undefined && sizeBytes !== announcedBytes)
        throw new ImsError('IMG.0057', `${sizeBytes} bytes have come, ${announcedBytes} were announced`);
      const from = { by: 'upload', stagedId, sizeBytes, digests: digests.end() } as const;
      const job = await this.uploads.accept(caller, id, from);
      await this.ends.success(job, signal);
    } catch (error) {
      // A file that a job has taken is the job's.
      await this.staged.deleteUnclaimed(stagedId);
      throw stagingRefusal(error);
    }
  }

  /** One upload of an image at a time, in whichever process. What a process that died left behind is in nobody's way. */
  async #begin(stagedId: string, image: { id: string; projectId: string }, announcedBytes: number | undefined) {
    const file = {
      projectId: image.projectId,
      imageId: image.id,
      ...(announcedBytes === undefined ? {} : { announcedBytes }),
    };
    try {
      await this.staged.create(stagedId, file);
    } catch (error) {
      if (!(error instanceof StagedFileExistsError) || !(await clearAbandoned(this.staged, image.id))) throw error;
      await this.staged.create(stagedId, file);
    }
  }
}

/** The bytes as they come, each counted in before it goes on. */
async function* digested(body: Readable, digests: Digests): AsyncGenerator<Uint8Array> {
  // A body that is given up half-way stays open: its sender still has to be told why.
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    // A stream of bytes has no other chunks.
    const bytes = chunk as Buffer;
    digests.update(bytes);
    yield bytes;
  }
}
