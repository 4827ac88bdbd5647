import { usageList } from '@ims/contract';
import { output } from '../output';
import type { DemoClient } from './demo-client';
import { heading } from './show';

/** What all of it costs, and why. */
export async function showCost(client: DemoClient): Promise<void> {
  heading('What it costs, line by line');
  const answer = await client.call('GET', `/v1/${client.state.projectId}/usage`);
  for (const { meter, amount, currency, explanation } of usageList.parse(await answer.json()).usage)
    output.data(`  ${meter.padEnd(20)} ${amount === null ? '' : `${amount} ${currency ?? ''}`}  ${explanation}`);
}
