import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { imageAttributes, imageId, jobId, type JobId, type ReplicateImageRequest, SYSTEM } from '@ims/contract';
import { inTransaction, OutboxRepository, systemClock } from '@ims/db';
import { decideReplicateImage } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { jobOutbox } from '@ims/job-engine';
import { findReplicableImage } from '@ims/neighbours';
import {
  createPeers,
  parseAgencies,
  type Peer,
  type PeerAddress,
  PeerServer,
  receiveJobId,
  Receives,
  Replications,
} from '@ims/peer';
import { CuttableLink } from './cuttable-link';
import type { SagaUnderTest } from './saga-laws/describe-saga-laws';
import { submitDeletion } from './service-sagas';
import { sagaOf, TestCell } from './test-cell';

const ACCOUNT = 'acme';

/** Two regions in one test process, each with everything of its own but the engine, joined by the peer port over lines that can be cut. */
export class TestRegions {
  private constructor(
    /** Where images are sent from. */
    readonly here: TestCell,
    readonly there: TestCell,
    /** What `here` says to `there`. */
    readonly toThere: CuttableLink,
    /** What `there` says to `here`: it fetches what it is sent. */
    readonly toHere: CuttableLink,
    private readonly servers: Server[],
    private readonly secret: string,
  ) {}

  static async start(): Promise<TestRegions> {
    const names = { here: `h${randomBytes(4).toString('hex')}`, there: `t${randomBytes(4).toString('hex')}` };
    const secret = randomBytes(32).toString('hex');
    const [hereServer, thereServer] = [createServer(), createServer()];
    const [toHere, toThere] = [await linkTo(hereServer), await linkTo(thereServer)];
    const addresses = {
      here: new Map([[names.there, { url: toThere.url, secret }]]),
      there: new Map([[names.here, { url: toHere.url, secret }]]),
    };
    const here = await TestCell.start({ region: names.here, peers: addresses.here });
    const there = await TestCell.start({ region: names.there, peers: addresses.there });
    for (const [cell, server, peers] of [
      [here, hereServer, addresses.here],
      [there, thereServer, addresses.there],
    ] as const) {
      await seedAccount(cell);
      const port = peerServerOf(cell, peers);
      server.on('request', (request, response) => void serve(port, request, response));
    }
    return new TestRegions(here, there, toThere, toHere, [hereServer, thereServer], secret);
  }

  /** Accepts a copy of an image to the other region as the gateway does. */
  async submitReplication(
    image: string,
    options: { before?: (id: JobId) => void; request?: Partial<ReplicateImageRequest> } = {},
  ): Promise<{ jobId: JobId; imageId: string; receiveJobId: JobId }> {
    const { here, there } = this;
    const id = jobId(randomBytes(16).toString('hex'));
    const replicaId = imageId(randomUUID());
    options.before?.(id);
    const outboxId = await inTransaction(here.db, async (trx) => {
      const found = await findReplicableImage(trx, here.cloud.backups, here.projectId, image);
      const { events, input } = decideReplicateImage(
        {
          image: found?.image,
          regions: [there.region],
          agencies: parseAgencies(undefined),
          running: { ofTenant: 0, ofImage: 0 },
        },
        {
          projectId: here.projectId,
          jobId: id,
          replicaId,
          region: here.region,
          accountName: ACCOUNT,
          request: {
            name: 'replica',
            region: there.region,
            project_name: there.region,
            agency_name: 'ims_copy_agency',
            ...options.request,
          },
        },
      );
      await appendEvents(trx, { projectId: here.projectId, actor: SYSTEM, jobId: id }, events);
      return new OutboxRepository(trx).add(
        jobOutbox({ type: 'imageReplicate', input, summary: 'Copy image to another region' }, here.region),
      );
    });
    await here.starter.startNow(outboxId);
    return { jobId: id, imageId: replicaId, receiveJobId: this.receiveJobOf(id) };
  }

  /** The other region as the sending one asks it. */
  get thereAsSeenFromHere(): Peer {
    const { here, there, toThere, secret } = this;
    const addresses = new Map([[there.region, { url: toThere.url, secret }]]);
    return createPeers(here.region, addresses, systemClock).to(there.region);
  }

  receiveJobOf(id: JobId): JobId {
    return receiveJobId({ from: this.here.region, to: this.there.region, jobId: id });
  }

  async stop(): Promise<void> {
    await this.here.stop();
    await this.there.stop();
    for (const link of [this.toHere, this.toThere]) await link.close();
    for (const server of this.servers) {
      server.closeAllConnections();
      server.close();
    }
  }
}

/** The sending side of the copy, which succeeds and fails as a whole: of what failed here nothing is left there. */
export function replicationSagaOf(regions: TestRegions, image: string): SagaUnderTest {
  const { here, there } = regions;
  const copies = new Map<string, { imageId: string; receiveJobId: JobId }>();
  const saga = sagaOf(here, async (before) => {
    const copy = await regions.submitReplication(image, { before });
    copies.set(copy.jobId, copy);
    return copy;
  });
  return {
    ...saga,
    cleanSlate: async (id, outcome) => {
      await here.checkJob(id, outcome);
      const copy = copies.get(id);
      if (copy === undefined) throw new Error(`job ${id} was not submitted here`);
      const rows = await there.db.selectFrom('image').selectAll().where('id', '=', copy.imageId).execute();
      const live = rows.filter(({ deleted_at }) => deleted_at === null);
      expect(live.map(({ status }) => status)).toEqual(outcome === 'succeeded' ? ['active'] : []);
      const [received] = await there.db
        .selectFrom('job')
        .select('outcome')
        .where('id', '=', copy.receiveJobId)
        .execute();
      // Nothing of it goes on there once it has ended here.
      expect(received?.outcome).not.toBeNull();
    },
    cleanSystem: async () => {
      await here.checkSystem();
      await there.checkSystem();
    },
  };
}

/** The receiving side of it: faults are planned for its job alone. */
export function receiveSagaOf(regions: TestRegions, image: string): SagaUnderTest {
  const { here, there } = regions;
  const sent = new Map<string, JobId>();
  const saga = sagaOf(there, async (before) => {
    const copy = await regions.submitReplication(image, { before: (id) => before(regions.receiveJobOf(id)) });
    sent.set(copy.receiveJobId, copy.jobId);
    return { jobId: copy.receiveJobId };
  });
  return {
    ...saga,
    cancelInEngine: async (id) => {
      // Its job may have been asked for and not begun.
      await there.temporal.client.workflow.getHandle(id).cancel();
    },
    cleanSlate: async (id, outcome) => {
      await there.checkJob(id, outcome);
      const sender = sent.get(id);
      if (sender === undefined) throw new Error(`job ${id} was not submitted here`);
      // Who sends learns what became of it.
      expect(await here.settle(sender)).toBe(outcome === 'succeeded' ? 'succeeded' : 'failed');
      await here.checkJob(sender, outcome === 'succeeded' ? 'succeeded' : 'failed');
    },
    cleanSystem: async () => {
      await here.checkSystem();
      await there.checkSystem();
    },
  };
}

async function linkTo(server: Server): Promise<CuttableLink> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen');
  return CuttableLink.open({ host: '127.0.0.1', port: address.port });
}

/** An account that both regions know by its name, with a project in each. */
async function seedAccount(cell: TestCell): Promise<void> {
  const id = randomBytes(16).toString('hex');
  await cell.db.insertInto('account').values({ id, name: ACCOUNT }).execute();
  await cell.db.insertInto('project').values({ id: cell.projectId, account_id: id, name: cell.region }).execute();
}

/** The peer port of a cell, which has no gateway. */
function peerServerOf(cell: TestCell, peers: ReadonlyMap<string, PeerAddress>): PeerServer {
  const { db, region, starter, store } = cell;
  return new PeerServer({
    region,
    peers,
    clock: systemClock,
    receives: new Receives({
      db,
      clock: systemClock,
      region,
      agencies: parseAgencies(undefined),
      starter,
      backups: cell.cloud.backups,
      deleteImage: async (_, id) => {
        const row = await db.selectFrom('image').selectAll().where('id', '=', id).executeTakeFirst();
        if (row?.deleted_at !== null) return;
        const { __backup_id: backupId } = imageAttributes.parse(row.attributes);
        await submitDeletion(cell, {
          imageId: id,
          isForced: true,
          ...(typeof backupId === 'string' ? { backupId, isBackupDeleted: true } : {}),
        });
      },
    }),
    replications: new Replications({ db, store }),
    onTrouble: () => undefined,
  });
}

async function serve(port: PeerServer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of request) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
    const { status, headers, body } = await port.answer({
      method: request.method ?? '',
      target: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks),
    });
    response.writeHead(status, { ...headers, 'content-length': body.length }).end(body);
  } catch {
    // The line was cut in the middle of the request: there is nobody left to answer.
    response.destroy();
  }
}
