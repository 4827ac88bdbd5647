import type { LoggerService } from '@nestjs/common';
import { pino, type Logger } from 'pino';

/** Fields that carry secrets wherever they turn up; their values never reach the log. */
export const REDACTED = [
  'authorization',
  '*.authorization',
  '*["x-auth-token"]',
  '*["x-subject-token"]',
  '*["x-security-token"]',
  '*.password',
  '*.secret',
  '*.rootKey',
  '*.databaseUrl',
] as const;

/** JSON lines on standard output; `request_id` and `job_id` tie them to answers and jobs. */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: { service: 'gateway' },
    messageKey: 'message',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: [...REDACTED], censor: '[redacted]' },
  });
}

/** The framework's own messages as lines of our log. */
export class FrameworkLogger implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown, ...context: unknown[]): void {
    this.logger.debug({ context: context.at(-1) }, String(message));
  }

  error(message: unknown, ...context: unknown[]): void {
    this.logger.error({ context: context.at(-1) }, String(message));
  }

  warn(message: unknown, ...context: unknown[]): void {
    this.logger.warn({ context: context.at(-1) }, String(message));
  }

  debug(message: unknown, ...context: unknown[]): void {
    this.logger.trace({ context: context.at(-1) }, String(message));
  }

  verbose(message: unknown, ...context: unknown[]): void {
    this.logger.trace({ context: context.at(-1) }, String(message));
  }
}
