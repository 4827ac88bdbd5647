import { Injectable } from '@nestjs/common';
import {
  type CloudImage,
  GLANCE_PATCH_TYPES,
  type GlanceImage,
  type GlanceUpdateImageRequest,
  imageAttributes,
  imageId,
  type ImagePatchOperation,
  ImsError,
  operationsOf,
  projectId,
  type UpdateImageRequest,
} from '@ims/contract';
import { IMAGE_ATTRIBUTE_DEFAULTS, type ImageRow, type SeenImage } from '@ims/db';
import { decideUpdateImage, type Dialect, movesEnterpriseProject, type UpdatableImage } from '@ims/domain';
import { type Call, checkAction } from '../access/permits';
import { GatewayConfig } from '../config';
import { ImageChanges } from './image-changes';
import { toGlanceImage } from './image.glance';
import { toCloudImage } from './image.wire';

const UNSUPPORTED_MEDIA_TYPE = 415;

/** What an image says of itself, changed by its owner in either dialect (MGT-01). */
@Injectable()
export class ImageUpdateService {
  constructor(
    private readonly changes: ImageChanges,
    private readonly config: GatewayConfig,
  ) {}

  /** @throws ImsError as `decideUpdateImage`; IMG.0026 for moving it to another enterprise project without the right to make images */
  async update(caller: Call, id: string, request: UpdateImageRequest): Promise<CloudImage> {
    if (movesEnterpriseProject(request)) checkAction(caller, 'ims:serverImages:create');
    return toCloudImage(await this.#apply(caller, id, 'extension', request));
  }

  /** @throws ImsError as `decideUpdateImage`; IMG.0001 with 415 for another media type, with 400 for a patch in the form of the other one */
  async updateGlance(
    caller: Call,
    id: string,
    request: GlanceUpdateImageRequest,
    contentType: string | undefined,
  ): Promise<GlanceImage> {
    const wanted = contentType?.split(';')[0]?.trim().toLowerCase();
    const type = GLANCE_PATCH_TYPES.find((known) => known === wanted);
    if (type === undefined)
      throw new ImsError(
        'IMG.0001',
        `the media type must be ${GLANCE_PATCH_TYPES.join(' or ')}`,
        UNSUPPORTED_MEDIA_TYPE,
      );
    const operations = operationsOf(type, request);
    if (operations === undefined) throw new ImsError('IMG.0001', `the operations are not in the form of ${type}`);
    return toGlanceImage(await this.#apply(caller, id, 'openstack', operations));
  }

  #apply(caller: Call, id: string, dialect: Dialect, operations: readonly ImagePatchOperation[]): Promise<SeenImage> {
    const command = {
      projectId: projectId(caller.projectId),
      dialect,
      operations,
      shownDefaults: IMAGE_ATTRIBUTE_DEFAULTS,
      requestId: caller.requestId,
      maxTags: this.config.maxTags,
    };
    return this.changes.apply(caller, id, (row) => decideUpdateImage(row && updatable(row), command));
  }
}

const updatable = (row: ImageRow): UpdatableImage => ({
  id: imageId(row.id),
  projectId: projectId(row.project_id),
  imageType: row.image_type,
  status: row.status,
  name: row.name,
  diskFormat: row.disk_format,
  minDiskGib: row.min_disk_gib,
  minRamMib: row.min_ram_mib,
  protected: row.protected,
  hidden: row.hidden,
  tags: row.tags,
  attributes: imageAttributes.parse(row.attributes),
  virtualSizeBytes: row.virtual_size_bytes,
});
