import { Command, Option } from 'commander';
import Table from 'cli-table3';
import { QUOTA_RESOURCES, type QuotaAnswer, quotaAnswer } from '@ims/contract';
import { GatewayClient } from '../gateway-client';
import { output } from '../output';
import { positive } from './jobs';

interface Target {
  data?: string;
  output: 'table' | 'json';
}

const PATH = '/v1/cloudimages/quota';

function tell({ quotas }: QuotaAnswer, form: Target['output']): void {
  if (form === 'json') {
    output.data(JSON.stringify(quotas.resources, null, 2));
    return;
  }
  const table = new Table({ head: ['resource', 'used', 'limit'], style: { head: [], border: [] } });
  for (const { type, used, quota } of quotas.resources) table.push([type, used, quota]);
  output.data(table.toString());
}

async function show(target: Target): Promise<void> {
  tell(await (await GatewayClient.connect(target)).json(quotaAnswer, 'GET', PATH), target.output);
}

async function set(project: string, resource: string, limit: number, target: Target): Promise<void> {
  const gateway = await GatewayClient.connect({ ...target, asOperator: true });
  const body = { project_id: project, type: resource, quota: limit };
  tell(await gateway.json(quotaAnswer, 'PUT', PATH, { body }), target.output);
}

const withTarget = (command: Command): Command =>
  command
    .addOption(new Option('--data <dir>', 'directory of the instance; else the environment says which service'))
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table'));

/** The commands about what a project may have. */
export function quotaCommand(): Command {
  const quota = new Command('quota').description('what a project may have, and what it has');
  quota.addCommand(withTarget(new Command('show').description('of the caller’s project')).action(show));
  quota.addCommand(
    withTarget(new Command('set').description('raise or lower a limit, as the operator of the platform'))
      .argument('<project>', 'id of the project')
      .argument('<resource>', QUOTA_RESOURCES.join(' or '))
      .argument('<limit>', 'how many it may have', positive)
      .action(set),
  );
  return quota;
}
