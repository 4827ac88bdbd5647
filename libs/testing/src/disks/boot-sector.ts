const SECTOR_BYTES = 512;
/** Where the packet in every boot sector points: a sector that `after` may write to by int 13h. */
export const COUNTER_SECTOR = 8;

// hlt; jmp back
export const HALT = [0xf4, 0xeb, 0xfd];

/**
 * The smallest system there is, for BIOS: prints `text` on the first serial port by polling its line status, then does `after` (machine code).
 *
 * @example await writeFile(path, Buffer.concat([bootSector('IMS-BOOT-OK'), Buffer.alloc(2 ** 20)]));
 */
export function bootSector(text: string, after: readonly number[] = HALT): Buffer {
  const code = Buffer.from([
    // cli; xor ax,ax; mov ds,ax; mov es,ax; mov ss,ax; mov sp,0x7c00
    ...[0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c],
    // mov si, text (patched below); next: lodsb; test al,al; jz done; mov ah,al
    ...[0xbe, 0x00, 0x00, 0xac, 0x84, 0xc0, 0x74, 0x12, 0x88, 0xc4],
    // mov dx,0x3fd; wait: in al,dx; test al,0x20; jz wait; mov al,ah; mov dx,0x3f8; out dx,al; jmp next
    ...[0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb, 0x88, 0xe0, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xe9],
    ...after,
  ]);
  const sector = Buffer.alloc(SECTOR_BYTES);
  code.copy(sector);
  sector.writeUInt16LE(0x7c00 + code.length, 13);
  sector.write(`${text}\r\n`, code.length, 'latin1');
  // An LBA packet for int 13h: one sector from 0x8000 to sector COUNTER_SECTOR.
  sector.set([0x10, 0, 1, 0, 0x00, 0x80, 0, 0, COUNTER_SECTOR, 0, 0, 0, 0, 0, 0, 0], 0x180);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}
