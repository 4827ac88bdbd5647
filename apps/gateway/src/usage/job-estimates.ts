import { Inject, Injectable } from '@nestjs/common';
import { estimate, type EstimatedJob, type RateCard } from '@ims/billing';
import type { EstimateDocument } from '@ims/contract';
import type { Clock } from '@ims/db';
import { GatewayConfig } from '../config';
import { CLOCK, RATE_CARD } from '../http/injection-tokens';

/** What jobs would cost by the rate card of this installation; without a card, the quantities alone. */
@Injectable()
export class JobEstimates {
  constructor(
    private readonly config: GatewayConfig,
    @Inject(RATE_CARD) private readonly card: RateCard | undefined,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  estimate(job: EstimatedJob): EstimateDocument {
    const found = estimate(job, { region: this.config.region, card: this.card, at: this.clock.now() });
    return {
      lines: found.lines.map(({ chargedBy, unitPrice, ...line }) => ({
        ...line,
        charged_by: chargedBy,
        unit_price: unitPrice,
      })),
      total: found.total === null ? null : { once: found.total.once, per_hour: found.total.perHour },
      currency: found.currency,
      is_complete: found.isComplete,
    };
  }
}
