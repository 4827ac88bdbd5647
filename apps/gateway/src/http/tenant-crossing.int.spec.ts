import { hash, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { sql } from 'kysely';
import { CONTROLLERS } from '../gateway';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { createJob, publishImage } from '../testing/published-image';
import { type Route, RouteTable } from './route-table';

const KINDS = ['image', 'server', 'volume', 'backup', 'checkpoint', 'item', 'vault', 'key', 'job', 'project'] as const;
type Kind = (typeof KINDS)[number];
type Ids = Readonly<Record<Kind, string>>;

/** What an id in a path means. An unknown name fails: a new kind of thing must say whose it is. */
const PATH_IDS: Readonly<Record<string, Kind>> = {
  image_id: 'image',
  job_id: 'job',
  server_id: 'server',
  volume_id: 'volume',
  backup_id: 'backup',
  checkpoint_id: 'checkpoint',
  checkpoint_item_id: 'item',
  vault_id: 'vault',
};
/** Parts of paths that name nothing a tenant has; a project in the path is checked at the door (access.int.spec.ts). */
const NO_TENANTS: Readonly<Record<string, string>> = {
  project_id: '',
  version: 'v2.1',
  sdr_meter: 'image.storage',
  key: 'team',
  tag: 'team',
  // Of an image that the caller sees; who else is a member of it is asked in members.int.spec.ts.
  member_id: 'f'.repeat(32),
};
/** Paths with a name that means different things. */
const PATH_IDS_OF: Readonly<Record<string, Kind | undefined>> = { KeystoneShowProject: 'project' };

const SOURCE = { name: 'crossing', os_version: 'Debian GNU/Linux 10.0.0 64bit' };
const DISK = { availability_zone: 'az1', volume_type: 'SSD', size: 40, count: 1 };
const FILE = { name: 'crossing', image_url: 'images:disk.raw', min_disk: 10 };
const server = (more: object): object => ({ server: { name: 'crossing', flavorRef: 's6.large.2', ...more } });
const OTHER_REGION = 'region-2';
// A sealed data key is checked for its form first.
const DATA_KEY = randomBytes(32);
const PLAIN_DATA_KEY = Buffer.concat([DATA_KEY, hash('sha256', DATA_KEY, 'buffer')]).toString('hex');

/** A complete body for each call that needs one besides what is in its path, so that the id is what the call is refused for. */
const BODY_OF: Readonly<Record<string, object>> = {
  ExportImage: { bucket_url: 'images:out.qcow2', file_format: 'qcow2' },
  ExportImageInSafeMode: { bucket_url: 'images:out.qcow2', file_format: 'qcow2' },
  CopyImageInRegion: { name: 'crossing' },
  CopyImageInRegionInSafeMode: { name: 'crossing' },
  CopyImageCrossRegion: { name: 'crossing', region: OTHER_REGION, project_name: OTHER_REGION, agency_name: 'ims_copy' },
  ChangeMarketListing: { operation: 'publish' },
  RegisterImage: { image_url: 'images:disk.raw' },
  SwitchServer: { 'os-start': {} },
  ChangeServerOs: { 'os-change': { imageid: randomUUID() } },
  ReinstallServerOs: { 'os-reinstall': {} },
  BatchDeleteTags: { tags: [{ key: 'team', value: 'blue' }] },
  AddImageTag: { tag: { key: 'team', value: 'blue' } },
  BatchAddOrDeleteTags: { action: 'create', tags: [{ key: 'team', value: 'blue' }] },
  UpdateImage: [{ op: 'replace', path: '/name', value: 'crossing' }],
  GlanceUpdateImage: [{ op: 'replace', path: '/name', value: 'crossing' }],
  GlanceImportImage: { method: { name: 'glance-direct' } },
  DeprecateImage: {},
  HoldImage: { reason: 'crossing' },
  RevokeImage: { reason: 'crossing' },
  GlanceAddImageMember: { member: 'f'.repeat(32) },
  GlanceUpdateImageMember: { status: 'accepted' },
};

/** Headers without which the call is refused before anybody looks at the id. */
const BYTES = { 'content-type': 'application/octet-stream' };
const HEADERS_OF: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  GlanceUploadImage: BYTES,
  GlanceStageImage: BYTES,
  BeginUpload: { 'upload-length': '4' },
  GlanceUpdateImage: { 'content-type': 'application/openstack-images-v2.1-json-patch' },
  AppendToUpload: { 'content-type': 'application/offset+octet-stream', 'upload-offset': '0' },
};

type InBody = Readonly<Record<string, readonly [Kind, (id: string, own: Ids) => object]>>;
const images: InBody = {
  instance_id: ['server', (id) => ({ ...SOURCE, instance_id: id })],
  volume_id: ['volume', (id) => ({ ...SOURCE, volume_id: id })],
  'data_images.volume_id': ['volume', (id) => ({ data_images: [{ name: 'crossing', volume_id: id }] })],
  cmk_id: ['key', (id) => ({ ...FILE, cmk_id: id })],
};
const dataImages: InBody = { cmk_id: ['key', (id) => ({ ...FILE, min_disk: 40, os_type: 'Linux', cmk_id: id })] };
const copies: InBody = { cmk_id: ['key', (id) => ({ name: 'crossing', cmk_id: id })] };
const servers: InBody = {
  'server.imageRef': ['image', (id) => server({ imageRef: id })],
  'server.data_volumes.data_image_id': [
    'image',
    (id, own) => server({ imageRef: own.image, data_volumes: [{ volumetype: 'SSD', size: 40, data_image_id: id }] }),
  ],
};
const volumes: InBody = {
  'volume.imageRef': ['image', (id) => ({ volume: { ...DISK, imageRef: id } })],
};
const key: InBody = { key_id: ['key', (id) => ({ key_id: id })] };
/** Ids in bodies: where they stand, what they mean, and a body that is complete but for them. */
const IDS_IN_BODY: Readonly<Record<string, InBody>> = {
  CreateImage: images,
  CreateImageInSafeMode: images,
  CreateDataImage: dataImages,
  CreateDataImageInSafeMode: dataImages,
  CopyImageInRegion: copies,
  CopyImageInRegionInSafeMode: copies,
  CreateWholeImage: {
    instance_id: ['server', (id, own) => ({ name: 'crossing', instance_id: id, vault_id: own.vault })],
    vault_id: ['vault', (id, own) => ({ name: 'crossing', instance_id: own.server, vault_id: id })],
    backup_id: ['backup', (id) => ({ name: 'crossing', backup_id: id, whole_image_type: 'CBR' })],
  },
  CopyImageCrossRegion: {
    vault_id: ['vault', (id) => ({ ...BODY_OF['CopyImageCrossRegion'], vault_id: id })],
  },
  CreateServers: servers,
  CreatePostPaidServers: servers,
  CreateBareMetalServers: {
    'server.imageRef': ['image', (id) => server({ imageRef: id, flavorRef: 'physical.s4.medium' })],
    'server.data_volumes.data_image_id': [
      'image',
      (id) =>
        server({
          imageRef: ironImage,
          flavorRef: 'physical.s4.medium',
          data_volumes: [{ volumetype: 'SSD', size: 40, data_image_id: id }],
        }),
    ],
  },
  CreateOrUpdateTags: { image_id: ['image', (id) => ({ image_id: id, tag: 'team.blue' })] },
  BatchUpdateMembers: {
    vault_id: [
      'vault',
      (id, own) => ({ images: [sharedServer], project_id: own.project, status: 'accepted', vault_id: id }),
    ],
  },
  DeprecateImage: { replacement_image_id: ['image', (id) => ({ replacement_image_id: id })] },
  DeleteServers: { 'servers.id': ['server', (id) => ({ servers: [{ id }] })] },
  SwitchServers: {
    'os-start.servers.id': ['server', (id) => ({ 'os-start': { servers: [{ id }] } })],
    'os-stop.servers.id': ['server', (id) => ({ 'os-stop': { servers: [{ id }] } })],
  },
  ChangeServerOs: { 'os-change.imageid': ['image', (id) => ({ 'os-change': { imageid: id } })] },
  CreateVolume: volumes,
  CreateVolumeV21: volumes,
  CreateVault: {
    'vault.resources.id': [
      'server',
      (id) => ({
        vault: {
          name: 'crossing',
          billing: { object_type: 'server', protect_type: 'backup', size: 10 },
          resources: [{ id, type: 'OS::Nova::Server' }],
        },
      }),
    ],
  },
  CreateCheckpoint: {
    'checkpoint.vault_id': [
      'vault',
      (id, own) => ({ checkpoint: { vault_id: id, parameters: { name: 'crossing', resources: [own.server] } } }),
    ],
    'checkpoint.parameters.resource_details.id': [
      'server',
      (id, own) => ({
        checkpoint: {
          vault_id: own.vault,
          parameters: { name: 'crossing', resource_details: [{ id, type: 'OS::Nova::Server' }] },
        },
      }),
    ],
  },
  ListKeyDetail: key,
  EnableKey: key,
  DisableKey: key,
  DeleteKey: { key_id: ['key', (id) => ({ key_id: id, pending_days: '7' })] },
  CancelKeyDeletion: key,
  CreateDatakey: { key_id: ['key', (id) => ({ key_id: id, datakey_length: '256' })] },
  CreateDatakeyWithoutPlaintext: { key_id: ['key', (id) => ({ key_id: id, datakey_length: '256' })] },
  EncryptDatakey: {
    key_id: ['key', (id) => ({ key_id: id, plain_text: PLAIN_DATA_KEY, datakey_plain_length: '32' })],
  },
  DecryptDatakey: {
    key_id: ['key', (id) => ({ key_id: id, cipher_text: 'ab'.repeat(124), datakey_cipher_length: '64' })],
  },
};

/** Members of bodies that end like ids and are none of a tenant's. */
const NO_IDS: Readonly<Record<string, string>> = {
  enterprise_project_id: 'a label without an owner',
  project_id: 'refused unless it is the caller’s own, or the caller the operator of the platform',
  'server.flavorRef': 'a name of the catalogue',
  'volume.backup_id': 'refused whatever it is: disks are made from no backups here',
  'volume.snapshot_id': 'refused whatever it is: snapshots are no sources of disks',
};
/** Calls that take an id of their own accord, tested beside them. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  GlanceUpdateImageMember: 'its vault is looked for as that of BatchUpdateMembers is',
  KeystoneCreateToken: 'who asks has no project yet (tokens.int.spec.ts)',
  GlanceCreateImageMetadata:
    'the caller chooses the id; one that is taken is refused whoever has it (image-files.int.spec.ts)',
};

/** Ids in queries; the rest of the parameters narrow what is one's own by words and numbers. */
const QUERY_IDS: Readonly<Record<string, Kind>> = {
  id: 'image',
  marker: 'image',
  image_id: 'image',
  job_id: 'job',
  owner: 'project',
  resource_id: 'server',
  checkpoint_id: 'checkpoint',
  vault_id: 'vault',
};
const QUERY_IDS_OF: Readonly<Record<string, Readonly<Record<string, Kind>>>> = {
  ListJobs: { marker: 'job' },
  ListTraces: { resource_id: 'image' },
};
const NO_QUERY_IDS = ['flavor_id', 'enterprise_project_id', 'domain_id', 'parent_id', 'trace_id', 'access_key_id'];

interface Tenant {
  token: string;
  ids: Ids;
}

let gateway: GatewayUnderTest;
let own: Tenant;
/** An image of the caller's for bare metal. */
let ironImage = '';
let other: Tenant;
/** An image of a whole server that the other tenant shares with the caller. */
let sharedServer = '';
/** Things of the other tenant that are no more. Where a kind cannot be deleted, another one that lives. */
let deleted: Ids;
/** Ids of the right form that nothing has. */
const guessed: Ids = {
  ...(Object.fromEntries(KINDS.map((kind) => [kind, randomUUID()])) as Record<Kind, string>), // entries lose their keys' type
  job: randomBytes(16).toString('hex'),
  project: randomBytes(16).toString('hex'),
};

// Reads first: a caller reads of their own calls, too, and only a part of those that were refused is written down.
const routes = new RouteTable(CONTROLLERS).routes
  .filter(({ access }) => access.kind !== 'public')
  .toSorted((a, b) => Number(a.method !== 'GET') - Number(b.method !== 'GET'));

beforeAll(async () => {
  const peer = { url: 'http://127.0.0.1:9', secret: randomBytes(32).toString('hex') };
  gateway = await gatewayUnderTest({}, { IMS_PEERS: JSON.stringify({ [OTHER_REGION]: peer }) });
  own = await aTenant(await gateway.tokenOf('acme', 'alice'), gateway.identity.projectId);
  ironImage = (await publishImage(gateway, own.token, randomBytes(4096))).id;
  await gateway.database.db
    .updateTable('image')
    .set({ attributes: sql`attributes || '{"virtual_env_type":"Ironic"}'` })
    .where('id', '=', ironImage)
    .execute();
  const bob = await gateway.anotherAccount();
  other = await aTenant(bob.token, bob.projectId);
  sharedServer = await shareServer(bob.token);
  deleted = (await aTenant(bob.token, bob.projectId)).ids;
  await removeAll(bob.token, bob.projectId);
});
afterAll(() => gateway.close());

/** A tenant with one of everything. */
async function aTenant(token: string, project: string): Promise<Tenant> {
  const { cloud } = gateway;
  const call = async <Answer>(url: string, payload: object): Promise<Answer> =>
    (await gateway.app.inject({ method: 'POST', url, headers: { 'x-auth-token': token }, payload })).json<Answer>();
  const image = await publishImage(gateway, token, randomBytes(4096));
  const { jobId: job } = await createJob(gateway, token);
  const volume = await cloud.volumes.create({
    id: randomUUID(),
    projectId: project,
    sizeGib: 10,
    use: 'data',
    origin: { from: 'blank' },
  });
  const aServer = () =>
    cloud.servers.create({
      id: randomUUID(),
      projectId: project,
      name: 'crossing',
      kind: 'ecs',
      flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
      availabilityZone: 'az1',
      volumes: [{ id: randomUUID(), create: { sizeGib: 1, use: 'system', origin: { from: 'blank' } }, bootIndex: 0 }],
      initialStatus: 'SHUTOFF',
    });
  const machine = await aServer();
  const billing = { object_type: 'server', protect_type: 'backup', size: 10 };
  const { vault } = await call<{ vault: { id: string } }>(`/v3/${project}/vaults`, {
    vault: { name: 'crossing', billing },
  });
  const { backupId: backup, id: checkpoint } = await cloud.backups.createCheckpoint({
    id: randomUUID(),
    projectId: project,
    vaultId: vault.id,
    serverId: machine.id,
    name: 'crossing',
  });
  const item = await cloud.backups.recordCsbsItem({
    id: randomUUID(),
    projectId: project,
    // A server of the retired line cannot be backed up by the other one.
    serverId: (await aServer()).id,
    name: 'crossing',
  });
  const { key_info: made } = await call<{ key_info: { key_id: string } }>(`/v1.0/${project}/kms/create-key`, {
    key_alias: `key-${randomUUID()}`,
  });
  const ids = { image: image.id, server: machine.id, volume: volume.id, vault: vault.id, backup, checkpoint };
  return { token, ids: { ...ids, item: item.id, key: made.key_id, job, project } };
}

/** An image of a whole server, shared with the caller. */
async function shareServer(token: string): Promise<string> {
  const { id } = await publishImage(gateway, token, randomBytes(4096));
  const { statusCode } = await gateway.app.inject({
    method: 'POST',
    url: `/v2/images/${id}/members`,
    headers: { 'x-auth-token': token },
    payload: { member: own.ids.project },
  });
  expect(statusCode).toBe(200);
  await gateway.database.db
    .updateTable('image')
    .set({ attributes: sql`attributes || '{"__whole_image":"true"}'` })
    .where('id', '=', id)
    .execute();
  return id;
}

/** Deletes what of `deleted` can be deleted. */
async function removeAll(token: string, project: string): Promise<void> {
  const { backups, servers: machines, volumes: disks } = gateway.cloud;
  const { statusCode } = await gateway.app.inject({
    method: 'DELETE',
    url: `/v2/images/${deleted.image}`,
    headers: { 'x-auth-token': token },
  });
  expect(statusCode).toBe(204);
  await backups.delete(project, deleted.backup);
  await machines.delete(project, deleted.server);
  await disks.delete(project, deleted.volume);
}

interface Attempt {
  /** Where the id stands. */
  where: string;
  kind: Kind;
  send: (id: string) => { url: string; payload?: object | string };
}

/** The path with the caller's own things in it, and `replaced` in the places of that name. */
function pathOf({ operation, path }: Route, replaced: Readonly<Record<string, string>>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    if (replaced[name] !== undefined) return replaced[name];
    if (name === 'project_id') return own.ids.project;
    const kind = PATH_IDS_OF[operation] ?? PATH_IDS[name];
    return kind === undefined ? (NO_TENANTS[name] ?? 'none') : own.ids[kind];
  });
}

function attemptsOf(route: Route): Attempt[] {
  const { operation, path } = route;
  const body = BODY_OF[operation];
  const payload =
    body === undefined ? (HEADERS_OF[operation]?.['content-type'] ? { payload: 'disk' } : {}) : { payload: body };
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const inPath = names.flatMap((name): Attempt[] => {
    const kind = PATH_IDS_OF[operation] ?? PATH_IDS[name];
    if (kind === undefined) return [];
    return [{ where: `{${name}}`, kind, send: (id) => ({ url: pathOf(route, { [name]: id }), ...payload }) }];
  });
  const inBody = Object.entries(IDS_IN_BODY[operation] ?? {}).map(([where, [kind, bodyOf]]): Attempt => ({
    where,
    kind,
    send: (id) => ({ url: pathOf(route, {}), payload: bodyOf(id, own.ids) }),
  }));
  const inQuery = queryIdsOf(operation).map(([name, kind]): Attempt => ({
    where: `?${name}`,
    kind,
    send: (id) => ({ url: `${pathOf(route, {})}?${name}=${id}` }),
  }));
  return [...inPath, ...inBody, ...inQuery];
}

/** The answer without what differs from call to call: ids and moments. */
async function answerTo(
  route: Route,
  attempt: Attempt,
  id: string,
): Promise<{ status: number; headers: string[]; body: string }> {
  const { url, payload } = attempt.send(id);
  const answer = await gateway.app.inject({
    method: route.method as 'GET', // the table has the names as text
    url,
    headers: { 'x-auth-token': own.token, ...HEADERS_OF[route.operation] },
    ...(payload === undefined ? {} : { payload }),
    payloadAsStream: true,
  });
  const body = await beginningOf(answer.stream(), answer.headers['content-type']);
  const headers = Object.keys(answer.headers)
    .sort()
    .filter((name) => name !== 'content-length');
  return { status: answer.statusCode, headers, body: withoutIds(body) };
}

const withoutIds = (text: string): string =>
  text
    .replaceAll(/[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}/gi, 'ID')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?/g, 'TIME')
    .replaceAll(/\b\d{13}\b/g, 'TIME');

async function beginningOf(body: Readable, type: unknown): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) {
    chunks.push(Buffer.from(chunk as Uint8Array)); // streams of answers are of bytes
    // A stream of events has no end.
    if (String(type).startsWith('text/event-stream')) break;
  }
  return Buffer.concat(chunks).toString();
}

/** A digest of every row that is the other tenant's, by table, and of every event about it. */
async function rowsOfOther(): Promise<unknown> {
  const { db } = gateway.database;
  tables ??= (
    await sql<{ at: string; of: string }>`
      select format('%I.%I', c.table_schema, c.table_name) as at, min(c.column_name) as of
      from information_schema.columns c
      join information_schema.tables t using (table_schema, table_name)
      where t.table_type = 'BASE TABLE' and c.table_schema in ('public', 'cloud')
        and c.column_name in ('project_id', 'image_id', 'stream_id')
      group by 1`.execute(db)
  ).rows;
  const images = [other.ids.image, deleted.image];
  const parts = tables.map(({ at, of }) => {
    const row = sql.raw(`from ${at} t`);
    const isTheirs =
      of === 'project_id'
        ? sql`t.project_id::text = ${other.ids.project}`
        : of === 'image_id'
          ? sql`t.image_id::text in (${sql.join(images)})`
          : sql`t.stream_id in (${sql.join(images.map((id) => `image:${id}`))})`;
    return sql`select ${at}::text as at, md5(string_agg(t::text, ' ' order by t::text)) as rows ${row} where ${isTheirs}`;
  });
  const { rows } = await sql`${sql.join(parts, sql` union all `)}`.execute(db);
  return rows;
}
let tables: { at: string; of: string }[] | undefined;

const document: unknown = JSON.parse(readFileSync(join(__dirname, '../../openapi.json'), 'utf8'));

/** A member of the published document, `undefined` where there is none. */
function at(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>(
    (inside, name) => (typeof inside === 'object' && inside !== null ? Reflect.get(inside, name) : undefined),
    value,
  );
}

const described = new Map(
  Object.values(at(document, 'paths') ?? {}).flatMap((methods: object) =>
    Object.values(methods).map((operation: unknown): [string, unknown] => [
      String(at(operation, 'operationId')),
      operation,
    ]),
  ),
);
const LOOKS_LIKE_ID = /(^|_)(ids?|uuid)$|Ref$|imageid$/;

function queryIdsOf(operation: string): [string, Kind][] {
  const parameters = at(described.get(operation), 'parameters');
  return (Array.isArray(parameters) ? parameters : []).flatMap((parameter: unknown): [string, Kind][] => {
    const name = String(at(parameter, 'name'));
    if (at(parameter, 'in') !== 'query') return [];
    const kind = QUERY_IDS_OF[operation]?.[name] ?? QUERY_IDS[name];
    return kind === undefined ? [] : [[name, kind]];
  });
}

/** Members of the call's body, as the document has them, that look like ids. */
function idsInBodyOf(operation: string): string[] {
  const found = new Set<string>();
  const walk = (schema: unknown, path: string[]): void => {
    const reference = at(schema, '$ref');
    if (typeof reference === 'string') return walk(at(document, ...reference.split('/').slice(1)), path);
    for (const several of ['anyOf', 'oneOf', 'allOf']) {
      const schemas = at(schema, several);
      if (Array.isArray(schemas)) schemas.forEach((each) => walk(each, path));
    }
    walkEach(at(schema, 'properties'), path);
    if (at(schema, 'items') !== undefined) walk(at(schema, 'items'), path);
  };
  const walkEach = (properties: unknown, path: string[]): void => {
    if (typeof properties !== 'object' || properties === null) return;
    for (const [name, schema] of Object.entries(properties)) {
      if (LOOKS_LIKE_ID.test(name)) found.add([...path, name].join('.'));
      walk(schema, [...path, name]);
    }
  };
  const contents = at(described.get(operation), 'requestBody', 'content');
  if (typeof contents === 'object' && contents !== null)
    for (const content of Object.values(contents)) walk(at(content, 'schema'), []);
  return [...found];
}

describe('the matrix is whole: it has', () => {
  it('every id that a path can hold', () => {
    const unknown = routes.flatMap(({ operation, path }) =>
      [...path.matchAll(/\{(\w+)\}/g)]
        .map(([, name = '']) => name)
        .filter((name) => (PATH_IDS_OF[operation] ?? PATH_IDS[name] ?? NO_TENANTS[name]) === undefined)
        .map((name) => `${operation} ${path}: ${name}`),
    );
    expect(unknown).toEqual(['KeystoneShowRegion /v3/regions/{id}: id']);
  });

  it('every id that a body can hold', () => {
    const unknown = routes.flatMap(({ operation }) =>
      ELSEWHERE[operation] !== undefined
        ? []
        : idsInBodyOf(operation)
            .filter((where) => NO_IDS[where] === undefined && IDS_IN_BODY[operation]?.[where] === undefined)
            .map((where) => `${operation}: ${where}`),
    );
    expect(unknown).toEqual([]);
  });

  it('every id that a query can hold', () => {
    const unknown = routes.flatMap(({ operation }) => {
      const parameters = at(described.get(operation), 'parameters');
      return (Array.isArray(parameters) ? parameters : [])
        .filter((parameter) => at(parameter, 'in') === 'query')
        .map((parameter) => String(at(parameter, 'name')))
        .filter((name) => LOOKS_LIKE_ID.test(name) && QUERY_IDS[name] === undefined && !NO_QUERY_IDS.includes(name))
        .map((name) => `${operation}: ${name}`);
    });
    expect(unknown).toEqual([]);
  });
});

/** What a refusal says whose reason is the id, and nothing else about the call. */
const NOT_KNOWN = /there is no|not found|Invalid key id|no active|is no image (of|that)|is none of this list/i;

const matrix = routes.map((route): [string, Route] => [`${route.method} ${route.path}`, route]);

describe.each(matrix.filter(([, route]) => attemptsOf(route).length > 0))('%s', (_name, route) => {
  it('answers alike for what is another tenant’s, deleted and guessed, and touches nothing of theirs (IMG-07, I7)', async () => {
    const before = await rowsOfOther();
    for (const attempt of attemptsOf(route)) {
      const unknown = await answerTo(route, attempt, guessed[attempt.kind]);
      // A call that is turned away for something else would prove nothing.
      if (unknown.status !== 200 && unknown.status !== 404) expect(unknown.body).toMatch(NOT_KNOWN);
      for (const [whose, ids] of [
        ['other', other.ids],
        ['deleted', deleted],
      ] as const)
        expect({ where: attempt.where, whose, ...(await answerTo(route, attempt, ids[attempt.kind])) }).toEqual({
          where: attempt.where,
          whose,
          ...unknown,
        });
    }
    expect(await rowsOfOther()).toEqual(before);
  });
});
