import { isDeepStrictEqual } from 'node:util';
import type { Database } from '@ims/db';
import { evolveImage, evolveJob, evolveQuota, evolveRecycleBin, type PastEvent } from '@ims/domain';
import { readSealed, sealVisible, typedEvent } from '@ims/event-log';
import type { Kysely, Selectable } from 'kysely';

type Db = Kysely<Database>;
type Row<T extends keyof Database> = Selectable<Database[T]>;

const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** Jobs, images and quotas as the tables of a schema have them, each under the stream that it is made of, as its fold should be. */
export async function rowStates(db: Db): Promise<Map<string, unknown>> {
  const states = new Map<string, unknown>();
  const steps = Map.groupBy(await db.selectFrom('job_step').selectAll().execute(), ({ job_id }) => job_id);
  for (const job of await db.selectFrom('job').selectAll().execute())
    states.set(`job:${job.id}`, json({ ...job, step_states: stepsOf(steps.get(job.id) ?? []) }));
  const parts = Map.groupBy(await db.selectFrom('image_part').selectAll().execute(), ({ image_id }) => image_id);
  const members = Map.groupBy(await db.selectFrom('image_member').selectAll().execute(), ({ image_id }) => image_id);
  for (const { tag_terms: _derived, ...image } of await db.selectFrom('image').selectAll().execute())
    states.set(
      `image:${image.id}`,
      json({ ...image, parts: partsOf(parts.get(image.id) ?? []), members: membersOf(members.get(image.id) ?? []) }),
    );
  for (const quota of await db.selectFrom('quota').selectAll().execute())
    states.set(`quota:${quota.project_id}:${quota.resource}`, json(quota));
  for (const bin of await db.selectFrom('recycle_bin').selectAll().execute())
    states.set(`recycle-bin:${bin.project_id}`, json(bin));
  return states;
}

const stepsOf = (rows: Row<'job_step'>[]) =>
  Object.fromEntries(rows.map(({ job_id: _job, step, ...state }) => [step, state]));
const partsOf = (rows: Row<'image_part'>[]) =>
  Object.fromEntries(rows.map(({ image_id: _image, part, ...disk }) => [part, disk]));

const membersOf = (rows: Row<'image_member'>[]) =>
  Object.fromEntries(rows.map(({ image_id: _image, member_id, ...member }) => [member_id, member]));

/** Streams folded one event at a time. */
export class Folds {
  readonly #states = new Map<string, unknown>();
  readonly #steps = new Map<string, (event: PastEvent) => unknown>();

  /** Applies an event to the state of its stream; `undefined` for streams that have none. */
  apply(event: PastEvent): unknown {
    const { streamId } = event;
    const step = this.#steps.get(streamId) ?? stepOf(streamId);
    if (step === undefined) return undefined;
    this.#steps.set(streamId, step);
    const state = json(step(event) ?? null);
    this.#states.set(streamId, state);
    return state;
  }

  get states(): ReadonlyMap<string, unknown> {
    return this.#states;
  }
}

function stepOf(streamId: string): ((event: PastEvent) => unknown) | undefined {
  const folding = <State>(evolve: (before: State | undefined, event: PastEvent) => State | undefined) => {
    let state: State | undefined;
    return (event: PastEvent) => (state = evolve(state, event));
  };
  if (streamId.startsWith('job:')) return folding(evolveJob);
  if (streamId.startsWith('image:')) return folding(evolveImage);
  if (streamId.startsWith('quota:')) return folding(evolveQuota);
  if (streamId.startsWith('recycle-bin:')) return folding(evolveRecycleBin);
  return undefined;
}

// A transaction of whoever else uses the server holds the order back for a moment.
const SEAL_DEADLINE_MS = 30_000;

/**
 * Whatever is wrong with the trail of a region in which nothing runs any more: every event is sealed, numbers are dense, order agrees with the log's
 * (G3), and every job, image and quota is what its events say (G12).
 */
export async function trailViolations(db: Db): Promise<string[]> {
  const found: string[] = [];
  if (!(await sealVisible(db, SEAL_DEADLINE_MS))) found.push('trail: events are not sealed');
  const log = await db
    .selectFrom('event')
    .select(['event_id', 'project_id'])
    .orderBy('transaction_id')
    .orderBy('global_position')
    .execute();
  const folds = new Folds();
  for (const [projectId, rows] of Map.groupBy(log, ({ project_id }) => project_id)) {
    const sealed = await readSealed(db, { projectId });
    if (sealed.some(({ logIndex }, place) => logIndex !== place))
      found.push(`trail of ${projectId}: numbers are not dense`);
    const ids = sealed.map(({ eventId }) => eventId);
    if (
      !isDeepStrictEqual(
        ids,
        rows.map(({ event_id }) => event_id),
      )
    )
      found.push(`trail of ${projectId}: it is not the log`);
    for (const event of sealed) folds.apply(typedEvent(event));
  }
  const rows = await rowStates(db);
  for (const stream of new Set([...rows.keys(), ...folds.states.keys()])) {
    if (isDeepStrictEqual(rows.get(stream), folds.states.get(stream))) continue;
    found.push(
      `trail: ${stream} is ${JSON.stringify(rows.get(stream))}, its events say ${JSON.stringify(folds.states.get(stream))}`,
    );
  }
  return found;
}
