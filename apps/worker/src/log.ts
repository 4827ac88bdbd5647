import { DefaultLogger, type LogEntry, type LogLevel } from '@temporalio/worker';
import { pino, type Logger } from 'pino';

export function createLog(level: string): Logger {
  return pino({
    level,
    base: { service: 'worker', pid: process.pid },
    redact: ['*.secret', '*.secretAccessKey', '*.password', '*.token', 'databaseUrl'],
  });
}

const LEVELS: Record<LogLevel, 'trace' | 'debug' | 'info' | 'warn' | 'error'> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
};

/** The engine SDK's own log lines, as lines of ours. */
export const engineLogger = (log: Logger): DefaultLogger =>
  new DefaultLogger('INFO', (entry: LogEntry) =>
    log[LEVELS[entry.level]]({ ...entry.meta, from: 'temporal' }, entry.message),
  );
