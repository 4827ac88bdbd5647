import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import {
  type CatalogueDocument,
  catalogueFacts,
  type CatalogueList,
  type CatalogueLoaded,
  type CatalogueVerification,
  dedupDomainId,
  imageAttributes,
  ImsError,
  isImageId,
  PLATFORM_PROJECT,
  SYSTEM,
} from '@ims/contract';
import { type Clock, type Database, type ImageRow, ImagesRepository } from '@ims/db';
import type { EventContext } from '@ims/event-log';
import { loadCatalogue } from '@ims/job-engine';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import { type Call, checkOperator } from '../access/permits';
import type { ReadableStore } from '../app-parts';
import { GatewayConfig } from '../config';
import { CLOCK, IMAGE_STORE } from '../http/injection-tokens';
import { noSuchImage } from '../images/image-reads.service';
import { EngineCalls } from '../jobs/engine-calls';

/** The public images of this region, as a file or the body of a call lists them (IMG-04, ADV-04). */
@Injectable()
export class CatalogueService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly images: ImagesRepository,
    private readonly engine: EngineCalls,
    private readonly config: GatewayConfig,
    @Inject(IMAGE_STORE) private readonly store: ReadableStore,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** What the operator sends; anybody else is refused with IMG.0026. */
  load(caller: Call, document: CatalogueDocument): Promise<CatalogueLoaded> {
    checkOperator(caller);
    return this.#load(document, (jobId) => eventContext(caller, jobId === undefined ? {} : { jobId }));
  }

  /** The file that the service was started with; `isFirst`: nothing is done where there has ever been a catalogue. */
  async loadAtStart(document: CatalogueDocument, { isFirst = false } = {}): Promise<CatalogueLoaded> {
    if (isFirst && (await this.images.hasCatalogue())) return { entries: [] };
    return this.#load(document, (jobId) => ({
      projectId: PLATFORM_PROJECT,
      actor: SYSTEM,
      ...(jobId === undefined ? {} : { jobId }),
    }));
  }

  async list(): Promise<CatalogueList> {
    return { entries: (await this.images.catalogued()).map(entryOf) };
  }

  /**
   * Reads the whole image back from the store and takes its digest (ADV-04). Only the operator may: it takes as long as the image is large.
   *
   * @throws ImsError IMG.0144 no image of the catalogue; IMG.0046 it has no bytes, or none yet
   */
  async verify(caller: Call, id: string, signal: AbortSignal): Promise<CatalogueVerification> {
    const row = isImageId(id) ? await this.images.find(caller.projectId, id) : undefined;
    if (row?.catalogue == null) throw noSuchImage();
    checkOperator(caller);
    const { key, version, sha256 } = catalogueFacts.parse(row.catalogue);
    if (sha256 === null || row.status !== 'active' || row.domain_id === null || row.manifest_hash === null)
      throw new ImsError('IMG.0046', `${key} has no bytes to be verified`);
    const stored = { domainId: dedupDomainId(row.domain_id), manifestHash: row.manifest_hash };
    const file = await this.store.open(stored, 'raw');
    const hash = createHash('sha256');
    for await (const chunk of file.read(undefined, signal)) hash.update(chunk);
    const found = hash.digest('hex');
    return {
      key,
      version,
      image_id: id,
      expected_sha256: sha256,
      found_sha256: found,
      size: file.sizeBytes,
      is_genuine: found === sha256,
    };
  }

  async #load(
    document: CatalogueDocument,
    contextOf: (jobId: string | undefined) => EventContext,
  ): Promise<CatalogueLoaded> {
    const { db, clock } = this;
    const { entries, outboxIds } = await loadCatalogue({ db, clock, region: this.config.region }, document, contextOf);
    await Promise.all(outboxIds.map((id) => this.engine.start(id)));
    return { entries };
  }
}

/** Only who acts in the platform's project may say what is public. */
function entryOf(row: ImageRow): CatalogueList['entries'][number] {
  const { key, version, source, sha256, vendor, kernelVendor, licence, homepage } = catalogueFacts.parse(row.catalogue);
  return {
    key,
    version,
    name: row.name,
    image_id: row.id,
    status: row.status,
    is_listed: row.retired_at === null,
    os_version: String(imageAttributes.parse(row.attributes)['__os_version'] ?? ''),
    source,
    sha256,
    vendor,
    kernel_vendor: kernelVendor,
    licence,
    homepage,
  };
}
