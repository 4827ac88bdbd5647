import type { ImageV1 } from '@ims/contract';
import type { SeenImage } from '@ims/db';
import { attributesOf, coreOf } from './image.wire';

/** Times of the old API have no zone and, as it always printed them, fractions of a second. */
const v1Time = (time: string): string => time.replace(/Z$/, '.000000');

/** An image as the old API shows it: what is no field of its own is a property (ims-api 3.3). */
export function toImageV1(row: SeenImage): ImageV1 {
  const core = coreOf(row);
  return {
    id: core.id,
    name: core.name,
    status: core.status,
    disk_format: core.disk_format,
    container_format: core.container_format,
    size: row.file_bytes ?? 0,
    virtual_size: core.virtual_size,
    checksum: row.md5,
    min_disk: core.min_disk,
    min_ram: core.min_ram,
    owner: core.owner,
    protected: core.protected,
    is_public: core.visibility === 'public',
    deleted: false,
    deleted_at: null,
    created_at: v1Time(core.created_at),
    updated_at: v1Time(core.updated_at),
    properties: { ...attributesOf(row), __imagetype: core.__imagetype, __image_size: core.__image_size },
  };
}

// Names of headers are tokens (RFC 9110 5.6.2); a property of another name cannot be told in one.
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** UTF-8 in a header, byte by byte as the old API sent it; what would end the line is a blank. */
const headerText = (value: string | number | boolean): string =>
  Buffer.from(String(value).replaceAll(/\p{Cc}/gu, ' '), 'utf8').toString('latin1');

/** The same in the headers of an answer without a body: `x-image-meta-*`, and `x-image-meta-property-*`. */
export function headersOfImage(image: ImageV1): Record<string, string> {
  const { properties, ...fields } = image;
  const all = [
    ...Object.entries(fields).map(([name, value]) => [`x-image-meta-${name}`, value] as const),
    ...Object.entries(properties).map(([name, value]) => [`x-image-meta-property-${name}`, value] as const),
  ];
  return Object.fromEntries(
    all.flatMap(([name, value]) => (TOKEN.test(name) && value !== null ? [[name, headerText(value)]] : [])),
  );
}
