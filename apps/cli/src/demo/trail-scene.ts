import { tracesAnswer } from '@ims/contract';
import { output } from '../output';
import type { DemoClient } from './demo-client';
import { heading } from './show';

// The largest page that the service gives (cts-api 2.1).
const TRACES = 200;

/** The trail as clients of the vendor's trace service see it: each operation and its result. */
export async function showTrail(client: DemoClient): Promise<void> {
  heading('The audit trail, as huaweicloudsdkcts lists it');
  const answer = await client.call('GET', `/v3/${client.state.projectId}/traces?trace_type=system&limit=${TRACES}`);
  const { traces } = tracesAnswer.parse(await answer.json());
  for (const { time, trace_name, trace_type, trace_rating, service_type, operation_id, user } of traces.toReversed())
    output.data(
      `  ${new Date(time).toISOString().slice(11, 23)}  ${trace_name.padEnd(16)} ${trace_type.padEnd(12)} ${trace_rating.padEnd(8)} ${service_type.padEnd(4)} job ${operation_id ?? '-'}  ${user?.name ?? ''}`,
    );
}
