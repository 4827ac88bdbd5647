import { WorkflowNotFoundError } from '@temporalio/client';
import { diskStepOfWorkflow, jobId as toJobId, jobStream, stepKey, TERMINAL_KEY, undoKey } from '@ims/contract';
import type { Database } from '@ims/db';
import { readStream } from '@ims/event-log';
import type { Kysely } from 'kysely';
import type { Temporal } from './temporal';

export interface Disagreement {
  jobId: string;
  what: string;
}

/** The activity that carries out each step and each undo, by the key of the event it leaves. */
const KEY_OF_ACTIVITY: ReadonlyMap<string, string> = new Map([
  ['fetchWebFile', stepKey('fetch')],
  ['dropFetched', undoKey('fetch')],
  ['inspectSource', stepKey('inspect')],
  ['makeCheckpoint', stepKey('checkpoint')],
  ['dropCheckpoint', undoKey('checkpoint')],
  ['quiesceServer', stepKey('quiesce')],
  ['joinDisks', stepKey('disks')],
  ['sealCheckpoint', stepKey('seal')],
  ['releaseMoment', stepKey('release-snapshots')],
  ['dropMoment', undoKey('quiesce')],
  ['dropDisks', undoKey('disks')],
  ['unsealCheckpoint', undoKey('seal')],
  ['claimBackup', stepKey('claim-backup')],
  ['releaseBackup', undoKey('claim-backup')],
  ['snapshotDisk', stepKey('snapshot')],
  ['releaseSnapshot', stepKey('release-snapshot')],
  ['deriveDisk', stepKey('derive-disk')],
  ['discardDerivation', undoKey('derive-disk')],
  ['dropSnapshot', undoKey('snapshot')],
  ['ingestDisk', stepKey('ingest')],
  ['copyImageDisk', stepKey('copy-disk')],
  ['discardCopy', undoKey('copy-disk')],
  ['verifyDisk', stepKey('verify')],
  ['identifyOs', stepKey('identify-os')],
  ['publishImage', stepKey('publish')],
  ['openUsage', stepKey('meter')],
  ['discardIngest', undoKey('ingest')],
  ['withdrawImage', undoKey('publish')],
  ['voidUsage', undoKey('meter')],
  ['releaseOrigin', stepKey('release-origin')],
  ['dropStaged', stepKey('drop-staged')],
  ['letGo', undoKey('release-origin')],
  ['collectStore', stepKey('collect')],
  ['auditStore', stepKey('audit')],
  ['awaitSubJobs', stepKey('sub-jobs')],
  ['endSubJobs', undoKey('sub-jobs')],
  ['checkImages', stepKey('check-image')],
  ['exportImage', stepKey('export')],
  ['withdrawExport', undoKey('export')],
  ['checkExport', stepKey('check-object')],
  ['withdrawChecksum', undoKey('check-object')],
  ['releaseExport', stepKey('release-image')],
  ['createVolumes', stepKey('create-volumes')],
  ['createServers', stepKey('create-servers')],
  ['startServers', stepKey('start')],
  ['bootCheckImage', stepKey('boot-check')],
  ['bootCheckServers', stepKey('boot-check')],
  ['releaseImages', stepKey('release-image')],
  ['changeCloud', stepKey('change')],
  ['dropImageHolds', undoKey('check-image')],
  ['deleteVolumes', undoKey('create-volumes')],
  ['deleteServers', undoKey('create-servers')],
  ['stopServers', undoKey('start')],
  ['holdReplicated', stepKey('check-image')],
  ['dropReplicatedHolds', undoKey('check-image')],
  ['requestReceive', stepKey('request-receive')],
  ['cancelReceive', undoKey('request-receive')],
  ['awaitReceive', stepKey('await-receive')],
  ['releaseReplicated', stepKey('release-image')],
  ['receiveDisks', stepKey('receive')],
  ['discardReceived', undoKey('receive')],
  ['recordBackup', stepKey('record-backup')],
  ['dropReplicaBackup', undoKey('record-backup')],
  ['concludeJob', TERMINAL_KEY],
]);

const OUTCOME_OF_STATUS: ReadonlyMap<string, readonly string[]> = new Map([
  ['COMPLETED', ['succeeded']],
  ['FAILED', ['failed', 'cancelled']],
  ['CANCELLED', ['cancelled']],
]);

/**
 * For every job that has ended, the engine's history and the event stream must tell the same story: each completed step activity has exactly one
 * event, in the same order, and both end alike (temporal-notes 12.9). Returns what disagrees; nothing in a healthy system.
 */
export async function checkJobs(db: Kysely<Database>, temporal: Temporal): Promise<Disagreement[]> {
  const jobs = await db.selectFrom('job').select(['id', 'outcome', 'epoch']).orderBy('begin_at').execute();
  const found: Disagreement[] = [];
  for (const job of jobs) {
    const say = (what: string): number => found.push({ jobId: job.id, what });
    const events = await readStream(db, jobStream(toJobId(job.id)));
    const terminal = events.filter((event) => event.eventKey === TERMINAL_KEY);
    if (job.outcome === null) {
      // A job may end between the two looks; the row is looked at last then, and both were written at once.
      if (terminal.length > 0 && (await isOpen(db, job.id))) say('the stream has ended, the job has not');
      continue;
    }
    if (terminal.length !== 1) say(`${terminal.length} terminal events`);

    const history = await historyOf(temporal, job.id);
    // The engine lost its history: the stream alone is the story then.
    if (history === undefined) continue;

    const keys = events.map((event) => event.eventKey);
    const completed = history.completed.flatMap((name) => KEY_OF_ACTIVITY.get(name) ?? []);
    const children = history.children.flatMap((id) => diskStepOfWorkflow(id) ?? []).map(stepKey);
    for (const key of new Set([...completed, ...children])) {
      const times = keys.filter((each) => each === key).length;
      // An undo that found its job ended already leaves no event; everything else leaves exactly one.
      if (times !== 1 && !key.startsWith('undo:')) say(`${key}: completed in the engine, ${times} events`);
    }
    // Children go on side by side: their events have no order among themselves.
    const inStream = completed.filter((key) => keys.includes(key));
    const order = [...inStream].sort((a, b) => keys.indexOf(a) - keys.indexOf(b));
    if (inStream.join() !== order.join()) say(`order differs: engine ${inStream.join()}, stream ${order.join()}`);
    // A saga that had to ask how its job ended lost the report of a step that is recorded.
    if (job.outcome === 'succeeded' && !completed.includes(TERMINAL_KEY)) {
      for (const key of keys.filter((each) => each.startsWith('step:'))) {
        if (!completed.includes(key) && !children.includes(key))
          say(`${key}: in the stream, not completed in the engine`);
      }
    }
    if (!OUTCOME_OF_STATUS.get(history.status)?.includes(job.outcome)) {
      say(`the engine says ${history.status}, the job ${job.outcome}`);
    }
  }
  return found;
}

async function isOpen(db: Kysely<Database>, jobId: string): Promise<boolean> {
  const job = await db.selectFrom('job').select('outcome').where('id', '=', jobId).executeTakeFirst();
  return job?.outcome === null;
}

async function historyOf(temporal: Temporal, workflowId: string) {
  const handle = temporal.client.workflow.getHandle(workflowId);
  try {
    const { status } = await handle.describe();
    const { events } = await handle.fetchHistory();
    const scheduled = new Map<string, string>();
    const completed: string[] = [];
    const children: string[] = [];
    for (const event of events ?? []) {
      const name = event.activityTaskScheduledEventAttributes?.activityType?.name;
      if (name != null) scheduled.set(String(event.eventId), name);
      const by = event.activityTaskCompletedEventAttributes?.scheduledEventId;
      if (by != null) completed.push(scheduled.get(String(by)) ?? 'unknown');
      const child = event.childWorkflowExecutionCompletedEventAttributes?.workflowExecution?.workflowId;
      if (child != null) children.push(child);
    }
    return { status: status.name, completed, children };
  } catch (err) {
    if (err instanceof WorkflowNotFoundError) return undefined;
    throw err;
  }
}
