import type { Agency } from '@ims/domain';
import { z } from 'zod';

/** Another region: where its gateway is, and the secret that only the two of them share. */
export interface PeerAddress {
  url: string;
  secret: string;
}

const REGION = /^[a-z0-9][a-z0-9-]{0,62}$/;

const peersSchema = z.record(
  z.string().regex(REGION, 'a region has lower-case letters, digits and hyphens'),
  z.object({
    url: z.url({ protocol: /^https?$/ }).transform((text) => text.replace(/\/+$/, '')),
    // 128 bits as hex: a secret that can be guessed opens every image that is being sent.
    secret: z.string().min(32, 'a secret has at least 32 characters'),
  }),
);

/**
 * `IMS_PEERS`: JSON of `{"<region>": {"url": "https://…", "secret": "…"}}`. Both gateways of a pair have the same secret.
 *
 * @throws Error that says what is wrong, never a value
 */
export function parsePeers(text: string | undefined): ReadonlyMap<string, PeerAddress> {
  return new Map(Object.entries(parsed('IMS_PEERS', peersSchema, text)));
}

const agenciesSchema = z.record(z.string().min(1).max(64), z.array(z.string()).min(1));

/** The agency that the documented examples name, for all regions. */
export const DEFAULT_AGENCIES = '{"ims_copy_agency":["*"]}';

/**
 * `IMS_AGENCIES`: JSON of `{"<agency>": ["<region>", …]}`, `"*"` meaning all regions. They hold for every account of the installation.
 *
 * @throws Error that says what is wrong, never a value
 */
export function parseAgencies(text: string | undefined): Agency[] {
  const agencies = parsed('IMS_AGENCIES', agenciesSchema, text === '' ? undefined : (text ?? DEFAULT_AGENCIES));
  return Object.entries(agencies).map(([name, regions]) => ({ name, regions }));
}

function parsed<T>(name: string, schema: z.ZodType<Record<string, T>>, text: string | undefined): Record<string, T> {
  if (text === undefined || text === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's message quotes the text, which holds secrets.
    throw new Error(`${name}: is not JSON`);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const complaints = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new Error(`${name}: ${complaints.join('; ')}`);
}
