import { createHash } from 'node:crypto';
import type { CatalogEntry, DomainList, ProjectDocument } from '@ims/contract';
import type { GatewayConfig } from '../config';
import type { AccountRow, ProjectRow } from './identity.repository';

type Addresses = Pick<GatewayConfig, 'publicUrl' | 'region'>;

/** Ids of catalogue entries must be the same on every gateway and after every start: they are derived from what they name. */
const stableId = (name: string): string => createHash('sha256').update(name).digest('hex').slice(0, 32);

/** What clients find services by: OpenStack's by type `image`, Keystone's by `identity`, the vendor's by name (iam 2.1). */
export function catalogOf({ publicUrl, region }: Addresses): CatalogEntry[] {
  const entry = (name: string, type: string, at: string, url: string): CatalogEntry => ({
    id: stableId(`${type}:${name}`),
    name,
    type,
    endpoints: [{ id: stableId(`${type}:${name}:${at}`), interface: 'public', region: at, region_id: at, url }],
  });
  return [
    entry('ims', 'image', region, publicUrl),
    entry('iam', 'iam', '*', `${publicUrl}/v3.0`),
    entry('keystone', 'identity', region, `${publicUrl}/v3`),
  ];
}

export const pageLinks = (self: string) => ({ self, previous: null, next: null });

export const toProjectDocument = (row: ProjectRow, { publicUrl }: Addresses): ProjectDocument => ({
  id: row.id,
  name: row.name,
  domain_id: row.account_id,
  parent_id: row.account_id,
  description: row.description,
  enabled: row.enabled,
  is_domain: false,
  links: { self: `${publicUrl}/v3/projects/${row.id}` },
});

export const toDomainList = (row: AccountRow, { publicUrl }: Addresses): DomainList => ({
  links: pageLinks(`${publicUrl}/v3/auth/domains`),
  domains: [
    {
      id: row.id,
      name: row.name,
      description: '',
      enabled: row.enabled,
      links: { self: `${publicUrl}/v3/domains/${row.id}` },
    },
  ],
});
