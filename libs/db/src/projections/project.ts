import {
  dataDiskPart,
  DISK_PART,
  type EventData,
  type EventType,
  type Listing,
  type MemberStatus,
  type SagaName,
} from '@ims/contract';
import { type Insertable, type Transaction, type UpdateResult, sql } from 'kysely';
import type { Database } from '../db-types';

/** What a projection may know of an event: all of it is recorded, so a replay sees the same. */
export type ProjectedEvent = {
  [T in EventType]: {
    type: T;
    data: EventData<T>;
    streamId: string;
    projectId: string;
    occurredAt: Date;
  };
}[EventType];

/** The event does not fit the rows that the events before it made; nothing may be committed. */
export class ProjectionError extends Error {
  constructor(
    readonly event: Pick<ProjectedEvent, 'type' | 'streamId'>,
    reason: string,
  ) {
    super(`apply ${event.type} of ${event.streamId} to its tables: ${reason}`);
    this.name = ProjectionError.name;
  }
}

type Trx = Transaction<Database>;

/** The id behind `job:`, `image:`, … of a stream. */
function ownerOf(event: ProjectedEvent, kind: 'job' | 'image'): string {
  const prefix = `${kind}:`;
  if (!event.streamId.startsWith(prefix)) throw new ProjectionError(event, `it belongs into a ${kind} stream`);
  return event.streamId.slice(prefix.length);
}

function expectOne(event: ProjectedEvent, result: UpdateResult, row: string): void {
  if (result.numUpdatedRows !== 1n)
    throw new ProjectionError(event, `${row} is not there or not in a state to take it`);
}

/**
 * Applies one recorded event to the tables `job`, `job_step`, `image`, `image_part`, `quota`, `recycle_bin` and `usage_record`.
 *
 * A function of the event and the rows that earlier events of the same stream made: no clock, no other table, no configuration.
 * The event log calls it in the appending transaction, the rebuild calls it again with `search_path` on empty copies, and both
 * must end with the same rows (invariant I5 of the fault matrix). Called once per event; a repeated event never gets here.
 *
 * @throws ProjectionError when the event does not fit (no such row, a terminal state would change)
 */
export async function project(trx: Trx, event: ProjectedEvent): Promise<void> {
  if (isStepEvent(event)) return projectStep(trx, event);
  switch (event.type) {
    case 'job.accepted':
    case 'job.started':
    case 'job.cancel-requested':
    case 'job.paused':
    case 'job.resumed':
    case 'job.restarted':
    case 'job.succeeded':
    case 'job.failed':
    case 'job.cancelled':
      return projectJob(trx, event);
    case 'image.queued':
    case 'image.uploading':
    case 'image.saving':
    case 'image.published':
    case 'image.disk-derived':
    case 'image.requeued':
    case 'image.withdrawn':
    case 'image.digested':
    case 'image.updated':
    case 'image.tagged':
    case 'image.untagged':
    case 'image.binned':
    case 'image.restored':
    case 'image.held':
    case 'image.hold-released':
    case 'image.deactivated':
    case 'image.reactivated':
    case 'image.deprecated':
    case 'image.deprecation-ended':
    case 'image.revoked':
    case 'image.reinstated':
    case 'image.catalogued':
    case 'image.retired':
    case 'image.deleted':
      return projectImage(trx, event);
    case 'image.listing-requested':
    case 'image.listing-approved':
    case 'image.listed':
    case 'image.listing-refused':
    case 'image.delisted':
      return projectListing(trx, event);
    case 'recycle-bin.retention-set':
      return projectRecycleBin(trx, event);
    case 'image.member-added':
    case 'image.member-accepted':
    case 'image.member-rejected':
    case 'image.member-reopened':
    case 'image.member-removed':
    case 'image.member-left':
      return projectMember(trx, event);
    case 'quota.limit-set':
    case 'quota.reserved':
    case 'quota.settled':
    case 'quota.released':
      return projectQuota(trx, event);
    case 'usage.opened':
    case 'usage.recorded':
    case 'usage.voided':
    case 'usage.closed':
      return projectUsage(trx, event);
    case 'call.refused':
      return; // It has changed nothing.
    case 'share.answered':
    case 'share.left':
      return; // The image's own events say what has changed.
    default:
      event satisfies never;
  }
}

type EventOf<Prefix extends string> = Extract<ProjectedEvent, { type: `${Prefix}.${string}` }>;

type StepEvent = EventOf<SagaName>;

/** Steps of whatever saga: their events differ in what they output, not in what they mean for the job. */
const isStepEvent = (event: ProjectedEvent): event is StepEvent => /\.step-(completed|undone)$/.test(event.type);

// Terminal states never change (I12).
const openJobOf = (trx: Trx, id: string) => trx.updateTable('job').where('id', '=', id).where('outcome', 'is', null);

async function projectStep(trx: Trx, event: StepEvent): Promise<void> {
  const id = ownerOf(event, 'job');
  const at = event.occurredAt;
  const { step } = event.data;
  const record = (state: { state: 'completed' | 'undone'; [column: string]: unknown }) =>
    trx
      .insertInto('job_step')
      .values({ job_id: id, step, ...state })
      .onConflict((conflict) => conflict.columns(['job_id', 'step']).doUpdateSet(state))
      .execute();
  if ('output' in event.data) {
    await record({ state: 'completed', output: JSON.stringify(event.data.output), completed_at: at, undone_at: null });
    // The step now being worked at is the next of the list; after the last one it stays.
    return expectOne(
      event,
      await openJobOf(trx, id)
        .set({ current_step: sql`coalesce(steps[array_position(steps, ${step}) + 1], ${step})` })
        .executeTakeFirst(),
      'the open job',
    );
  }
  // An undo is registered before its step runs, so there may be nothing that was completed.
  await record({ state: 'undone', undone_at: at });
  // A job that was closed from outside is unwound after its end, which then stays as it is.
  await openJobOf(trx, id).set({ current_step: step }).execute();
}

async function projectJob(trx: Trx, event: EventOf<'job'>): Promise<void> {
  const id = ownerOf(event, 'job');
  const at = event.occurredAt;
  const openJob = () => openJobOf(trx, id);
  switch (event.type) {
    case 'job.accepted': {
      const { data } = event;
      await trx
        .insertInto('job')
        .values({
          id,
          project_id: event.projectId,
          type: data.jobType,
          saga: data.saga,
          status: 'INIT',
          image_id: data.imageId,
          image_name: data.imageName,
          request: JSON.stringify(data.request ?? null),
          steps: data.steps,
          parent_id: data.parentJobId ?? null,
          begin_at: at,
        })
        .execute();
      return;
    }
    case 'job.started':
      return expectOne(
        event,
        await openJob()
          .set({ status: 'RUNNING', current_step: sql`coalesce(current_step, steps[1])` })
          .executeTakeFirst(),
        'the open job',
      );
    case 'job.cancel-requested':
      // The job may have ended while the request was on its way: the request is recorded and changes nothing.
      await openJob().set({ cancel_reason: event.data.reason }).execute();
      return;
    case 'job.paused':
      return expectOne(
        event,
        await openJob()
          .where('paused_at', 'is', null)
          .set({ paused_at: at, pauses: sql`pauses + 1` })
          .executeTakeFirst(),
        'the open job that is not paused',
      );
    case 'job.resumed':
      return expectOne(
        event,
        await openJob().where('paused_at', 'is not', null).set({ paused_at: null }).executeTakeFirst(),
        'the paused job',
      );
    case 'job.restarted':
      return expectOne(
        event,
        await openJob().where('epoch', '<', event.data.epoch).set({ epoch: event.data.epoch }).executeTakeFirst(),
        'the open job of an earlier epoch',
      );
    case 'job.succeeded':
      return expectOne(
        event,
        await openJob()
          .set({ status: 'SUCCESS', outcome: 'succeeded', image_id: event.data.imageId, end_at: at, paused_at: null })
          .executeTakeFirst(),
        'the open job',
      );
    case 'job.failed':
      return expectOne(
        event,
        await openJob()
          .set({
            status: 'FAIL',
            outcome: 'failed',
            error_code: event.data.errorCode,
            fail_reason: event.data.reason,
            end_at: at,
            paused_at: null,
            ...(event.data.step === null ? {} : { current_step: event.data.step }),
          })
          .executeTakeFirst(),
        'the open job',
      );
    case 'job.cancelled':
      return expectOne(
        event,
        await openJob()
          .set({ status: 'FAIL', outcome: 'cancelled', fail_reason: event.data.reason, end_at: at, paused_at: null })
          .executeTakeFirst(),
        'the open job',
      );
    default:
      event satisfies never;
  }
}

type ListingEvent = Extract<ProjectedEvent, { type: `image.listing-${string}` | 'image.listed' | 'image.delisted' }>;
type MemberEvent = Extract<ProjectedEvent, { type: `image.member-${string}` }>;

async function projectImage(trx: Trx, event: Exclude<EventOf<'image'>, ListingEvent | MemberEvent>): Promise<void> {
  const id = ownerOf(event, 'image');
  const at = event.occurredAt;
  const anyImage = () => trx.updateTable('image').where('id', '=', id);
  const liveImage = () => anyImage().where('deleted_at', 'is', null);
  const deletableImage = () => liveImage().where('held_at', 'is', null);
  switch (event.type) {
    case 'image.queued': {
      const { data } = event;
      await trx
        .insertInto('image')
        .values({
          id,
          project_id: event.projectId,
          name: data.name,
          status: 'queued',
          disk_format: data.diskFormat,
          min_disk_gib: data.minDiskGib,
          min_ram_mib: data.minRamMib,
          tags: data.tags,
          attributes: JSON.stringify(withoutNulls(data.attributes)),
          protected: data.protected ?? false,
          image_type: data.imageType ?? 'private',
          parent_id: data.lineage?.parentImageId ?? null,
          public_platform: data.lineage?.publicPlatform ?? null,
          product_code: data.lineage?.productCode ?? null,
          catalogue_key: data.catalogue?.key ?? null,
          catalogue: data.catalogue === undefined ? null : JSON.stringify(data.catalogue),
          created_at: at,
          updated_at: at,
        })
        .execute();
      return;
    }
    case 'image.uploading':
      return expectOne(
        event,
        await liveImage()
          .where('status', '=', 'queued')
          .set({ status: 'uploading', updated_at: at })
          .executeTakeFirst(),
        'the queued image',
      );
    case 'image.saving':
      return expectOne(
        event,
        await liveImage()
          .where('status', 'in', ['queued', 'uploading'])
          .set({ status: 'saving', updated_at: at })
          .executeTakeFirst(),
        'the image without bytes',
      );
    case 'image.published': {
      const { data } = event;
      for (const { device, ...disk } of data.dataDisks ?? []) await insertPart(trx, id, dataDiskPart(device), disk);
      return expectOne(
        event,
        await liveImage()
          .where('status', 'in', ['queued', 'saving'])
          .set({
            status: 'active',
            domain_id: data.domainId,
            manifest_hash: data.manifestHash,
            content_root: data.contentRoot,
            virtual_size_bytes: data.virtualSizeBytes,
            stored_bytes: data.storedBytes,
            file_bytes: data.fileBytes,
            form: data.form ?? 'disk',
            ...(data.diskFormat === undefined ? {} : { disk_format: data.diskFormat }),
            // A null takes an attribute away.
            attributes: sql`jsonb_strip_nulls(attributes || ${JSON.stringify(data.attributes)}::jsonb)`,
            active_at: at,
            updated_at: at,
          })
          .executeTakeFirst(),
        'the image without bytes',
      );
    }
    case 'image.disk-derived':
      return insertPart(trx, id, DISK_PART, event.data);
    case 'image.requeued':
      // Also an active one: the undo of `publish` takes back the bytes of an image whose job failed in a later step.
      await trx.deleteFrom('image_part').where('image_id', '=', id).execute();
      return expectOne(
        event,
        await liveImage()
          .set({
            status: 'queued',
            form: 'disk',
            ...(event.data.diskFormat === undefined ? {} : { disk_format: event.data.diskFormat }),
            md5: null,
            sha512: null,
            domain_id: null,
            manifest_hash: null,
            content_root: null,
            virtual_size_bytes: null,
            stored_bytes: null,
            file_bytes: null,
            active_at: null,
            updated_at: at,
          })
          .executeTakeFirst(),
        'the live image',
      );
    case 'image.withdrawn':
      await trx.deleteFrom('image_member').where('image_id', '=', id).execute();
      return expectOne(
        event,
        // Also an active one: the undo of `publish` takes back an image whose job failed in a later step.
        await deletableImage().set({ status: 'killed', updated_at: at, deleted_at: at }).executeTakeFirst(),
        'the live image that nothing holds',
      );
    case 'image.digested':
      return expectOne(
        event,
        await liveImage()
          .where('status', 'in', ['active', 'deactivated'])
          .set({ md5: event.data.md5, sha512: event.data.sha512, file_bytes: event.data.sizeBytes, updated_at: at })
          .executeTakeFirst(),
        'the active image',
      );
    case 'image.updated': {
      const { name, minDiskGib, minRamMib, hidden, tags, attributes, protected: isProtected } = event.data.after;
      return expectOne(
        event,
        await liveImage()
          .set({
            ...(name === undefined ? {} : { name }),
            ...(minDiskGib === undefined ? {} : { min_disk_gib: minDiskGib }),
            ...(minRamMib === undefined ? {} : { min_ram_mib: minRamMib }),
            ...(isProtected === undefined ? {} : { protected: isProtected }),
            ...(hidden === undefined ? {} : { hidden }),
            ...(tags === undefined ? {} : { tags }),
            ...(attributes === undefined
              ? {}
              : // A null takes an attribute away.
                { attributes: sql`jsonb_strip_nulls(attributes || ${JSON.stringify(attributes)}::jsonb)` }),
            updated_at: at,
          })
          .executeTakeFirst(),
        'the live image',
      );
    }
    case 'image.tagged':
    case 'image.untagged':
      return expectOne(
        event,
        await liveImage().set({ tags: event.data.after, updated_at: at }).executeTakeFirst(),
        'the live image',
      );
    case 'image.catalogued': {
      const { name, minDiskGib, minRamMib, attributes, catalogue } = event.data;
      return expectOne(
        event,
        await liveImage()
          .set({
            name,
            min_disk_gib: minDiskGib,
            min_ram_mib: minRamMib,
            // A null takes an attribute away.
            attributes: sql`jsonb_strip_nulls(attributes || ${JSON.stringify(attributes)}::jsonb)`,
            catalogue_key: catalogue.key,
            catalogue: JSON.stringify(catalogue),
            retired_at: null,
            // What was hidden because it was retired is offered again.
            hidden: sql<boolean>`hidden and retired_at is null`,
            updated_at: at,
          })
          .executeTakeFirst(),
        'the live image',
      );
    }
    case 'image.binned': {
      const { purgeAfter, isBackupDeleted } = event.data;
      return expectOne(
        event,
        await deletableImage()
          .where('binned_at', 'is', null)
          .set({
            binned_at: at,
            purge_after: new Date(purgeAfter),
            purges_backup: isBackupDeleted,
            updated_at: at,
          })
          .executeTakeFirst(),
        'the image that nothing holds',
      );
    }
    case 'image.restored':
      return expectOne(
        event,
        await liveImage()
          .where('binned_at', 'is not', null)
          .set({ binned_at: null, purge_after: null, purges_backup: false, updated_at: at })
          .executeTakeFirst(),
        'the image in the recycle bin',
      );
    case 'image.held':
      return expectOne(
        event,
        await deletableImage()
          .set({ held_at: at, hold_reason: event.data.reason, held_by: event.data.by, updated_at: at })
          .executeTakeFirst(),
        'the image that nothing holds',
      );
    case 'image.hold-released':
      return expectOne(
        event,
        await liveImage()
          .where('held_at', 'is not', null)
          .set({ held_at: null, hold_reason: null, held_by: null, updated_at: at })
          .executeTakeFirst(),
        'the image under a hold',
      );
    case 'image.deactivated':
      return expectOne(
        event,
        await liveImage()
          .where('status', '=', 'active')
          .set({ status: 'deactivated', updated_at: at })
          .executeTakeFirst(),
        'the active image',
      );
    case 'image.reactivated':
      return expectOne(
        event,
        await liveImage()
          .where('status', '=', 'deactivated')
          .set({ status: 'active', updated_at: at })
          .executeTakeFirst(),
        'the deactivated image',
      );
    case 'image.deprecated': {
      const { deprecatedAt, replacementImageId } = event.data;
      return expectOne(
        event,
        await liveImage()
          .set({ deprecated_at: new Date(deprecatedAt), replacement_id: replacementImageId, updated_at: at })
          .executeTakeFirst(),
        'the live image',
      );
    }
    case 'image.retired':
      return expectOne(
        event,
        await liveImage().set({ retired_at: at, hidden: true, updated_at: at }).executeTakeFirst(),
        'the live image',
      );
    case 'image.deprecation-ended':
      return expectOne(
        event,
        await liveImage().set({ deprecated_at: null, replacement_id: null, updated_at: at }).executeTakeFirst(),
        'the live image',
      );
    case 'image.revoked':
      // Also one that has gone: what was made from it lives on.
      return expectOne(
        event,
        await anyImage()
          .where('revoked_at', 'is', null)
          .set({ revoked_at: at, revoke_reason: event.data.reason, updated_at: at })
          .executeTakeFirst(),
        'the image that is not revoked',
      );
    case 'image.reinstated':
      return expectOne(
        event,
        await anyImage()
          .where('revoked_at', 'is not', null)
          .set({ revoked_at: null, revoke_reason: null, updated_at: at })
          .executeTakeFirst(),
        'the revoked image',
      );
    case 'image.deleted':
      await trx.deleteFrom('image_member').where('image_id', '=', id).execute();
      return expectOne(
        event,
        await deletableImage().set({ status: 'deleted', updated_at: at, deleted_at: at }).executeTakeFirst(),
        'the live image that nothing holds',
      );
    default:
      event satisfies never;
  }
}

/** How far an image has come on its way to the marketplace and back. */
async function projectListing(trx: Trx, event: ListingEvent): Promise<void> {
  const liveImage = trx
    .updateTable('image')
    .where('id', '=', ownerOf(event, 'image'))
    .where('deleted_at', 'is', null)
    .set({ updated_at: event.occurredAt });
  const change = (what: object) => ({ listing: sql<string>`listing || ${JSON.stringify(what)}::jsonb` });
  const underWay = () => liveImage.where('listing', 'is not', null);
  switch (event.type) {
    case 'image.listing-requested': {
      const { round, productCode } = event.data;
      const listing: Listing = { round, status: 'requested', productCode, approvedBy: [], reason: null };
      return expectOne(
        event,
        await liveImage
          .where('status', '=', 'active')
          .set({ listing: JSON.stringify(listing) })
          .executeTakeFirst(),
        'the active image',
      );
    }
    case 'image.listing-approved':
      return expectOne(
        event,
        await underWay()
          .set({
            listing: sql`jsonb_set(listing, '{approvedBy}', (listing -> 'approvedBy') || to_jsonb(${event.data.by}::text))`,
          })
          .executeTakeFirst(),
        'the requested listing',
      );
    case 'image.listed':
      return expectOne(
        event,
        await underWay()
          .set({
            image_type: 'market',
            attributes: sql`attributes || ${JSON.stringify({ __productcode: event.data.productCode })}::jsonb`,
            ...change({ status: 'listed' }),
          })
          .executeTakeFirst(),
        'the requested listing',
      );
    case 'image.listing-refused':
      return expectOne(
        event,
        await underWay()
          .set(change({ status: 'refused', reason: event.data.reason }))
          .executeTakeFirst(),
        'the requested listing',
      );
    case 'image.delisted':
      return expectOne(
        event,
        await underWay()
          .set({
            image_type: 'private',
            // What it inherited itself it goes on having (BIL-08).
            attributes: sql`jsonb_strip_nulls(attributes || jsonb_build_object('__productcode', product_code))`,
            ...change({ status: 'withdrawn', reason: event.data.reason }),
          })
          .executeTakeFirst(),
        'the listed image',
      );
    default:
      event satisfies never;
  }
}

/** An answer to a share with an account or an organization is a row of the project that gave it, and goes with that share. */
async function projectMember(trx: Trx, event: MemberEvent): Promise<void> {
  const id = ownerOf(event, 'image');
  const at = event.occurredAt;
  const { memberId } = event.data;
  const key = { image_id: id, member_id: memberId };
  const insert = (row: Omit<Insertable<Database['image_member']>, keyof typeof key | 'created_at' | 'updated_at'>) =>
    trx
      .insertInto('image_member')
      .values({ ...key, ...row, created_at: at, updated_at: at })
      .onConflict((conflict) => conflict.columns(['image_id', 'member_id']).doUpdateSet({ ...row, updated_at: at }))
      .execute();
  const answer = async (status: MemberStatus, via: string | undefined, vaultId: string | null): Promise<void> => {
    if (via !== undefined) {
      await insert({ member_type: 'project', urn: null, via, status, vault_id: vaultId });
      return;
    }
    const changed = await trx
      .updateTable('image_member')
      .set({ status, vault_id: vaultId, updated_at: at })
      .where('image_id', '=', id)
      .where('member_id', '=', memberId)
      .executeTakeFirst();
    expectOne(event, changed, 'the member');
  };
  switch (event.type) {
    case 'image.member-added': {
      const { memberType, urn = null } = event.data;
      await insert({ member_type: memberType, urn, via: null, status: 'pending', vault_id: null });
      return;
    }
    case 'image.member-accepted':
      return answer('accepted', event.data.via, event.data.vaultId ?? null);
    case 'image.member-rejected':
      return answer('rejected', event.data.via, null);
    case 'image.member-reopened':
      return answer('pending', event.data.via, null);
    case 'image.member-removed':
    case 'image.member-left':
      await trx
        .deleteFrom('image_member')
        .where('image_id', '=', id)
        .where((eb) => eb.or([eb('member_id', '=', memberId), eb('via', '=', memberId)]))
        .execute();
      return;
    default:
      event satisfies never;
  }
}

async function insertPart(
  trx: Trx,
  imageId: string,
  part: string,
  disk: EventData<'image.disk-derived'>,
): Promise<void> {
  await trx
    .insertInto('image_part')
    .values({
      image_id: imageId,
      part,
      domain_id: disk.domainId,
      manifest_hash: disk.manifestHash,
      content_root: disk.contentRoot,
      virtual_size_bytes: disk.virtualSizeBytes,
      stored_bytes: disk.storedBytes,
    })
    .execute();
}

async function projectRecycleBin(trx: Trx, event: EventOf<'recycle-bin'>): Promise<void> {
  const { projectId: project_id } = event;
  const { retentionDays: retention_days } = event.data;
  if (event.streamId !== `recycle-bin:${project_id}`)
    throw new ProjectionError(event, `it belongs into the stream of project ${project_id}`);
  await trx
    .insertInto('recycle_bin')
    .values({ project_id, retention_days })
    .onConflict((conflict) => conflict.column('project_id').doUpdateSet({ retention_days }))
    .execute();
}

async function projectQuota(trx: Trx, event: EventOf<'quota'>): Promise<void> {
  const project_id = event.projectId;
  const { resource } = event.data;
  // One row, one stream: the head of the stream serialises its changes, and a replay sees them in the same order.
  if (event.streamId !== `quota:${project_id}:${resource}`) {
    throw new ProjectionError(event, `it belongs into the stream of ${resource} of project ${project_id}`);
  }
  const row = () => trx.updateTable('quota').where('project_id', '=', project_id).where('resource', '=', resource);
  switch (event.type) {
    case 'quota.limit-set':
      await trx
        .insertInto('quota')
        .values({ project_id, resource, quota_limit: event.data.limit })
        .onConflict((conflict) =>
          conflict.columns(['project_id', 'resource']).doUpdateSet({ quota_limit: event.data.limit }),
        )
        .execute();
      return;
    case 'quota.reserved': {
      const { amount } = event.data;
      await trx
        .insertInto('quota')
        .values({ project_id, resource, reserved: amount })
        .onConflict((conflict) =>
          conflict
            .columns(['project_id', 'resource'])
            .doUpdateSet({ reserved: sql`quota.reserved + ${amount}::integer` }),
        )
        .execute();
      return;
    }
    case 'quota.settled': {
      const { amount } = event.data;
      return expectOne(
        event,
        await row()
          .where('reserved', '>=', amount)
          .set({ reserved: sql`reserved - ${amount}::integer`, used: sql`used + ${amount}::integer` })
          .executeTakeFirst(),
        `a reservation of ${amount}`,
      );
    }
    case 'quota.released': {
      const { amount, from } = event.data;
      return expectOne(
        event,
        await row()
          .where(from, '>=', amount)
          .set({ [from]: sql`${sql.ref(from)} - ${amount}::integer` })
          .executeTakeFirst(),
        `${from} of ${amount}`,
      );
    }
    default:
      event satisfies never;
  }
}

async function projectUsage(trx: Trx, event: EventOf<'usage'>): Promise<void> {
  const at = event.occurredAt;
  const id = event.data.usageId;
  if (!event.streamId.startsWith('usage:')) throw new ProjectionError(event, 'it belongs into a usage stream');
  const openRecord = () =>
    trx.updateTable('usage_record').where('id', '=', id).where('closed_at', 'is', null).where('voided_at', 'is', null);
  switch (event.type) {
    case 'usage.opened': {
      const { imageId, meter, quantityBytes, backupId = null, productCode = null } = event.data;
      await trx
        .insertInto('usage_record')
        .values({
          id,
          project_id: event.projectId,
          image_id: imageId,
          backup_id: backupId,
          product_code: productCode,
          meter,
          quantity_bytes: quantityBytes,
          opened_at: at,
        })
        .execute();
      return;
    }
    case 'usage.recorded': {
      const { imageId, meter, quantityBytes } = event.data;
      // Used up at once: there is nothing left to close.
      await trx
        .insertInto('usage_record')
        .values({
          id,
          project_id: event.projectId,
          image_id: imageId,
          meter,
          quantity_bytes: quantityBytes,
          opened_at: at,
          closed_at: at,
        })
        .execute();
      return;
    }
    case 'usage.voided':
      return expectOne(event, await openRecord().set({ voided_at: at }).executeTakeFirst(), 'the open usage record');
    case 'usage.closed':
      return expectOne(event, await openRecord().set({ closed_at: at }).executeTakeFirst(), 'the open usage record');
    default:
      event satisfies never;
  }
}

function withoutNulls<T>(attributes: Record<string, T | null>): Record<string, T> {
  const kept: Record<string, T> = {};
  for (const [name, value] of Object.entries(attributes)) if (value !== null) kept[name] = value;
  return kept;
}
