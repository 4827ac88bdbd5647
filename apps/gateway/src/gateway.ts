import 'reflect-metadata';
import { type DynamicModule, Module, type Provider, type Type } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE, NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import helmet from '@fastify/helmet';
import { Authenticator } from '@ims/access';
import { ImagesRepository, ImageTagsRepository, JobsRepository, QuotaRepository } from '@ims/db';
import { Kysely } from 'kysely';
import { AccessGuard } from './access/access.guard';
import type { GatewayParts } from './app-parts';
import { GatewayConfig } from './config';
import { BackupsController } from './backups/backups.controller';
import { BackupsService } from './backups/backups.service';
import { CatalogueController } from './catalogue/catalogue.controller';
import { CatalogueService } from './catalogue/catalogue.service';
import { EventsController } from './events/events.controller';
import { EventsService } from './events/events.service';
import { EventStreamService } from './events/event-stream.service';
import { HealthController } from './health/health.controller';
import { HealthService } from './health/health.service';
import { AnswerInterceptor } from './http/answer';
import { DryRunInterceptor } from './http/dry-run';
import { FailureFilter } from './http/failure.filter';
import {
  acceptBodies,
  createAdapter,
  endConnectionsWhenClosing,
  limitBodies,
  observeRequests,
  overlookExpectations,
} from './http/fastify-setup';
import {
  BUCKETS,
  CLOCK,
  CLOUD,
  IMAGE_STORE,
  JOBS,
  KEYS,
  LOGGER,
  PEERS,
  RATE_CARD,
  STAGED_FILES,
} from './http/injection-tokens';
import { RouteTable } from './http/route-table';
import { WirePipe } from './http/wire.pipe';
import { FrameworkLogger } from './logging/logger';
import { IdempotencyInterceptor } from './idempotency/idempotency.interceptor';
import { CloudImagesController } from './images/cloud-images.controller';
import { GlanceImagesController } from './images/glance-images.controller';
import { ImageChanges } from './images/image-changes';
import { ImageCopyService } from './images/image-copy.service';
import { ImageCsvController } from './images/image-csv.controller';
import { ImageCsvService } from './images/image-csv.service';
import { ImageCreateService } from './images/image-create.service';
import { ImageFileUploadService } from './images/image-file-upload.service';
import { ImageExportService } from './images/image-export.service';
import { ImageMetadataService } from './images/image-metadata.service';
import { ImageUploadService } from './images/image-upload.service';
import { ImageDeleteService } from './images/image-delete.service';
import { ImageFilesService } from './images/image-files.service';
import { OldImagesController } from './images/old-images.controller';
import { ImageSources } from './images/image-sources';
import { ImageReadsService } from './images/image-reads.service';
import { ImageLineageController } from './images/image-lineage.controller';
import { ImageLineageService } from './images/image-lineage.service';
import { GlanceImageActionsController, ImageStatesController } from './images/image-states.controller';
import { ImageStatesService } from './images/image-states.service';
import { RecycleBinController } from './images/recycle-bin.controller';
import { RecycleBinService } from './images/recycle-bin.service';
import { GlanceImageUpdateController, ImageUpdateController } from './images/image-update.controller';
import { ImageUpdateService } from './images/image-update.service';
import { EngineCalls } from './jobs/engine-calls';
import { JobAcceptance } from './jobs/job-acceptance';
import { JobEnds } from './jobs/job-ends';
import { JobCancelService } from './jobs/job-cancel.service';
import { JobsController } from './jobs/jobs.controller';
import { JobsService } from './jobs/jobs.service';
import { ImageKeys } from './keys/image-keys';
import { KeysController } from './keys/keys.controller';
import { KeysService } from './keys/keys.service';
import { OsVersionsController } from './os-versions/os-versions.controller';
import { MarketController } from './market/market.controller';
import { MarketService } from './market/market.service';
import { QuotasController } from './quotas/quotas.controller';
import { QuotasService } from './quotas/quotas.service';
import { SchemasController } from './schemas/schemas.controller';
import { IdentityController } from './tokens/identity.controller';
import { IdentityRepository } from './tokens/identity.repository';
import { IdentityService } from './tokens/identity.service';
import { RefusedCalls } from './traces/refused-calls';
import { TracesController } from './traces/traces.controller';
import { TracesService } from './traces/traces.service';
import { openPeerPort } from './replications/peer-port';
import { ReplicationsController } from './replications/replications.controller';
import { ReplicationsService } from './replications/replications.service';
import { GlanceTagsController, TagsController } from './tags/tags.controller';
import { TagsService } from './tags/tags.service';
import { TokensController } from './tokens/tokens.controller';
import { TokensService } from './tokens/tokens.service';
import { BareMetalServersController } from './servers/bare-metal-servers.controller';
import { CloudJobs } from './servers/cloud-jobs';
import { ServerChangesController } from './servers/server-changes.controller';
import { ServerJobsService } from './servers/server-jobs.service';
import { ServersController } from './servers/servers.controller';
import { ServersService } from './servers/servers.service';
import { ImageImportController } from './uploads/image-import.controller';
import { ImageImportService } from './uploads/image-import.service';
import { UploadsController } from './uploads/uploads.controller';
import { UploadsService } from './uploads/uploads.service';
import { BackupCharges } from './usage/backup-charges';
import { GlanceMembersController } from './members/glance-members.controller';
import { MembersController } from './members/members.controller';
import { MembersService } from './members/members.service';
import { JobEstimates } from './usage/job-estimates';
import { UsageController } from './usage/usage.controller';
import { UsageReads } from './usage/usage-reads';
import { UsageService } from './usage/usage.service';
import { VersionsController } from './versions/versions.controller';
import { VersionsService } from './versions/versions.service';
import { VolumesController } from './volumes/volumes.controller';
import { VolumesService } from './volumes/volumes.service';

export const CONTROLLERS: readonly Type[] = [
  BackupsController,
  CatalogueController,
  CloudImagesController,
  EventsController,
  GlanceImagesController,
  GlanceImageUpdateController,
  GlanceTagsController,
  GlanceMembersController,
  HealthController,
  IdentityController,
  ImageCsvController,
  ImageLineageController,
  ImageStatesController,
  GlanceImageActionsController,
  RecycleBinController,
  ImageUpdateController,
  JobsController,
  KeysController,
  MembersController,
  OsVersionsController,
  MarketController,
  OldImagesController,
  QuotasController,
  ReplicationsController,
  SchemasController,
  BareMetalServersController,
  ServerChangesController,
  ServersController,
  TagsController,
  TokensController,
  TracesController,
  ImageImportController,
  UploadsController,
  UsageController,
  VersionsController,
  VolumesController,
];

const SERVICES: readonly Provider[] = [
  BackupCharges,
  JobEstimates,
  UsageReads,
  UsageService,
  BackupsService,
  CatalogueService,
  EngineCalls,
  EventsService,
  EventStreamService,
  HealthService,
  IdentityRepository,
  IdentityService,
  ImageChanges,
  ImageCopyService,
  ImageCsvService,
  ImageCreateService,
  ImageDeleteService,
  ImageExportService,
  ImageFilesService,
  ImageFileUploadService,
  ImageMetadataService,
  ImageReadsService,
  ImageSources,
  ImageLineageService,
  ImageStatesService,
  RecycleBinService,
  ImageUpdateService,
  ImageUploadService,
  JobAcceptance,
  JobCancelService,
  JobEnds,
  JobsService,
  ImageKeys,
  KeysService,
  MarketService,
  MembersService,
  QuotasService,
  RefusedCalls,
  ReplicationsService,
  CloudJobs,
  ServerJobsService,
  ServersService,
  TagsService,
  TokensService,
  TracesService,
  ImageImportService,
  UploadsService,
  VersionsService,
  VolumesService,
];

const REPOSITORIES = [ImagesRepository, ImageTagsRepository, JobsRepository, QuotaRepository] as const;

@Module({})
class GatewayModule {
  static of(parts: GatewayParts, filter: FailureFilter): DynamicModule {
    return {
      module: GatewayModule,
      controllers: [...CONTROLLERS],
      providers: [
        ...SERVICES,
        ...REPOSITORIES.map((repository) => ({ provide: repository, useValue: new repository(parts.db) })),
        { provide: GatewayConfig, useValue: parts.config },
        { provide: Kysely, useValue: parts.db },
        { provide: Authenticator, useValue: parts.authenticator },
        { provide: IMAGE_STORE, useValue: parts.store },
        { provide: CLOUD, useValue: parts.cloud },
        { provide: STAGED_FILES, useValue: parts.staged },
        { provide: BUCKETS, useValue: parts.buckets },
        { provide: JOBS, useValue: parts.jobs },
        { provide: KEYS, useValue: parts.keys },
        { provide: PEERS, useValue: parts.peers },
        { provide: CLOCK, useValue: parts.clock },
        { provide: RATE_CARD, useValue: parts.rateCard },
        { provide: LOGGER, useValue: parts.logger },
        { provide: APP_GUARD, useClass: AccessGuard },
        { provide: APP_PIPE, useClass: WirePipe },
        { provide: APP_INTERCEPTOR, useClass: AnswerInterceptor },
        // Inside of the other, which sends what it answers.
        { provide: APP_INTERCEPTOR, useClass: DryRunInterceptor },
        // Innermost: it keeps what the call itself answers.
        { provide: APP_INTERCEPTOR, useClass: IdempotencyInterceptor },
        { provide: APP_FILTER, useValue: filter },
      ],
    };
  }
}

/**
 * The whole gateway, ready to listen or to be called by `inject`.
 * @throws Error naming a route that does not declare who may call it
 */
export async function createGateway(parts: GatewayParts): Promise<NestFastifyApplication> {
  const { logger } = parts;
  // Before anything listens: a route without a declared permission ends the start here.
  const filter = new FailureFilter(logger, new RouteTable(CONTROLLERS));
  const app = await NestFactory.create<NestFastifyApplication>(
    GatewayModule.of(parts, filter),
    createAdapter(logger, filter),
    {
      logger: new FrameworkLogger(logger),
      bodyParser: false,
      abortOnError: false,
    },
  );
  const instance = app.getHttpAdapter().getInstance();
  acceptBodies(instance);
  observeRequests(instance, logger);
  limitBodies(instance, logger);
  overlookExpectations(instance);
  endConnectionsWhenClosing(instance);
  // An API that is called over plain HTTP in a laboratory must not tell browsers to insist on TLS; a proxy with TLS adds that.
  await app.register(helmet, {
    strictTransportSecurity: false,
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  });
  const refused = app.get(RefusedCalls);
  instance.addHook('onResponse', (request, reply, done) => {
    refused.note(request, reply);
    done();
  });
  await app.init();
  openPeerPort(app, parts);
  await instance.ready();
  return app;
}
