import { Authenticator, parseRootKey } from '@ims/access';
import { RateCard } from '@ims/billing';
import { createBuckets } from '@ims/buckets';
import { connect, systemClock } from '@ims/db';
import { createImageStore } from '@ims/image-store';
import { openEmbeddedCloud, storedImages } from '@ims/neighbours';
import { JobStarter, Temporal } from '@ims/job-engine';
import { createPeers } from '@ims/peer';
import { domainDataKeys, EmbeddedKeys } from '@ims/keys';
import { createStagedFiles } from '@ims/staging';
import { readCatalogue } from './catalogue/catalogue-file';
import { CatalogueService } from './catalogue/catalogue.service';
import { GatewayConfig } from './config';
import { createGateway } from './gateway';
import { HealthService } from './health/health.service';
import { createLogger } from './logging/logger';

// Connections to Postgres of one gateway: enough for some hundred requests at once, few enough that ten gateways fit into a server's usual limit.
const POOL_SIZE = 20;
// The gateway reads; decoding a download is the work of one thread, a second keeps another reader from waiting.
const READER_THREADS = 2;
// Requests under way get this long at the end; supervisors kill after 30 s.
const DRAIN_DEADLINE_MS = 20_000;

async function main(): Promise<void> {
  const config = GatewayConfig.fromEnvironment();
  const logger = createLogger(config.logLevel);
  // A card or a catalogue that cannot be used ends the start: nobody wants to find out at the end of the month.
  const rateCard = config.rateCardFile === undefined ? undefined : await RateCard.read(config.rateCardFile);
  const catalogue = config.catalogue === undefined ? undefined : await readCatalogue(config.catalogue.file);
  const db = connect(config.databaseUrl, { poolSize: POOL_SIZE });
  const temporal = new Temporal(config.temporal);
  const rootKey = parseRootKey(config.rootKey);
  const keys = new EmbeddedKeys({ db, rootKey, clock: systemClock });
  const store = createImageStore({
    db,
    directory: config.storeDirectory,
    threads: READER_THREADS,
    dataKeys: domainDataKeys(keys, config.region),
  });
  const cloud = await openEmbeddedCloud({
    db,
    directory: config.cloudDirectory,
    images: storedImages(store),
    qemu: false,
  });
  const staged = createStagedFiles({
    db,
    databaseUrl: config.databaseUrl,
    ...config.staging,
    clock: systemClock,
  });
  const app = await createGateway({
    config,
    db,
    authenticator: new Authenticator({
      db,
      rootKey,
      clock: systemClock,
      region: config.region,
    }),
    store,
    cloud,
    staged,
    buckets: config.buckets === undefined ? null : createBuckets(config.buckets),
    keys,
    jobs: new JobStarter(db, temporal, systemClock, logger),
    peers: createPeers(config.region, config.peers, systemClock),
    rateCard,
    clock: systemClock,
    logger,
  });

  let isStopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    logger.info({ signal }, 'gateway stopping');
    app.get(HealthService).drain();
    // A download may last hours; its client resumes by range from another gateway.
    const deadline = setTimeout(() => {
      logger.warn('requests still under way are cut off');
      process.exit(0);
    }, DRAIN_DEADLINE_MS);
    await app.close();
    await cloud.close();
    await staged.close();
    await Promise.allSettled([store.close(), temporal.close()]);
    await db.destroy();
    clearTimeout(deadline);
    logger.info('gateway stopped');
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      stop(signal).catch((error: unknown) => {
        logger.error({ error }, 'gateway did not stop cleanly');
        process.exit(1);
      });
    });
  }

  if (catalogue !== undefined) {
    const { entries } = await app.get(CatalogueService).loadAtStart(catalogue, config.catalogue);
    const changed = entries.filter(({ change }) => change !== 'unchanged');
    logger.info({ images: entries.length, changed: changed.length }, 'catalogue loaded');
  }
  await app.listen({ host: config.host, port: config.port });
  logger.info({ address: await app.getUrl(), region: config.region }, 'gateway ready');
}

main().catch((error: unknown) => {
  process.stderr.write(`gateway failed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
