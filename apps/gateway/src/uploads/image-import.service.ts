import { Injectable } from '@nestjs/common';
import { type ImportImageRequest, ImsError, type JobId } from '@ims/contract';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import type { Upload } from '../http/upload';
import { ImageUploadService } from '../images/image-upload.service';
import { stagingRefusal } from './staging-refusal';
import { UploadsService } from './uploads.service';

@Injectable()
export class ImageImportService {
  constructor(
    private readonly uploads: UploadsService,
    private readonly jobs: ImageUploadService,
    private readonly config: GatewayConfig,
  ) {}

  async stage(caller: Call, id: string, upload: Upload): Promise<void> {
    try {
      await this.uploads.stage(caller, id, upload);
    } catch (error) {
      throw stagingRefusal(error);
    }
  }

  /** @throws ImsError IMG.0144 (404), IMG.0046 (409), IMG.0057 (400: an address that is not fetched from), IMG.0105 for stores */
  async import(caller: Call, id: string, { method, stores = [], all_stores }: ImportImageRequest): Promise<JobId> {
    // There is one store, and it is nobody's choice.
    if (stores.length > 0 || all_stores === true) throw new ImsError('IMG.0105', 'stores cannot be chosen');
    switch (method.name) {
      case 'glance-direct':
        if (method.uri !== undefined) throw new ImsError('IMG.0001', 'glance-direct has no uri');
        return this.uploads.importStaged(caller, id).catch((error: unknown) => {
          throw stagingRefusal(error);
        });
      case 'web-download':
        if (method.uri === undefined) throw new ImsError('IMG.0001', 'web-download needs method.uri');
        return this.jobs.accept(caller, id, { by: 'web', uri: this.config.webRules.checkUri(method.uri).href });
      default:
        return method.name satisfies never;
    }
  }
}
