/**
 * Who may import whom. One rule per room, each with the sentence that says why; `npm run boundaries` checks them and
 * test/boundaries proves that each of them refuses.
 */

// Specs and what only specs use may reach further than the code they test.
const FOR_TESTS = '\\.spec\\.ts$|/spec-support/|/testing/|^test/';
const room = (...names) => `^libs/(${names.join('|')})/`;
const npm = (...names) => `node_modules/(${names.join('|')})/`;

/** Code of `path` may import itself and what `allowed` lists, nothing else. */
const mayImport = (name, path, allowed, comment) => ({
  name,
  severity: 'error',
  comment,
  from: { path, pathNot: FOR_TESTS },
  to: { pathNot: [path, ...allowed] },
});

/** Of our own rooms, code of `path` may import those in `allowed`; packages from npm and Node itself are its own business. */
const mayImportRooms = (name, path, allowed, comment) => ({
  name,
  severity: 'error',
  comment,
  from: { path, pathNot: FOR_TESTS },
  to: { path: '^(apps|libs|workflows|activities)/', pathNot: [path, ...allowed] },
});

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    mayImport(
      'contract-is-pure',
      '^libs/contract/',
      [npm('zod')],
      'The contract is shared by all, browsers and the workflow sandbox included, so it may pull in nothing but its schema library.',
    ),
    mayImport(
      'domain-is-pure',
      '^libs/domain/',
      [room('contract')],
      'Rules are pure: they decide on values and are tested with values, so they may import the contract alone.',
    ),
    mayImport(
      'workflows-are-deterministic',
      '^workflows/',
      [room('contract'), '^activities/', npm('@temporalio/workflow', '@temporalio/common')],
      'Replay must be deterministic. The bundler refuses Node built-ins but happily bundles a query builder, so this rule has to say no.',
    ),
    {
      name: 'workflows-know-activities-by-type',
      severity: 'error',
      comment:
        'A workflow calls activities through the engine; importing one as a value would bundle its effects into the sandbox.',
      from: { path: '^workflows/', pathNot: FOR_TESTS },
      to: { path: '^activities/', dependencyTypesNot: ['type-only'] },
    },
    mayImportRooms(
      'activities-use-libraries',
      '^activities/',
      [
        room(
          'contract',
          'domain',
          'event-log',
          'db',
          'image-store',
          'image-format',
          'billing',
          'buckets',
          'keys',
          'neighbours',
          'staging',
          'peer',
        ),
      ],
      'Effects live in activities and nowhere else; they are called by the engine and know neither workflows nor apps.',
    ),
    mayImportRooms(
      'gateway-runs-no-step',
      '^apps/gateway/',
      [
        room(
          'contract',
          'domain',
          'event-log',
          'db',
          'access',
          'image-store',
          'billing',
          'buckets',
          'job-engine',
          'keys',
          'neighbours',
          'staging',
          'peer',
        ),
      ],
      'The gateway accepts and shows; it never runs a step itself, so it imports neither workflows nor activities nor formats.',
    ),
    {
      name: 'gateway-is-a-temporal-client',
      severity: 'error',
      comment:
        'A gateway that imports the worker or activity SDK is about to run a step; it may only start and describe workflows.',
      from: { path: '^apps/gateway/', pathNot: FOR_TESTS },
      to: { path: npm('@temporalio/(?!client|common|proto)[a-z-]+') },
    },
    mayImportRooms(
      'cli-is-a-client',
      '^apps/cli/',
      [room('contract', 'access', 'embedded', 'db', 'event-log', 'testing')],
      'The command line is a client like any other: it signs requests. Beside that it starts the embedded servers, migrates, and checks an exported log; it never touches images itself.',
    ),
    mayImportRooms(
      'billing-is-pure',
      '^libs/billing/',
      [room('contract')],
      'What was used and what it costs follows from events and a rate card; where either is kept is above.',
    ),
    mayImportRooms(
      'db-knows-the-contract',
      '^libs/db/',
      [room('contract')],
      'Tables are below every room that reads them.',
    ),
    mayImportRooms(
      'event-log-knows-db',
      '^libs/event-log/',
      [room('contract', 'db')],
      'The log needs Postgres and the catalogue of events; what is decided and why is not its business.',
    ),
    mayImportRooms(
      'access-knows-db',
      '^libs/access/',
      [room('contract', 'db')],
      'Who may call is decided before anything else is loaded.',
    ),
    mayImportRooms(
      'buckets-know-the-contract',
      '^libs/buckets/',
      [room('contract')],
      'Buckets are read in worker threads, so they load as little as possible and know neither formats nor the database.',
    ),
    mayImportRooms(
      'staging-knows-buckets',
      '^libs/staging/',
      [room('contract', 'db', 'domain', 'event-log', 'buckets')],
      'Staged bytes are read as files of buckets are; which job takes them, and what it makes of them, is above. What the end of an upload means is a rule.',
    ),
    mayImportRooms(
      'image-format-knows-buckets',
      '^libs/image-format/',
      [room('contract', 'buckets', 'domain')],
      "A format reads bytes and yields extents; where segments go is the store's business. It takes the names of operating systems from the domain.",
    ),
    mayImportRooms(
      'image-store-knows-formats',
      '^libs/image-store/',
      [room('contract', 'db', 'buckets', 'image-format')],
      'The store takes disks and keeps segments; jobs, quotas and images are above it.',
    ),
    mayImportRooms(
      'job-engine-knows-events',
      '^libs/job-engine/',
      [room('contract', 'db', 'domain', 'event-log')],
      "Relay and reconciler compare the log with the engine; they start workflows by name and import none. When the service's own jobs are due is a rule of the domain.",
    ),
    mayImportRooms(
      'peers-accept-and-show',
      '^libs/peer/',
      [room('contract', 'db', 'domain', 'event-log', 'image-store', 'job-engine', 'neighbours')],
      'The port between regions accepts jobs and reads the store, whatever server it is behind; who tenants are and what steps do is not its business.',
    ),
    mayImportRooms(
      'keys-know-db',
      '^libs/keys/',
      [room('contract', 'db')],
      'Keys are kept and used for whoever asks; what they are for is above.',
    ),
    mayImportRooms(
      'neighbours-stand-alone',
      '^libs/neighbours/',
      [room('contract', 'db', 'domain', 'event-log', 'buckets', 'image-format', 'image-store', 'embedded')],
      'Embedded neighbours stand in for other services, so they know nothing of jobs, access or the gateway; they start machines as embedded servers are started.',
    ),
    mayImportRooms(
      'embedded-stands-alone',
      '^libs/embedded/',
      [],
      'Starting Postgres and Temporal needs none of our rooms, and must work before any of them does.',
    ),
    {
      name: 'apps-are-not-imported',
      severity: 'error',
      comment:
        'Imports point one way: apps, then workflows and activities, then libraries. What two apps share belongs into a library.',
      from: { path: '^(apps/[^/]+|libs/[^/]+|workflows|activities)/', pathNot: FOR_TESTS },
      to: { path: '^apps/', pathNot: '^$1/' },
    },
    {
      name: 'testing-is-for-tests',
      severity: 'error',
      comment:
        'Builders, laws and embedded test servers are for specs; the product must run without them. Only the demo makes its source disk with the builder of the tests, loaded when it runs.',
      from: {
        path: '^(apps|libs|workflows|activities)/',
        pathNot: [FOR_TESTS, '^apps/cli/src/demo/import-scene\\.ts$'],
      },
      to: { path: room('testing') },
    },
    {
      name: 'no-deep-imports',
      severity: 'error',
      comment: 'A package is what its index re-exports by name; everything behind it may change without asking.',
      from: { path: '^(apps/[^/]+|libs/[^/]+|workflows|activities|test)/' },
      to: {
        path: '^(apps/[^/]+|libs/[^/]+|workflows|activities)/',
        pathNot: ['^$1/', '^(apps/[^/]+|libs/[^/]+|workflows|activities)/src/index\\.ts$'],
      },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      comment:
        'Two files that need each other are one story in two files, or hide a third. Move what both need to where both can import it.',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-test-packages-in-the-product',
      severity: 'error',
      comment:
        'An installation leaves development packages out. Move the package to dependencies, or the import into a spec. Only the last way to a Temporal binary, the downloader of its SDK, lies in one; an installation brings its own engine.',
      from: {
        path: '^(apps/[^/]+|libs/[^/]+|workflows|activities)/src/',
        pathNot: [FOR_TESTS, '^libs/testing/', '^libs/embedded/src/temporal-binary\\.ts$'],
      },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'imports-resolve',
      severity: 'error',
      comment: 'The module does not exist where the import says, or its package is not in package.json.',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Ours only: many packages from npm keep their code in a folder of that name.
    exclude: { path: '^(apps/[^/]+|libs/[^/]+|workflows|activities)/dist/' },
    combinedDependencies: true,
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
    parser: 'tsc',
  },
};
