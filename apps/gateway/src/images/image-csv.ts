import { Readable } from 'node:stream';
import type { ImageRow } from '@ims/db';
import { isEncrypted } from '@ims/domain';
import { imageTime } from '../http/wire-time';
import { attributesOf } from './image.wire';

/** The two lists that can be taken away as files (ims-api 18.2). */
export type CsvList = 'public' | 'private';

/** A row, and its attributes, which are looked at once for all columns. */
interface Listed {
  row: ImageRow;
  attributes: Readonly<Record<string, string>>;
}

type Column = readonly [title: string, cell: (image: Listed) => string];

const KINDS: Readonly<Record<string, string>> = {
  FusionCompute: 'ECS system disk image',
  Ironic: 'BMS system disk image',
  DataImage: 'Data disk image',
  IsoImage: 'ISO image',
};

function kindOf({ attributes }: Listed): string {
  if (attributes['__whole_image'] === 'true') return 'Full-ECS image';
  const type = attributes['virtual_env_type'] ?? 'FusionCompute';
  return KINDS[type] ?? type;
}

const NAME: Column = ['Name', ({ row }) => row.name];
const STATUS: Column = ['Status', ({ row }) => row.status];
const OS: Column = ['OS', ({ attributes }) => attributes['__os_version'] ?? ''];
const TYPE: Column = ['Image Type', kindOf];
const CREATED: Column = ['Created', ({ row }) => imageTime(row.created_at)];
const MEMORY: Column = ['Minimum Memory (MB)', ({ row }) => String(row.min_ram_mib)];
const diskAs = (title: string): Column => [title, ({ row }) => String(row.min_disk_gib)];

/** Columns of ims-api 18.2, in its order. */
const COLUMNS: Readonly<Record<CsvList, readonly Column[]>> = {
  public: [NAME, STATUS, OS, TYPE, CREATED, diskAs('System Disk (GB)'), MEMORY],
  private: [
    NAME,
    ['ID', ({ row }) => row.id],
    STATUS,
    OS,
    TYPE,
    CREATED,
    diskAs('Disk Capacity (GB)'),
    // Of an image nothing is known to say whether its disk was one for several servers.
    ['Shared Disk', () => ''],
    ['Image Size (Bytes)', ({ row }) => String(row.file_bytes ?? 0)],
    MEMORY,
    ['Encrypted', ({ attributes }) => (isEncrypted(attributes) ? 'Yes' : 'No')],
  ],
};

/**
 * A cell of a CSV file (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe before it (MGT-04): names are what others may have
 * given.
 */
export function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const csvLine = (cells: readonly string[]): string => `${cells.map(csvCell).join(',')}\r\n`;

/** `private-images-<region>-<time>.csv` (ims-api 18.2), the time in UTC. */
export const csvFileName = (list: CsvList, region: string, at: Date): string =>
  `${list}-images-${region}-${at.toISOString().slice(0, 19).replace(/\D/g, '')}.csv`;

/** The list as a file, a page at a time: no more than one page is held, however long the list is. */
export function csvFile(list: CsvList, pages: AsyncIterable<readonly ImageRow[]>): Readable {
  return Readable.from(linesOf(COLUMNS[list], pages), { objectMode: false });
}

async function* linesOf(columns: readonly Column[], pages: AsyncIterable<readonly ImageRow[]>): AsyncIterable<string> {
  yield csvLine(columns.map(([title]) => title));
  for await (const rows of pages) {
    const images = rows.map((row): Listed => ({ row, attributes: attributesOf(row) }));
    if (rows.length > 0) yield images.map((image) => csvLine(columns.map(([, cell]) => cell(image)))).join('');
  }
}
