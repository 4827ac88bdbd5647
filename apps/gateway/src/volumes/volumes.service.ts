import { Inject, Injectable } from '@nestjs/common';
import {
  type CreateVolumeRequest,
  ImsError,
  type JobAccepted,
  projectId,
  type ShowVolumeAnswer,
  type VolumesAccepted,
} from '@ims/contract';
import { decideCreateVolumes, decideDeleteVolume } from '@ims/domain';
import type { Call } from '../access/permits';
import type { SourceCloud } from '../app-parts';
import { CLOUD } from '../http/injection-tokens';
import { CloudJobs } from '../servers/cloud-jobs';
import { toVolumeDocument } from './volume.wire';

const NOT_FOUND = 404;
/** By this the ids of the disks are in the answer already (backends E5). */
const WANTS_IDS = 'create_for_volume_id';

/** Disks of a project. Those of another project are as unknown as none. */
@Injectable()
export class VolumesService {
  constructor(
    @Inject(CLOUD) private readonly cloud: SourceCloud,
    private readonly jobs: CloudJobs,
  ) {}

  async show(caller: Call, id: string): Promise<ShowVolumeAnswer> {
    const volume = await this.cloud.volumes.get(caller.projectId, id);
    // An id may be as long as the address; only its head is repeated.
    if (volume === undefined) throw new ImsError('EVS.1002', `disk ${id.slice(0, 64)}`, NOT_FOUND);
    return { volume: toVolumeDocument(volume) };
  }

  async create(caller: Call, request: CreateVolumeRequest): Promise<VolumesAccepted> {
    const { imageRef, snapshot_id: snapshotId, metadata } = request.volume;
    const ids = this.jobs.newIds();
    const decided = decideCreateVolumes(
      {
        image: imageRef == null ? undefined : await this.jobs.imageFor(caller, imageRef),
        source: snapshotId == null ? undefined : await this.cloud.volumes.getSnapshot(caller.projectId, snapshotId),
      },
      { ...ids, projectId: projectId(caller.projectId), request },
    );
    const disksGb = decided.input.volumes.map(({ sizeGib }) => sizeGib);
    const answer = {
      job_id: ids.jobId,
      ...(metadata?.[WANTS_IDS] === 'true' ? { volume_ids: decided.input.volumes.map(({ id }) => id) } : {}),
    };
    await this.jobs.accept(caller, { ...decided, foreseen: { disksGb }, answer }, 'volumeCreate');
    return answer;
  }

  async remove(caller: Call, id: string): Promise<JobAccepted> {
    const volume = await this.cloud.volumes.get(caller.projectId, id);
    const { jobId } = this.jobs.newIds();
    const decided = decideDeleteVolume(
      volume && { id: volume.id, name: volume.name, isAttached: volume.attachments.length > 0 },
      id.slice(0, 64),
      { projectId: projectId(caller.projectId), jobId, request: {} },
    );
    await this.jobs.accept(caller, decided, 'cloudChange');
    return { job_id: jobId };
  }
}
