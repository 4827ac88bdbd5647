import { PeerServer, Receives, Replications } from '@ims/peer';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { GatewayParts } from '../app-parts';
import { factsOf } from '../http/request';
import { ImageDeleteService } from '../images/image-delete.service';
import { EngineCalls } from '../jobs/engine-calls';

/**
 * Opens the port for gateways of other regions, beside the routes of tenants: not in the published document, not behind their guard. A gateway without
 * peers has none, and answers as to any unknown path.
 */
export function openPeerPort(app: NestFastifyApplication, parts: GatewayParts): void {
  const { config, db, clock, cloud, store, logger } = parts;
  if (config.peers.size === 0) return;
  const engine = app.get(EngineCalls);
  const deletions = app.get(ImageDeleteService);
  const server = new PeerServer({
    region: config.region,
    peers: config.peers,
    clock,
    receives: new Receives({
      db,
      clock,
      region: config.region,
      agencies: config.agencies,
      starter: { startNow: (id) => engine.start(id), cancel: (id) => engine.cancel(id) },
      backups: cloud.backups,
      deleteImage: (projectId, imageId) => deletions.removeUnwanted(projectId, imageId),
    }),
    replications: new Replications({ db, store }),
    onTrouble: (error) => logger.error({ error: String(error) }, 'a request of another region failed'),
  });
  const instance = app.getHttpAdapter().getInstance();
  instance.all('/peer/v1/*', async (request, reply) => {
    const { rawPath, rawQuery, rawBody } = factsOf(request);
    const { status, headers, body } = await server.answer({
      method: request.method,
      target: rawQuery === '' ? rawPath : `${rawPath}?${rawQuery}`,
      headers: request.headers,
      body: rawBody,
    });
    return reply.status(status).headers(headers).send(body);
  });
}
