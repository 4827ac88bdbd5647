import * as nbdProtocol from './nbd/nbd-protocol';

export type { DiskDescriptor, DiskReader, Extent, Inspection, OwnReader } from './disk-reader';
export { checkMinDisk, type DiskKind, inspect, type InspectOptions } from './inspect/inspect';
export { nbdProtocol };
export { NbdReader } from './nbd/nbd.reader';
export { type QemuFormat, type QemuNbd, type QemuNbdRequest, type Sandbox, startQemuNbd } from './nbd/qemu-nbd';
export { openDisk, openReader } from './open-disk';
export { identifyOs } from './os';
export { openInspected, type OpenedDisk, prepareDisk, type PreparedDisk, type PrepareOptions } from './prepare-disk';
export {
  type DiskBytes,
  diskBytesOf,
  type PositionedFile,
  STREAM_START,
  type StreamChunk,
  type StreamedFile,
  type StreamMark,
  streamVmdk,
  streamZvhd,
  writeQcow2,
  writeVhd,
} from './writers';
export {
  assembleZvhd2,
  inspectZvhd,
  inspectZvhd2,
  openZvhd,
  openZvhd2,
  writeZvhd,
  writeZvhd2,
  zvhd2Identity,
  zvhd2Layout,
  type Zvhd2Identity,
  type Zvhd2Layout,
} from './zvhd';
