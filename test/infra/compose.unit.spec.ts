import { readConfig } from '@ims/worker';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

const INFRA = join(__dirname, '..', '..', 'infra');

const service = z.looseObject({
  image: z.string(),
  build: z.looseObject({ context: z.string(), dockerfile: z.string() }).optional(),
  restart: z.string(),
  environment: z.record(z.string(), z.string()).default({}),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  healthcheck: z.looseObject({ test: z.array(z.string()).min(2) }).optional(),
});
const compose = z
  .object({ name: z.string(), services: z.record(z.string(), service), volumes: z.record(z.string(), z.unknown()) })
  .loose()
  .parse(parse(readFileSync(join(INFRA, 'compose.yaml'), 'utf8'), { merge: true }));
const services = Object.entries(compose.services);

/** A command that ends by itself, as opposed to a server. */
const runsOnce = (name: string): boolean => compose.services[name]?.restart === 'no';

/** What compose puts in place of `${NAME:?why}` and `${NAME:-default}`. */
function substitute(text: string, values: Record<string, string>): string {
  return text.replace(/\$\{(\w+)(?::([?-])([^}]*))?\}/g, (_, name: string, kind: string | undefined, rest: string) => {
    const value = values[name] ?? (kind === '-' ? rest : undefined);
    if (value === undefined) throw new Error(`${name} has no value`);
    return value;
  });
}

function exampleEnvironment(): Record<string, string> {
  const lines = readFileSync(join(INFRA, 'compose.env.example'), 'utf8').split('\n');
  const pairs = lines.flatMap((line) => {
    const [, name, value = ''] = /^(\w+)=(.*)$/.exec(line) ?? [];
    return name === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(pairs);
}

describe('compose.yaml', () => {
  it.each(services)('pins the image of %s to an exact version', (_, { image }) => {
    expect(image).toMatch(/^[a-z0-9./-]+:\d+\.\d+(\.\d+)?(-[a-z]+)?$/);
  });

  it.each(services)('lets %s wait only for services that exist, in a state they can reach', (_, { depends_on }) => {
    for (const [name, { condition }] of Object.entries(depends_on)) {
      expect(compose.services).toHaveProperty([name]);
      expect(condition).toBe(runsOnce(name) ? 'service_completed_successfully' : 'service_healthy');
    }
  });

  it('has no circle of services that wait for each other', () => {
    const visit = (name: string, path: string[]): void => {
      expect(path).not.toContain(name);
      for (const next of Object.keys(compose.services[name]?.depends_on ?? {})) visit(next, [...path, name]);
    };
    for (const [name] of services) visit(name, []);
  });

  it.each(services.filter(([name]) => !runsOnce(name)))('checks the health of %s', (_, { healthcheck }) => {
    expect(healthcheck?.test[0]).toMatch(/^CMD(-SHELL)?$/);
  });

  it.each(services)(
    'gives %s no secret of its own: each comes from a variable that must be set',
    (_, { environment }) => {
      for (const [name, value] of Object.entries(environment)) {
        const isSecret = /PASSWORD|PWD|SECRET|_KEY|ROOT_KEY/.test(name);
        if (isSecret) expect(value).toMatch(/^\$\{\w+:\?[^}]+\}$/);
        const inUrl = /\/\/\w+:(.*)@/.exec(value)?.[1];
        if (inUrl !== undefined) expect(inUrl).toMatch(/^\$\{\w+:\?[^}]+\}$/);
      }
    },
  );

  it('publishes the gateway and the Temporal Web UI, on loopback unless told otherwise, and nothing else', () => {
    const published = services.filter(([, { ports }]) => ports.length > 0).map(([name]) => name);
    expect(published.toSorted()).toEqual(['gateway', 'temporal-ui']);
    for (const [, { ports }] of services) {
      for (const port of ports) expect(substitute(port, {})).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    }
  });

  it.each(services)('mounts into %s only volumes that are declared and files that are here', (_, { volumes }) => {
    for (const volume of volumes) {
      const [source = ''] = volume.split(':');
      if (source.startsWith('.'))
        expect(readFileSync(join(INFRA, source, 'setup-schema.sh'), 'utf8')).toContain('temporal-sql-tool');
      else expect(compose.volumes).toHaveProperty([source]);
    }
  });

  it('needs exactly the variables that the example names', () => {
    const text = readFileSync(join(INFRA, 'compose.yaml'), 'utf8');
    const required = [...text.matchAll(/\$\{(\w+):\?/g)].map(([, name]) => name);
    expect([...new Set(required)].toSorted()).toEqual(Object.keys(exampleEnvironment()).toSorted());
  });

  it('configures the worker in words that the worker understands', () => {
    const environment = compose.services.worker?.environment ?? {};
    // The example names the key and leaves it to its reader to make one.
    const example = { ...exampleEnvironment(), IMS_ROOT_KEY: 'ab'.repeat(32) };
    const values = Object.fromEntries(
      Object.entries(environment).map(([name, value]) => [name, substitute(value, example)]),
    );
    expect(readConfig(values)).toMatchObject({
      region: 'region-1',
      temporal: { address: 'temporal:7233', namespace: 'default' },
      storeDir: '/var/lib/ims/store',
      cloudDir: '/var/lib/ims/cloud',
      staging: { directory: '/var/lib/ims/staging' },
      buckets: { driver: 's3', endpoint: 'http://s3:8333' },
    });
  });
});

describe('Dockerfile', () => {
  const text = readFileSync(join(INFRA, 'Dockerfile'), 'utf8');
  const pinned = z
    .object({ dependencies: z.object({ node: z.string() }) })
    .loose()
    .parse(JSON.parse(readFileSync(join(INFRA, '..', 'package.json'), 'utf8'))).dependencies.node;

  it('is based on glibc, on the very Node that the packages pin', () => {
    const bases = [...text.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
    expect(new Set(bases)).toEqual(new Set([`node:${pinned}-bookworm-slim`]));
  });

  it('brings what the service calls, and does not run as root', () => {
    for (const name of ['ca-certificates', 'qemu-utils', 'bubblewrap']) expect(text).toContain(name);
    expect([...text.matchAll(/^USER (\S+)/gm)].at(-1)?.[1]).toBe('node');
  });
});
