export { createStagedFiles } from './create-staged-files';
export type { DirectoryStagingOptions } from './directory-staged-files';
export type { AppendOptions, FileDigests, NewStagedFile, StagedFile, StagedFiles } from './staging.port';
export {
  StagedFileBusyError,
  StagedFileExistsError,
  StagedFileMissingError,
  StagedOffsetError,
  StagingFullError,
} from './staging.errors';
