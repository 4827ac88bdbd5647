// Numbers of the NBD protocol (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md), only those a client or a server of ours needs.
export const INIT_MAGIC = Buffer.from('NBDMAGIC', 'latin1');
export const OPTION_MAGIC = Buffer.from('IHAVEOPT', 'latin1');
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const FLAG_FIXED_NEWSTYLE = 1;
export const FLAG_NO_ZEROES = 2;

export const EXPORT_FLAG = {
  hasFlags: 1 << 0,
  readOnly: 1 << 1,
  sendFlush: 1 << 2,
  sendFua: 1 << 3,
  sendTrim: 1 << 5,
  sendWriteZeroes: 1 << 6,
  canMultiConn: 1 << 8,
} as const;

export const OPTION = {
  exportName: 1,
  abort: 2,
  list: 3,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const OPTION_REPLY = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errorUnsupported: 0x80000001,
  errorInvalid: 0x80000003,
  errorUnknown: 0x80000006,
} as const;

export const INFO_EXPORT = 0;

export const COMMAND = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  writeZeroes: 6,
  blockStatus: 7,
} as const;
export const COMMAND_FLAG_FUA = 1;
export const COMMAND_FLAG_REQUEST_ONE = 8;

/** Types of structured reply chunks; `error` is the plainest of those with `errorBit`. */
export const CHUNK = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  errorBit: 0x8000,
  error: 0x8001,
} as const;
export const CHUNK_DONE = 1;

export const ALLOCATION_CONTEXT = 'base:allocation';
/** Any number does: there is one context only. */
export const ALLOCATION_CONTEXT_ID = 1;
/** Block status flag: reads as zeros. */
export const STATUS_ZERO = 2;
/** NBD_STATE_HOLE and NBD_STATE_ZERO. */
export const STATUS_HOLE_AND_ZERO = 3;

export const ERROR = { permission: 1, io: 5, invalid: 22, noSpace: 28 } as const;
export const REQUEST_BYTES = 28;
export const STRUCTURED_REPLY_BYTES = 20;
