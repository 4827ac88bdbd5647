import { isProcessAlive } from '@ims/embedded';
import picocolors from 'picocolors';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { output } from '../output';
import { type DataDirectory, type StackState } from '../stack/data-directory';
import { regionDirectories } from '../stack/regions';

export type StatusFormat = 'table' | 'json' | 'env';
export const STATUS_FORMATS = ['table', 'json', 'env'] as const satisfies readonly StatusFormat[];

/**
 * `ims status`: what runs, where, and with which credentials, of every region below the directory; as variables, of the first one. Fails with exit code 8
 * when one does not serve.
 */
export async function status(options: { data: string; output: StatusFormat }): Promise<void> {
  const directories = await regionDirectories(options.data);
  const found: (StackState & { ready: boolean })[] = [];
  for (const directory of directories) {
    const state = await runningIn(directory);
    found.push({ ...state, ready: await isReady(state.apiUrl) });
  }
  const [first] = found;
  switch (options.output) {
    case 'json':
      output.data(JSON.stringify(found.length === 1 ? first : { regions: found }, null, 2));
      break;
    case 'env':
      if (first === undefined) break;
      for (const [name, value] of Object.entries(asVariables(first))) output.data(`export ${name}='${value}'`);
      break;
    case 'table':
      for (const state of found) printTable(state, state.ready);
      break;
    default:
      options.output satisfies never;
  }
  for (const state of found) if (!state.ready) throw notReady(state);
}

const notReady = (state: StackState): CliError =>
  new CliError(
    `the gateway at ${state.apiUrl} is not ready`,
    `Look into it with "npm run ims -- logs gateway --data ${state.dataDir}".`,
    EXIT.unreachable,
  );

async function runningIn(directory: DataDirectory): Promise<StackState> {
  const state = await directory.readState();
  const supervisor = await directory.livingSupervisor();
  if (state && supervisor !== undefined) return state;
  throw new CliError(
    `no service runs in ${directory.path}${state ? ' (its supervisor died)' : ''}`,
    `Start it with "npm run ims -- up --data ${directory.path}".`,
    EXIT.unreachable,
  );
}

/** Names as the OpenStack and vendor clients read them, and ours. */
function asVariables(state: StackState): Record<string, string> {
  return {
    IMS_ENDPOINT: state.apiUrl,
    IMS_REGION: state.region,
    IMS_PROJECT_ID: state.projectId,
    IMS_TEMPORAL_UI_URL: state.temporalUiUrl,
    IMS_BUCKET_DIR: state.bucketDir,
    HUAWEICLOUD_SDK_AK: state.access,
    HUAWEICLOUD_SDK_SK: state.secret,
    OS_AUTH_URL: `${state.apiUrl}/v3`,
    OS_IDENTITY_API_VERSION: '3',
    OS_REGION_NAME: state.region,
    OS_PROJECT_ID: state.projectId,
    OS_USER_DOMAIN_NAME: state.accountName,
    OS_USERNAME: state.userName,
    OS_PASSWORD: state.userPassword,
  };
}

function printTable(state: StackState, ready: boolean): void {
  output.facts([
    ['API', `${state.apiUrl} ${ready ? picocolors.green('ready') : picocolors.red('not ready')}`],
    ['Temporal UI', state.temporalUiUrl],
    ['Region', state.region],
    ['Project id', state.projectId],
    ['Access key', state.access],
    ['Data', state.dataDir],
    ['Since', state.startedAt],
    ['supervisor', `process ${state.supervisorPid}`],
    ...Object.entries(state.services).map(([name, { pid, restarts }]): [string, string] => {
      const alive = isProcessAlive(pid) ? `process ${pid}` : picocolors.red('restarting');
      return [name, restarts === 0 ? alive : `${alive}, restarted ${restarts} times`];
    }),
  ]);
}

async function isReady(apiUrl: string): Promise<boolean> {
  return fetch(`${apiUrl}/readyz`, { signal: AbortSignal.timeout(5_000) }).then(
    (answer) => answer.ok,
    () => false,
  );
}
