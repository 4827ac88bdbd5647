import { Injectable } from '@nestjs/common';
import type { Principal } from '@ims/access';
import {
  type CatalogAnswer,
  type DomainList,
  ImsError,
  type ListProjectsQuery,
  type ProjectDocument,
  type ProjectList,
  type RegionList,
} from '@ims/contract';
import { GatewayConfig } from '../config';
import { IdentityRepository } from './identity.repository';
import { catalogOf, pageLinks, toDomainList, toProjectDocument } from './identity.wire';

// Largest page that may be asked for, and the one served without asking (iam 3).
const MAX_PER_PAGE = 5000;

const notFound = (what: string): ImsError => new ImsError('APIGW.0201', `The ${what} does not exist.`, 404);

/** Projects, domains, regions and the catalogue of the caller's account (iam 3). */
@Injectable()
export class IdentityService {
  constructor(
    private readonly identities: IdentityRepository,
    private readonly config: GatewayConfig,
  ) {}

  version(): object {
    return {
      version: {
        id: 'v3.14',
        status: 'stable',
        // Day the newest part of the served contract was published.
        updated: '2020-04-07T00:00:00Z',
        links: [{ rel: 'self', href: `${this.config.publicUrl}/v3/` }],
        'media-types': [{ base: 'application/json', type: 'application/vnd.openstack.identity-v3+json' }],
      },
    };
  }

  /** The name is compared whole: clients take the only element as theirs and fail on a second one. */
  async projects(principal: Principal, query: ListProjectsQuery): Promise<ProjectList> {
    const { name, enabled, page = 1, per_page: perPage = MAX_PER_PAGE } = query;
    const isForeign = [query.domain_id, query.parent_id].some((id) => id !== undefined && id !== principal.accountId);
    const rows =
      isForeign || query.is_domain === 'true'
        ? []
        : await this.identities.projects(
            {
              accountId: principal.accountId,
              ...(name === undefined ? {} : { name }),
              ...(enabled === undefined ? {} : { isEnabled: enabled === 'true' }),
            },
            { page, perPage },
          );
    const search = new URLSearchParams(
      Object.entries(query).map(([key, value]): [string, string] => [key, String(value)]),
    ).toString();
    return {
      links: pageLinks(`${this.config.publicUrl}/v3/projects${search === '' ? '' : `?${search}`}`),
      projects: rows.map((row) => toProjectDocument(row, this.config)),
    };
  }

  async ownProjects(principal: Principal): Promise<ProjectList> {
    const list = await this.projects(principal, { enabled: 'true' });
    return { ...list, links: pageLinks(`${this.config.publicUrl}/v3/auth/projects`) };
  }

  async project(principal: Principal, id: string): Promise<{ project: ProjectDocument }> {
    const row = await this.identities.project({ accountId: principal.accountId, id });
    if (row === undefined) throw notFound('project');
    return { project: toProjectDocument(row, this.config) };
  }

  async domains(principal: Principal): Promise<DomainList> {
    const account = await this.identities.account(principal.accountId);
    if (account === undefined) throw notFound('account');
    return toDomainList(account, this.config);
  }

  catalog(): CatalogAnswer {
    return { catalog: catalogOf(this.config), links: { self: `${this.config.publicUrl}/v3/auth/catalog` } };
  }

  regions(): RegionList {
    const { region, publicUrl } = this.config;
    return {
      links: pageLinks(`${publicUrl}/v3/regions`),
      regions: [
        {
          id: region,
          type: 'public',
          description: '',
          parent_region_id: null,
          links: { self: `${publicUrl}/v3/regions/${region}` },
          locales: { 'en-us': region, 'zh-cn': region },
        },
      ],
    };
  }

  region(id: string): { region: RegionList['regions'][number] } {
    const region = this.regions().regions.find((known) => known.id === id);
    if (region === undefined) throw notFound('region');
    return { region };
  }
}
