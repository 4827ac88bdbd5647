export { type EmbeddedConfig, embeddedConfig } from './config';
export {
  cloneDatabase,
  databaseUrl,
  type DatabaseOptions,
  type DatabaseUrls,
  dropDatabase,
  provisionDatabase,
} from './database';
export { EmbeddedError, type EmbeddedErrorCode } from './embedded-error';
export { errorCode, errorMessage } from './error-code';
export { freePort, isPortFree } from './free-port';
export { openForServers, type PostgresOptions, type PostgresServer, postgresUrl, startPostgres } from './postgres';
export { commandLine, isProcessAlive, processStart } from './process-table';
export { PROCESS_MEMORY } from './process-memory';
export { type ProcessExit, ServerProcess, type ServerProcessOptions, type StopStage } from './server-process';
export { startTemporal, type TemporalOptions, type TemporalServer } from './temporal';
export { findTemporalBinary, installTemporalBinary, type TemporalBinary } from './temporal-binary';
export { StopWaiting, waitFor, type WaitOptions } from './wait-for';
