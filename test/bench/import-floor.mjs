// What an import costs at the least: each needed step alone, on one core, over the same disk. Prints core-seconds as JSON.
//   node test/bench/import-floor.mjs DISK.raw SCRATCH_FILE
import { hash } from 'node:crypto';
import { closeSync, fdatasyncSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { crc32 } from 'node:zlib';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// The product's own frame coder, because it is the fastest way to the same bytes: a floor made of slower calls would flatter.
const frames = createRequire(import.meta.url)(
  join(dirname(fileURLToPath(import.meta.url)), '../../libs/image-store/dist/layout/frame.js'),
);

const [, , disk, scratch] = process.argv;
const SEGMENT = 2 * 2 ** 20;
const FRAME = 256 * 1024;
const LEAF = 16 * 1024;
const zeros = Buffer.alloc(SEGMENT);
const spent = { read: 0, hash: 0, compress: 0, checksum: 0, write: 0, readBack: 0, decompress: 0, hashAgain: 0 };

// A step is synchronous and alone on its thread, so its time is its CPU time on a quiet machine.
function timed(step, work) {
  const began = process.hrtime.bigint();
  const result = work();
  spent[step] += Number(process.hrtime.bigint() - began) / 1e9;
  return result;
}
function hashLeaves(bytes) {
  for (let at = 0; at < SEGMENT; at += LEAF) hash('sha256', bytes.subarray(at, at + LEAF), 'buffer');
}

const size = statSync(disk).size;
const input = openSync(disk, 'r');
const output = openSync(scratch, 'w+');
const buffer = Buffer.allocUnsafeSlow(SEGMENT);
const room = Buffer.allocUnsafeSlow(SEGMENT + 2 ** 17);
const back = Buffer.allocUnsafeSlow(SEGMENT);
let dataBytes = 0;
let storedBytes = 0;
for (let at = 0; at < size; at += SEGMENT) {
  const isData = timed('read', () => {
    buffer.fill(0, readSync(input, buffer, 0, SEGMENT, at));
    return !buffer.equals(zeros);
  });
  if (!isData) continue;
  dataBytes += SEGMENT;
  timed('hash', () => hashLeaves(buffer));
  const stored = timed('compress', () => frames.compressSegment(buffer, room));
  // Packs carry a checksum of every frame: made when it is written, compared when it is read back.
  const sums = timed('checksum', () => stored.map((frame) => crc32(frame)));
  const start = storedBytes;
  timed('write', () => {
    for (const frame of stored) {
      writeSync(output, frame, 0, frame.length, storedBytes);
      storedBytes += frame.length;
    }
  });
  let from = start;
  timed('readBack', () => {
    for (const frame of stored) {
      readSync(output, frame, 0, frame.length, from);
      from += frame.length;
    }
  });
  timed('checksum', () => {
    for (const [i, frame] of stored.entries())
      if (crc32(frame) !== sums[i]) throw new Error(`frame ${i} came back otherwise`);
  });
  timed('decompress', () => {
    for (const [i, frame] of stored.entries()) frames.decompressFrame(frame, 'floor', back.subarray(i * FRAME));
  });
  timed('hashAgain', () => hashLeaves(back));
}
timed('write', () => fdatasyncSync(output));
closeSync(input);
closeSync(output);
console.log(JSON.stringify({ dataBytes, storedBytes, spent }));
