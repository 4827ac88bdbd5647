// Numbers of the NBD protocol (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md), only those in use here.
export const INIT_MAGIC = Buffer.from('NBDMAGIC', 'latin1');
export const OPTION_MAGIC = Buffer.from('IHAVEOPT', 'latin1');
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const FLAG_FIXED_NEWSTYLE = 1;
export const FLAG_NO_ZEROES = 2;
export const EXPORT_HAS_FLAGS = 1;
export const EXPORT_READ_ONLY = 2;

export const OPTION = {
  exportName: 1,
  abort: 2,
  info: 6,
  go: 7,
  structuredReply: 8,
  setMetaContext: 10,
} as const;

export const OPTION_REPLY = {
  ack: 1,
  info: 3,
  metaContext: 4,
  errorUnsupported: 0x80000001,
  errorInvalid: 0x80000003,
} as const;
export const INFO_EXPORT = 0;

export const COMMAND = { read: 0, disconnect: 2, blockStatus: 7 } as const;

export const CHUNK = { none: 0, offsetData: 1, offsetHole: 2, blockStatus: 5, errorBit: 0x8000 } as const;
export const CHUNK_DONE = 1;
/** Block status flag: reads as zeros. */
export const STATUS_ZERO = 2;

export const ERROR = { permission: 1, io: 5, invalid: 22 } as const;

export const REQUEST_BYTES = 28;
export const STRUCTURED_REPLY_BYTES = 20;
