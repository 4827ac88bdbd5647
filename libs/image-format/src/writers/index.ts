export { type ByteRange, type DiskBytes, diskBytesOf } from './disk-bytes';
export type { PositionedFile } from './positioned-file';
export { writeQcow2 } from './qcow2.writer';
export { STREAM_START, type StreamChunk, type StreamedFile, type StreamMark } from './streamed-file';
export { writeVhd } from './vhd.writer';
export { streamVmdk } from './vmdk.stream';
export { streamZvhd } from './zvhd.stream';
