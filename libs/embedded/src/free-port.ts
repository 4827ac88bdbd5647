import getPort from 'get-port';
import { createServer } from 'node:net';

const LOOPBACK = '127.0.0.1';

/** A loopback port that is free now; the given one when it is free. */
export function freePort(preferred?: number): Promise<number> {
  return getPort({ host: LOOPBACK, ...(preferred === undefined ? {} : { port: preferred }) });
}

/** True when nothing listens on the loopback port. */
export async function isPortFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: LOOPBACK, port }, resolve);
    });
    return true;
  } catch {
    // Whatever the reason (in use, privileged, out of range), a server of ours could not bind it either.
    return false;
  } finally {
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
  }
}
