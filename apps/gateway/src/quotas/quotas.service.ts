import { Injectable } from '@nestjs/common';
import type { QuotaAnswer } from '@ims/contract';
import { QuotaRepository } from '@ims/db';
import { DEFAULT_QUOTA } from '@ims/domain';
import type { Call } from '../access/permits';

// What a limit may be set to (sample of ims-api 11).
const MIN_QUOTA = 1;
const MAX_QUOTA = 1000;

/** What is left to a project (ims-api 11). Images in creation count: they hold their place from the moment they are accepted. */
@Injectable()
export class QuotasService {
  constructor(private readonly quotas: QuotaRepository) {}

  async show(caller: Call): Promise<QuotaAnswer> {
    const { used, reserved, limit } = await this.quotas.read(caller.projectId, 'image');
    return {
      quotas: {
        resources: [
          { type: 'image', used: used + reserved, quota: limit ?? DEFAULT_QUOTA.image, min: MIN_QUOTA, max: MAX_QUOTA },
        ],
      },
    };
  }
}
