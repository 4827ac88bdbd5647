import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import {
  type AddMemberRequest,
  type BatchMembersRequest,
  type BatchUpdateMembersRequest,
  imageAttributes,
  type ImageMember,
  type ImageMemberList,
  ImsError,
  isImageId,
  type JobAccepted,
  type ListMembersQuery,
  type MemberName,
  projectId,
  type UpdateMemberRequest,
} from '@ims/contract';
import {
  type Clock,
  type Database,
  type ImageMemberRow,
  ImageMembersRepository,
  ImagesRepository,
  inTransaction,
  type SeenImage,
  UsageRepository,
  chargeOf,
} from '@ims/db';
import {
  type AnsweringProject,
  decideAddMember,
  decideAnswerShare,
  decideAnswerShares,
  decideLeaveShare,
  decideRemoveMember,
  decideShareImages,
  decideUnshareImages,
  type Dialect,
  type DomainEvent,
  isEncrypted,
  type MemberedImage,
  type ShareTarget,
} from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { freshJobId } from '@ims/job-engine';
import { Kysely, type Transaction } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import type { SourceCloud } from '../app-parts';
import { GatewayConfig } from '../config';
import { CLOCK, CLOUD } from '../http/injection-tokens';
import { imageTime } from '../http/wire-time';
import { noSuchImage } from '../images/image-reads.service';
import { JobAcceptance } from '../jobs/job-acceptance';

type Db = Kysely<Database>;
type Trx = Transaction<Database>;

const noSuchMember = (): ImsError => new ImsError('IMG.0144', 'there is no such member', 404);

/** Whom images are shared with, in both dialects (ims-api 9, 12.9). */
@Injectable()
export class MembersService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly jobs: JobAcceptance,
    private readonly config: GatewayConfig,
    @Inject(CLOUD) private readonly cloud: SourceCloud,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async share(caller: Call, request: BatchMembersRequest): Promise<JobAccepted> {
    return this.#batch(caller, request, async (trx, command) => {
      const images = await this.#all(trx, caller, request.images);
      return decideShareImages(images, await targetsOf(trx, caller, namesOf(request)), command);
    });
  }

  async unshare(caller: Call, request: BatchMembersRequest): Promise<JobAccepted> {
    return this.#batch(caller, request, async (trx, command) =>
      decideUnshareImages(await this.#all(trx, caller, request.images), namesOf(request), command),
    );
  }

  /** @throws ImsError as `decideAnswerShares`; IMG.0030 for another project than the caller's */
  async answer(caller: Call, request: BatchUpdateMembersRequest): Promise<JobAccepted> {
    if (request.project_id !== caller.projectId)
      throw new ImsError('IMG.0067', 'a project answers for itself: project_id is that of the caller');
    const { status, vault_id: vaultId } = request;
    const vault = await this.#vault(caller, vaultId);
    return this.#batch(caller, request, async (trx, command) =>
      decideAnswerShares(await this.#all(trx, caller, request.images), vault, {
        ...command,
        caller: await answering(trx, caller),
        status,
        vaultId,
      }),
    );
  }

  async add(caller: Call, id: string, { member }: AddMemberRequest): Promise<ImageMember> {
    return inTransaction(this.db, async (trx) => {
      const image = await this.#image(trx, caller, id);
      const [target] = await targetsOf(trx, caller, [{ memberId: member, memberType: 'project' }], true);
      if (target === undefined) throw noSuchMember();
      const { events } = decideAddMember(image, target, this.#command(caller));
      await this.#append(trx, caller, events);
      return shown(await this.#member(trx, id, target.memberId));
    });
  }

  async remove(caller: Call, id: string, memberId: string): Promise<void> {
    await inTransaction(this.db, async (trx) => {
      const image = await this.#image(trx, caller, id);
      const command = this.#command(caller);
      // A member can give an image back; everything else is its owner's.
      const { events } =
        image?.imageType === 'shared' && memberId === caller.projectId
          ? decideLeaveShare(image, { ...command, caller: await answering(trx, caller) })
          : decideRemoveMember(image, { memberId, memberType: 'project' }, command);
      await this.#append(trx, caller, events);
    });
  }

  async update(caller: Call, id: string, memberId: string, request: UpdateMemberRequest): Promise<ImageMember> {
    const { status, vault_id: vaultId } = request;
    const vault = await this.#vault(caller, vaultId);
    return inTransaction(this.db, async (trx) => {
      const image = await this.#image(trx, caller, id);
      const project = await answering(trx, caller);
      // A member is named as it is listed: the project itself, or what it has the image by.
      const isOwn = image?.projectId === caller.projectId;
      if (image !== undefined && !isOwn && !project.receivers.includes(memberId)) throw noSuchMember();
      const { events } = decideAnswerShare(image, vault, {
        ...this.#command(caller),
        caller: project,
        status,
        vaultId,
      });
      await this.#append(trx, caller, events);
      return this.#find(trx, caller, id, memberId);
    });
  }

  /** An owner sees all members, a member itself; to anybody else the image has none that could be asked for. */
  async list(caller: Call, id: string, { limit, marker }: ListMembersQuery): Promise<ImageMemberList> {
    const after = marker === undefined ? '' : Buffer.from(marker, 'base64').toString('utf8');
    const all = (await this.#visible(this.db, caller, id)).filter(({ member_id }) => member_id > after);
    const page = all.slice(0, limit);
    const last = all.length > page.length ? page.at(-1)?.member_id : undefined;
    return {
      members: page.map(shown),
      schema: '/v2/schemas/members',
      page_info: {
        next_marker: last === undefined ? '' : Buffer.from(last, 'utf8').toString('base64'),
        current_count: page.length,
      },
    };
  }

  show(caller: Call, id: string, memberId: string): Promise<ImageMember> {
    return this.#find(this.db, caller, id, memberId);
  }

  async #find(db: Db, caller: Call, id: string, memberId: string): Promise<ImageMember> {
    const row = (await this.#visible(db, caller, id)).find(({ member_id }) => member_id === memberId);
    if (row === undefined) throw noSuchMember();
    return shown(row);
  }

  async #visible(db: Db, caller: Call, id: string): Promise<ImageMemberRow[]> {
    const image = isImageId(id) ? await new ImagesRepository(db).find(caller.projectId, id) : undefined;
    if (image === undefined || image.seen_as === 'public') throw noSuchImage();
    const members = new ImageMembersRepository(db);
    const rows = await members.of(id);
    const named = rows.filter(({ via }) => via === null);
    if (image.seen_as === 'owner') return named.map((row) => ({ ...row, status: statusFor(row, rows) }));
    const receivers = await members.receivers(caller.projectId);
    const status = image.member_status ?? 'pending';
    return named.filter(({ member_id }) => receivers.includes(member_id)).map((row) => ({ ...row, status }));
  }

  async #member(trx: Trx, id: string, memberId: string): Promise<ImageMemberRow> {
    const row = (await new ImageMembersRepository(trx).of(id)).find(({ member_id }) => member_id === memberId);
    if (row === undefined) throw noSuchMember();
    return row;
  }

  async #vault(caller: Call, vaultId: string | undefined) {
    return vaultId === undefined ? undefined : this.cloud.backups.getVault(caller.projectId, vaultId);
  }

  #command(caller: Call, dialect: Dialect = 'openstack') {
    const { shares: limits } = this.config;
    return { projectId: projectId(caller.projectId), dialect, changeId: randomUUID(), limits };
  }

  async #batch(
    caller: Call,
    request: BatchMembersRequest | BatchUpdateMembersRequest,
    decide: (trx: Trx, command: Parameters<typeof decideUnshareImages>[2]) => Promise<{ events: DomainEvent[] }>,
  ): Promise<JobAccepted> {
    const jobId = freshJobId();
    const { shares: limits } = this.config;
    const command = { projectId: projectId(caller.projectId), jobId, request, limits };
    await this.jobs.accept(caller, {
      decide: async (_quotas, trx) => ({ jobId, events: (await decide(trx, command)).events, starts: [] }),
    });
    return { job_id: jobId };
  }

  async #append(trx: Trx, caller: Call, events: readonly DomainEvent[]): Promise<void> {
    await appendEvents(trx, eventContext(caller), events, this.clock);
  }

  /** Each image once, locked in one order, so that two calls about the same images cannot wait for each other. */
  async #all(trx: Trx, caller: Call, ids: readonly string[]): Promise<(MemberedImage | undefined)[]> {
    const distinct = [...new Set(ids)];
    const found = new Map<string, MemberedImage | undefined>();
    for (const id of distinct.toSorted()) found.set(id, await this.#image(trx, caller, id));
    return distinct.map((id) => found.get(id));
  }

  /** The image under a lock of its row: whoever counts its members has counted all (SHR-03). */
  async #image(trx: Trx, caller: Call, id: string): Promise<MemberedImage | undefined> {
    if (!isImageId(id)) return undefined;
    const images = new ImagesRepository(trx);
    const row = await images.findSeenForUpdate(caller.projectId, id);
    if (row === undefined) return undefined;
    const attributes = imageAttributes.parse(row.attributes);
    const isWholeServer = attributes['__whole_image'] === 'true';
    const parts = await images.parts(id);
    const usages = await new UsageRepository(trx).findOpen(id);
    const members = await new ImageMembersRepository(trx).of(id);
    return {
      id,
      name: row.name,
      projectId: projectId(row.project_id),
      imageType: row.image_type,
      status: row.status,
      isEncrypted: isEncrypted(attributes),
      isWholeServer,
      backupLine: isWholeServer ? await this.#backupLine(row, attributes['__backup_id']) : null,
      members: members.map((member) => ({
        memberId: member.member_id,
        memberType: member.member_type,
        urn: member.urn,
        via: member.via,
        status: member.status,
      })),
      charges: usages
        .filter(({ project_id }) => project_id !== row.project_id)
        .map((usage) => ({ ...chargeOf(usage), projectId: usage.project_id })),
      storedBytes: parts.reduce((sum, { stored_bytes }) => sum + stored_bytes, row.stored_bytes ?? 0),
    };
  }

  async #backupLine(row: SeenImage, backupId: unknown): Promise<'CBR' | 'CSBS' | null> {
    if (typeof backupId !== 'string') return null;
    return (await this.cloud.backups.get(row.project_id, backupId))?.line ?? null;
  }
}

async function answering(db: Db, caller: Call): Promise<AnsweringProject> {
  return {
    projectId: projectId(caller.projectId),
    accountId: caller.accountId,
    accountName: caller.accountName,
    receivers: await new ImageMembersRepository(db).receivers(caller.projectId),
  };
}

/** Every target once. */
function namesOf({ projects, domains, organizations }: BatchMembersRequest): MemberName[] {
  return [
    ...[...new Set(projects)].map((memberId): MemberName => ({ memberId, memberType: 'project' })),
    ...[...new Set(domains)].map((memberId): MemberName => ({ memberId, memberType: 'domain' })),
    ...[...new Set(organizations)].map((urn): MemberName => ({
      // The last part names the organization, its root, or the unit (ims-api 9.2).
      memberId: urn.split(/[:/]/).at(-1) ?? urn,
      memberType: 'organization',
      urn,
    })),
  ];
}

/** What is known of the targets here; with `isAnyType` an id may also be that of an account. */
async function targetsOf(
  db: Db,
  caller: Call,
  names: readonly MemberName[],
  isAnyType = false,
): Promise<ShareTarget[]> {
  const known = await new ImageMembersRepository(db).known(names.map(({ memberId }) => memberId));
  return names.map((name) => {
    const found = known.find(({ id, type }) => id === name.memberId && (isAnyType || type === name.memberType));
    return {
      ...name,
      memberType: found?.type ?? name.memberType,
      isUnknown: found === undefined,
      isOwner: name.memberId === caller.projectId || name.memberId === caller.accountId,
    };
  });
}

/** Of a share with an account or an organization: what the projects have said that have it by that. */
function statusFor(row: ImageMemberRow, rows: readonly ImageMemberRow[]): ImageMemberRow['status'] {
  if (row.member_type === 'project') return row.status;
  const answers = rows.filter(({ via }) => via === row.member_id).map(({ status }) => status);
  return (
    answers.find((status) => status === 'accepted') ?? answers.find((status) => status === 'rejected') ?? 'pending'
  );
}

const shown = (row: ImageMemberRow): ImageMember => ({
  status: row.status,
  created_at: imageTime(row.created_at),
  updated_at: imageTime(row.updated_at),
  image_id: row.image_id,
  member_id: row.member_id,
  member_type: row.member_type,
  ...(row.urn === null ? {} : { urn: row.urn }),
  schema: '/v2/schemas/member',
});
