import { request } from 'node:http';
import { jestWorker, testServersSocket } from './config';

/** What a test may ask the servers of its run for. */
export interface ServerAnswers {
  postgres: { adminUrl: string; template: string; ownerPassword: string; servicePassword: string };
  temporal: { address: string; namespace: string };
  bundle: { path: string };
  files: { path: string };
}

export type ServerName = keyof ServerAnswers;

export const SERVER_NAMES = ['postgres', 'temporal', 'bundle', 'files'] as const satisfies readonly ServerName[];

/** Asks the process that owns the servers; the first one to ask waits for the start. Tells which Jest worker asks: some servers are its own. */
export async function askForServer<N extends ServerName>(name: N): Promise<ServerAnswers[N]> {
  const { status, text } = await get(testServersSocket(), `/${name}?worker=${jestWorker()}`);
  if (status !== 200) throw new Error(`test server ${name}: ${text}`);
  // The other end is `TestServers` of this very package, built from the same sources.
  return JSON.parse(text) as ServerAnswers[N];
}

function get(socketPath: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    // A connection of its own, so that nothing stays open when the test file is done.
    request({ socketPath, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    })
      .on('error', reject)
      .end();
  });
}
