export { type Decimal, sum, times } from './decimal';
export { type Estimate, estimate, type EstimatedJob, type EstimateLine } from './estimate';
export { METER_SPECS, type MeterKind, type MeterSpec } from './meters';
export { priced, type PricedLine, type Pricing } from './pricing';
export { RateCard, RateCardError } from './rate-card';
export { focusHeader, focusRow, type Payer, type SdrRecord, sdrRecordOf } from './records';
export { type RecordedUsageEvent, type Usage, USAGE_EVENTS, usagesOf, type UsageEventType } from './usage-events';
export { eachLine, HOUR_MS, linesOf, quantityOf, type UsageLine, type UsageWindow } from './usage-lines';
