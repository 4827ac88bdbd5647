/** A key of a hive to be written: subkeys, and values that are texts or numbers. */
export interface HiveKey {
  keys?: Readonly<Record<string, HiveKey>>;
  values?: Readonly<Record<string, string | number>>;
}

const NO_CELL = 0xffffffff;

/** Writes a registry hive (`regf` 1.5) as Windows lays it out: a head, one bin, keys (nk), their lists (lf), values (vk) and data. */
export function writeHive(root: HiveKey): Buffer {
  const cells: Buffer[] = [];
  let end = 32;
  const add = (content: Buffer): number => {
    const at = end;
    const length = Math.ceil((content.length + 4) / 8) * 8;
    const cell = Buffer.alloc(length);
    cell.writeInt32LE(-length, 0);
    content.copy(cell, 4);
    cells.push(cell);
    end += length;
    return at;
  };
  const addValue = (name: string, value: string | number): number => {
    const cell = Buffer.alloc(20 + name.length);
    cell.write('vk', 'latin1');
    cell.writeUInt16LE(name.length, 2);
    if (typeof value === 'number') {
      cell.writeUInt32LE(0x80000004, 4);
      cell.writeUInt32LE(value, 8);
    } else {
      const data = Buffer.from(`${value}\0`, 'utf16le');
      cell.writeUInt32LE(data.length, 4);
      cell.writeUInt32LE(add(data), 8);
    }
    cell.writeUInt32LE(typeof value === 'number' ? 4 : 1, 12);
    cell.writeUInt16LE(1, 16);
    cell.write(name, 20, 'latin1');
    return add(cell);
  };
  const addKey = (name: string, { keys = {}, values = {} }: HiveKey, isRoot: boolean): number => {
    const subkeys = Object.entries(keys).map(([each, key]) => ({ name: each, at: addKey(each, key, false) }));
    const list = Buffer.alloc(4 + subkeys.length * 8);
    list.write('lf', 'latin1');
    list.writeUInt16LE(subkeys.length, 2);
    for (const [k, each] of subkeys.entries()) {
      list.writeUInt32LE(each.at, 4 + k * 8);
      list.write(each.name.slice(0, 4), 8 + k * 8, 'latin1');
    }
    const listAt = subkeys.length === 0 ? NO_CELL : add(list);
    const valueAts = Object.entries(values).map(([each, value]) => addValue(each, value));
    const valueList = Buffer.alloc(valueAts.length * 4);
    for (const [k, at] of valueAts.entries()) valueList.writeUInt32LE(at, k * 4);
    const valuesAt = valueAts.length === 0 ? NO_CELL : add(valueList);
    const cell = Buffer.alloc(76 + name.length);
    cell.write('nk', 'latin1');
    cell.writeUInt16LE(isRoot ? 0x2c : 0x20, 2);
    cell.writeUInt32LE(subkeys.length, 20);
    cell.writeUInt32LE(listAt, 28);
    cell.writeUInt32LE(NO_CELL, 32);
    cell.writeUInt32LE(valueAts.length, 36);
    cell.writeUInt32LE(valuesAt, 40);
    cell.writeUInt32LE(NO_CELL, 44);
    cell.writeUInt32LE(NO_CELL, 48);
    cell.writeUInt16LE(name.length, 72);
    cell.write(name, 76, 'latin1');
    return add(cell);
  };
  const rootAt = addKey('ROOT', root, true);
  const binBytes = Math.ceil(end / 4096) * 4096;
  const bin = Buffer.alloc(32);
  bin.write('hbin', 'latin1');
  bin.writeUInt32LE(binBytes, 8);
  const free = Buffer.alloc(binBytes - end);
  if (free.length >= 4) free.writeInt32LE(free.length, 0);
  const head = Buffer.alloc(4096);
  head.write('regf', 'latin1');
  head.writeUInt32LE(1, 4);
  head.writeUInt32LE(1, 8);
  head.writeUInt32LE(1, 20);
  head.writeUInt32LE(5, 24);
  head.writeUInt32LE(1, 32);
  head.writeUInt32LE(rootAt, 36);
  head.writeUInt32LE(binBytes, 40);
  head.writeUInt32LE(1, 44);
  let sum = 0;
  for (let at = 0; at < 508; at += 4) sum ^= head.readInt32LE(at);
  head.writeInt32LE(sum, 508);
  return Buffer.concat([head, bin, ...cells, free]);
}
