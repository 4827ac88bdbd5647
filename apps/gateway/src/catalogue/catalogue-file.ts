import { readFile } from 'node:fs/promises';
import { type CatalogueDocument, catalogueDocument } from '@ims/contract';
import { parse } from 'yaml';
import type { z } from 'zod';

/** The catalogue cannot be used: which entry is wrong, and what about it. */
export class CatalogueFileError extends Error {
  override readonly name = 'CatalogueFileError';
}

/**
 * The catalogue in a text of YAML or JSON.
 *
 * @param origin name of the file, for messages
 * @throws CatalogueFileError
 */
export function parseCatalogue(text: string, origin: string): CatalogueDocument {
  let document: unknown;
  try {
    // A few aliases are a convenience, thousands are a bomb.
    document = parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw new CatalogueFileError(`catalogue ${origin}: it is no YAML: ${error instanceof Error ? error.message : ''}`);
  }
  const parsed = catalogueDocument.safeParse(document);
  if (parsed.success) return parsed.data;
  throw new CatalogueFileError(`catalogue ${origin}: ${complaintsOf(parsed.error).join('; ')}`);
}

/** Each by its place in the file; the codes in front of them are for callers of the API. */
const complaintsOf = (error: z.ZodError): string[] =>
  error.issues.map(({ path, message }) => `${path.join('.') || 'it'}: ${message.replace(/^IMG\.\d+: /, '')}`);

/** @throws CatalogueFileError also when the file cannot be read */
export async function readCatalogue(path: string): Promise<CatalogueDocument> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new CatalogueFileError(`catalogue ${path}: it cannot be read: ${String(error)}`);
  });
  return parseCatalogue(text, path);
}
