import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Principal } from '@ims/access';
import {
  type CatalogAnswer,
  catalogAnswer,
  type DomainList,
  domainList,
  type ListProjectsQuery,
  listProjectsQuery,
  type ProjectDocument,
  type ProjectList,
  projectList,
  type RegionList,
  regionList,
} from '@ims/contract';
import { AccountCaller, ForAccount, Public } from '../access/permits';
import { Documents } from '../http/documents';
import { IdentityService } from './identity.service';

@ApiTags('identity')
@Controller('v3')
export class IdentityController {
  constructor(private readonly service: IdentityService) {}

  @Get()
  @Public()
  @Documents({
    operation: 'KeystoneShowVersion',
    summary: 'Version of the identity API',
    since: 'v3',
    produces: 'application/json',
  })
  version(): object {
    return this.service.version();
  }

  @Get('projects')
  @ForAccount()
  @Documents({
    operation: 'KeystoneListProjects',
    summary: 'Projects of the account',
    since: 'v3',
    answer: projectList,
  })
  projects(
    @AccountCaller() caller: Principal,
    @Query({ schema: listProjectsQuery }) query: ListProjectsQuery,
  ): Promise<ProjectList> {
    return this.service.projects(caller, query);
  }

  @Get('projects/:id')
  @ForAccount()
  @Documents({
    operation: 'KeystoneShowProject',
    summary: 'One project of the account',
    since: 'v3',
    produces: 'application/json',
  })
  project(@AccountCaller() caller: Principal, @Param('id') id: string): Promise<{ project: ProjectDocument }> {
    return this.service.project(caller, id);
  }

  @Get('auth/projects')
  @ForAccount()
  @Documents({
    operation: 'KeystoneListAuthProjects',
    summary: 'Projects the caller can use',
    since: 'v3',
    answer: projectList,
  })
  ownProjects(@AccountCaller() caller: Principal): Promise<ProjectList> {
    return this.service.ownProjects(caller);
  }

  @Get('auth/domains')
  @ForAccount()
  @Documents({
    operation: 'KeystoneListAuthDomains',
    summary: 'Accounts the caller can use',
    since: 'v3',
    answer: domainList,
  })
  domains(@AccountCaller() caller: Principal): Promise<DomainList> {
    return this.service.domains(caller);
  }

  @Get('auth/catalog')
  @ForAccount()
  @Documents({
    operation: 'KeystoneShowCatalog',
    summary: 'Services and their addresses',
    since: 'v3',
    answer: catalogAnswer,
  })
  catalog(): CatalogAnswer {
    return this.service.catalog();
  }

  @Get('regions')
  @ForAccount()
  @Documents({ operation: 'KeystoneListRegions', summary: 'Regions', since: 'v3', answer: regionList })
  regions(): RegionList {
    return this.service.regions();
  }

  @Get('regions/:id')
  @ForAccount()
  @Documents({ operation: 'KeystoneShowRegion', summary: 'One region', since: 'v3', produces: 'application/json' })
  region(@Param('id') id: string): { region: RegionList['regions'][number] } {
    return this.service.region(id);
  }
}
