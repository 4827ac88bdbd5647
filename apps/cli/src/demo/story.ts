import { trailEventsAnswer } from '@ims/contract';
import picocolors from 'picocolors';
import { output } from '../output';
import type { DemoClient } from './demo-client';

// A job of the demo has a few dozen.
const EVENTS = 1000;

/** What is recorded about a job, of itself and of what it made and used, in the order of the trail. */
export async function tellStory(client: DemoClient, jobId: string): Promise<void> {
  const answer = await client.call('GET', `/v1/${client.state.projectId}/events?job_id=${jobId}&limit=${EVENTS}`);
  const { events } = trailEventsAnswer.parse(await answer.json());
  output.data(
    picocolors.bold(
      '\n  index  time (UTC)    event                            step           stream and position       hash chain',
    ),
  );
  for (const { log_index, occurred_at, type, step, stream_id, stream_position, hash } of events) {
    const place = `${shorten(stream_id)} #${stream_position}`;
    output.data(
      `  ${String(log_index).padEnd(5)}  ${occurred_at.slice(11, 23)}  ${type.padEnd(32)} ${(step ?? '').padEnd(14)} ${place.padEnd(25)} ${hash.slice(0, 16)}…`,
    );
  }
}

const shorten = (streamId: string): string => streamId.replace(/([0-9a-f]{6})[0-9a-f-]{20,}/g, '$1…');
