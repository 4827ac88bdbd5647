import { connect } from '@ims/db';
import picocolors from 'picocolors';
import { output } from '../output';
import type { StackState } from '../stack/data-directory';

/** What happened in a job: its attempts, and its events with those of the image it made, as the log has them. */
export async function tellStory(state: StackState, jobId: string, imageId?: string): Promise<void> {
  const db = connect(state.databaseUrl, { poolSize: 1 });
  try {
    const attempts = await db
      .selectFrom('step_attempt')
      .select(['step', 'attempt', 'started_at', 'ended_at', 'outcome'])
      .where('job_id', '=', jobId)
      .orderBy('id')
      .execute();
    output.data(picocolors.bold('  step          attempt  took'));
    for (const { step: name, attempt, started_at, ended_at, outcome } of attempts) {
      const took = ended_at === null ? 'running' : `${ended_at.getTime() - started_at.getTime()} ms`;
      output.data(
        `  ${name.padEnd(13)} ${String(attempt).padEnd(8)} ${took}${outcome === 'completed' ? '' : ` ${outcome}`}`,
      );
    }
    const events = await db
      .selectFrom('event')
      .select(['stream_id', 'stream_position', 'type', 'step', 'occurred_at', 'hash'])
      .where((where) =>
        where.or([
          where('job_id', '=', jobId),
          ...(imageId === undefined ? [] : [where('stream_id', '=', `image:${imageId}`)]),
        ]),
      )
      .orderBy('transaction_id')
      .orderBy('global_position')
      .execute();
    output.data(
      picocolors.bold(
        '\n  time (UTC)    event                        step         stream and position            hash chain',
      ),
    );
    for (const event of events) {
      const [time, type, at] = [
        event.occurred_at.toISOString().slice(11, 23),
        event.type.padEnd(28),
        (event.step ?? '').padEnd(12),
      ];
      const place = `${shorten(event.stream_id)} #${event.stream_position}`;
      output.data(`  ${time}  ${type} ${at} ${place.padEnd(30)} ${event.hash.toString('hex').slice(0, 16)}…`);
    }
  } finally {
    await db.destroy();
  }
}

const shorten = (streamId: string): string => streamId.replace(/([0-9a-f]{6})[0-9a-f-]{20,}/, '$1…');
