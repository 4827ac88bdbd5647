import { UnreadableError } from './disk-view';

/** Bytes of a hive, wherever it lies. */
export interface HiveBytes {
  readonly sizeBytes: number;
  bytes(offset: number, length: number): Promise<Buffer>;
}

/** Cells are counted from behind the head of the file. */
const BINS_OFFSET = 4096;
const NO_CELL = 0xffffffff;
/** What a look at a few keys needs at most; lists of keys and values are larger than the keys. */
const CELL_BYTES = 64 * 1024;
/** Subkeys that are looked through in one key; SOFTWARE has some thousand classes, but those are not on our way. */
const SUBKEY_LIMIT = 4096;
const VALUE_LIMIT = 1024;
/** Lists of lists are one deep in every hive. */
const LIST_DEPTH = 2;
const REG_SZ = 1;
const REG_EXPAND_SZ = 2;
const REG_DWORD = 4;
const NAME_IS_LATIN = { key: 0x20, value: 0x1 };
const DATA_IN_CELL = 0x80000000;

/**
 * A read-only look into a registry hive of Windows (`regf`): values of keys by their path. A hive that was not closed is read as it lies there; its
 * log is not replayed. Every number is checked before it is used. Throws `UnreadableError`.
 *
 * @example (await RegistryHive.open(file)).values('Microsoft/Windows NT/CurrentVersion', ['ProductName'])
 */
export class RegistryHive {
  private constructor(
    private readonly file: HiveBytes,
    private readonly root: number,
    /** The two counters of its head differ: it was not closed, and the last changes may be missing. */
    readonly isDirty: boolean,
  ) {}

  static async open(file: HiveBytes): Promise<RegistryHive> {
    if (file.sizeBytes < BINS_OFFSET + 32) throw new UnreadableError('registry: the hive is cut short');
    const head = await file.bytes(0, 512);
    if (head.toString('latin1', 0, 4) !== 'regf') throw new UnreadableError('registry: this is no hive');
    return new RegistryHive(file, head.readUInt32LE(36), head.readUInt32LE(4) !== head.readUInt32LE(8));
  }

  /** Texts and numbers among the wanted values of a key, by their names as asked for; empty when there is no such key. */
  async values(path: string, wanted: readonly string[]): Promise<Map<string, string>> {
    const values = new Map<string, string>();
    let key = await this.cell(this.root, 'nk');
    for (const name of path.split('/')) {
      const next = await this.subkey(key.readUInt32LE(28), key.readUInt32LE(20), name, 0);
      if (next === undefined) return values;
      key = next;
    }
    const count = key.readUInt32LE(36);
    const listAt = key.readUInt32LE(40);
    if (count === 0 || listAt === NO_CELL) return values;
    if (count > VALUE_LIMIT) throw new UnreadableError(`registry: a key with ${count} values`);
    const list = await this.cell(listAt);
    for (let k = 0; k < count && k * 4 + 4 <= list.length; k++) {
      const value = await this.cell(list.readUInt32LE(k * 4), 'vk');
      const nameOf = nameIn(value, 20, value.readUInt16LE(2), (value.readUInt16LE(16) & NAME_IS_LATIN.value) !== 0);
      const name = wanted.find((each) => each.toLowerCase() === nameOf.toLowerCase());
      const text = name === undefined ? undefined : await this.text(value);
      if (name !== undefined && text !== undefined) values.set(name, text);
    }
    return values;
  }

  private async text(value: Buffer): Promise<string | undefined> {
    const size = value.readUInt32LE(4);
    const type = value.readUInt32LE(12);
    const length = size & ~DATA_IN_CELL;
    // Up to four bytes stand in place of the address.
    const data =
      (size & DATA_IN_CELL) !== 0
        ? value.subarray(8, 8 + Math.min(length, 4))
        : (await this.cell(value.readUInt32LE(8))).subarray(0, length);
    if (type === REG_DWORD && data.length >= 4) return String(data.readUInt32LE(0));
    if (type !== REG_SZ && type !== REG_EXPAND_SZ) return undefined;
    return data.toString('utf16le', 0, data.length & ~1).replace(/\0.*$/s, '');
  }

  private async subkey(listAt: number, count: number, name: string, depth: number): Promise<Buffer | undefined> {
    if (count === 0 || listAt === NO_CELL) return undefined;
    if (depth > LIST_DEPTH) throw new UnreadableError('registry: lists of lists do not end');
    const list = await this.cell(listAt);
    const kind = list.toString('latin1', 0, 2);
    const entries = Math.min(list.readUInt16LE(2), SUBKEY_LIMIT);
    const step = kind === 'lf' || kind === 'lh' ? 8 : kind === 'li' || kind === 'ri' ? 4 : 0;
    if (step === 0) throw new UnreadableError('registry: a list of keys is damaged');
    for (let k = 0; k < entries && 4 + k * step + 4 <= list.length; k++) {
      const at = list.readUInt32LE(4 + k * step);
      if (kind === 'ri') {
        const found = await this.subkey(at, SUBKEY_LIMIT, name, depth + 1);
        if (found !== undefined) return found;
        continue;
      }
      const key = await this.cell(at, 'nk');
      const isLatin = (key.readUInt16LE(2) & NAME_IS_LATIN.key) !== 0;
      if (nameIn(key, 76, key.readUInt16LE(72), isLatin).toLowerCase() === name.toLowerCase()) return key;
    }
    return undefined;
  }

  /** What a cell holds; cells in use have a negative length before it. */
  private async cell(at: number, kind?: 'nk' | 'vk'): Promise<Buffer> {
    if (BINS_OFFSET + at + 4 > this.file.sizeBytes) throw new UnreadableError('registry: a cell lies outside the hive');
    const length = -(await this.file.bytes(BINS_OFFSET + at, 4)).readInt32LE(0) - 4;
    const least = kind === 'nk' ? 76 : kind === 'vk' ? 20 : 4;
    if (length < least || BINS_OFFSET + at + 4 + length > this.file.sizeBytes)
      throw new UnreadableError('registry: a cell is damaged');
    const cell = await this.file.bytes(BINS_OFFSET + at + 4, Math.min(length, CELL_BYTES));
    if (kind !== undefined && cell.toString('latin1', 0, 2) !== kind)
      throw new UnreadableError(`registry: no ${kind} where one should be`);
    return cell;
  }
}

function nameIn(cell: Buffer, at: number, length: number, isLatin: boolean): string {
  if (at + length > cell.length) throw new UnreadableError('registry: a name is damaged');
  return cell.toString(isLatin ? 'latin1' : 'utf16le', at, at + length);
}
