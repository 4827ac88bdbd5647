export { createStagedFiles } from './create-staged-files';
export { sweepUploads, type SweepOptions } from './sweep-uploads';
export type { DirectoryStagingOptions } from './directory-staged-files';
export { Digests } from './digests';
export type { AppendOptions, NewStagedFile, StagedDigests, StagedFile, StagedFiles } from './staging.port';
export {
  StagedFileBusyError,
  StagedFileExistsError,
  StagedFileMissingError,
  StagedOffsetError,
  StagingFullError,
} from './staging.errors';
export { blockListOf, isPublicAddress } from './web/web-address';
export { downloadFromWeb, type WebDownload, type WebDownloadOptions } from './web/web-download';
export { openWebFile, type WebClientOptions, type WebFile, type WebRequest, WebTroubleError } from './web/web-file';
export { DEFAULT_WEB_SETTINGS, WebRules, webRulesOf, type WebSettings } from './web/web-rules';
