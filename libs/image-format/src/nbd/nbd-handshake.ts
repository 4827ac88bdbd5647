import type { Socket } from 'node:net';
import { converterFailed } from '../refusal';
import type { ByteReader } from './byte-reader';
import * as nbd from './nbd-protocol';

// A server's option reply is a few dozen bytes; anything longer is not the server we started.
const MAX_OPTION_REPLY_BYTES = 4096;

interface OptionReply {
  type: number;
  data: Buffer;
}

/**
 * Fixed newstyle handshake of a client: structured replies, `base:allocation` and the default export. Gives the export's size and whether
 * the server tells about holes. Fails with `IMG.0061` when the peer is no such server.
 */
export async function shakeHands(
  socket: Socket,
  reader: ByteReader,
): Promise<{ sizeBytes: number; hasBlockStatus: boolean }> {
  const greeting = await reader.take(18);
  const isServer = greeting.subarray(0, 8).equals(nbd.INIT_MAGIC) && greeting.subarray(8, 16).equals(nbd.OPTION_MAGIC);
  if (!isServer || (greeting.readUInt16BE(16) & nbd.FLAG_FIXED_NEWSTYLE) === 0)
    throw converterFailed('the disk server speaks an unknown protocol');
  const clientFlags = Buffer.alloc(4);
  clientFlags.writeUInt32BE(nbd.FLAG_FIXED_NEWSTYLE | nbd.FLAG_NO_ZEROES);
  socket.write(clientFlags);

  sendOption(socket, nbd.OPTION.structuredReply, Buffer.alloc(0));
  if ((await optionReply(reader)).type !== nbd.OPTION_REPLY.ack)
    throw converterFailed('the disk server has no structured replies');

  sendOption(socket, nbd.OPTION.setMetaContext, metaContext('base:allocation'));
  let hasBlockStatus = false;
  for (;;) {
    const reply = await optionReply(reader);
    if (reply.type === nbd.OPTION_REPLY.metaContext) hasBlockStatus = true;
    else if (reply.type === nbd.OPTION_REPLY.ack) break;
    else throw converterFailed('the disk server refused the question for holes');
  }

  // Empty export name, no further questions.
  sendOption(socket, nbd.OPTION.go, Buffer.alloc(6));
  let sizeBytes: number | undefined;
  for (;;) {
    const { type, data } = await optionReply(reader);
    if (type === nbd.OPTION_REPLY.ack) break;
    if (type !== nbd.OPTION_REPLY.info) throw converterFailed('the disk server refused its disk');
    if (data.length >= 12 && data.readUInt16BE(0) === nbd.INFO_EXPORT) sizeBytes = Number(data.readBigUInt64BE(2));
  }
  if (sizeBytes === undefined) throw converterFailed('the disk server did not tell its size');
  return { sizeBytes, hasBlockStatus };
}

function sendOption(socket: Socket, option: number, data: Buffer): void {
  const head = Buffer.alloc(16);
  nbd.OPTION_MAGIC.copy(head);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(data.length, 12);
  socket.write(Buffer.concat([head, data]));
}

async function optionReply(reader: ByteReader): Promise<OptionReply> {
  const head = await reader.take(20);
  const length = head.readUInt32BE(16);
  if (head.readBigUInt64BE(0) !== nbd.OPTION_REPLY_MAGIC || length > MAX_OPTION_REPLY_BYTES)
    throw converterFailed('the disk server speaks an unknown protocol');
  return { type: head.readUInt32BE(12), data: await reader.take(length) };
}

function metaContext(query: string): Buffer {
  const data = Buffer.alloc(12 + query.length);
  // Length of the (empty) export name, number of queries, length of the query.
  data.writeUInt32BE(0, 0);
  data.writeUInt32BE(1, 4);
  data.writeUInt32BE(query.length, 8);
  data.write(query, 12, 'latin1');
  return data;
}
