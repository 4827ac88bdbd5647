import tseslint from 'typescript-eslint';
import { reasonedAssertion } from './infra/eslint/reasoned-assertion.mjs';

const SPECS = ['**/*.spec.ts', '**/spec-support/**', '**/testing/**', 'libs/testing/**', 'test/**'];

/** Bans by name. Each says why and what to use instead; places where one does not hold are listed below, with the reason. */
const CLOCK = {
  selector:
    "NewExpression[callee.name='Date'][arguments.length=0], CallExpression[callee.object.name='Date'][callee.property.name='now']",
  message:
    'Time that is read in passing cannot be set by a test or a replay. Take a Clock and call clock.now() (@ims/db).',
};
const ENVIRONMENT = {
  selector: "MemberExpression[object.name='process'][property.name='env']",
  message: 'Configuration is parsed once, at start. Read it in config.ts and pass the typed value on.',
};
const TRANSACTION = {
  selector: "CallExpression[callee.property.name='transaction'][arguments.length=0]",
  message: 'A transaction of its own does not retry after a deadlock. Use inTransaction(db, …) of @ims/db.',
};
const PLAIN_ERROR = {
  selector: "NewExpression[callee.name='Error']",
  message: 'The engine would retry it for ever and the job would end without a code. Throw ImsError or failure(…).',
};
const TEST_SLEEP = {
  selector:
    "CallExpression[callee.name='setTimeout'], CallExpression[callee.name='delay'], CallExpression[callee.name='sleep']",
  message:
    'A sleep is too short on a slow machine and too long on every other. Wait for a condition: waitFor(…) of @ims/testing.',
};
const ENUM = {
  selector: 'TSEnumDeclaration',
  message: 'Use a const object and the union of its values: it needs no import at run time and narrows in a switch.',
};
const EXPORT_ALL = {
  selector: 'ExportAllDeclaration',
  message: 'Name what a package exports: what is exported by accident is used by tomorrow.',
};
const NON_NULL = {
  selector: 'TSNonNullExpression',
  message: 'It hides the case that will happen. Test for undefined and say what was missing.',
};
const EVERYWHERE = [CLOCK, ENVIRONMENT, TRANSACTION, ENUM, EXPORT_ALL, NON_NULL];

const ban = (...bans) => ({ 'no-restricted-syntax': ['error', ...bans] });
const allBut = (...lifted) => ban(...EVERYWHERE.filter((rule) => !lifted.includes(rule)));

export default tseslint.config(
  {
    ignores: [
      '**/dist/**',
      '**/dist-bundle/**',
      '**/node_modules/**',
      '.cache/**',
      '.nx/**',
      '.data/**',
      'coverage/**',
      '**/*.d.ts',
    ],
  },
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { ims: { rules: { 'reasoned-assertion': reasonedAssertion } } },
    rules: {
      // Forgetting to await an activity or a query loses its error and its order.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Nest reads the types of constructor parameters at run time, so an import that is only a type to the compiler is a value there.
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/prefer-readonly': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true },
      ],
      // A function of a port is asynchronous whether or not this driver has anything to wait for.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      'ims/reasoned-assertion': 'error',
      // `== null` is the one comparison that means both nothings.
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': ['error'],
      'no-empty': ['error', { allowEmptyCatch: false }],
      // Kysely's expression builder is made to be taken apart, and is typed as if its parts needed it.
      '@typescript-eslint/unbound-method': 'off',
      // The wire and file formats that we parse are full of them.
      'no-control-regex': 'off',
      ...ban(...EVERYWHERE),
    },
  },
  { files: ['activities/src/**/*.ts'], ignores: SPECS, rules: ban(...EVERYWHERE, PLAIN_ERROR) },
  {
    // A command line speaks through the console, and its clock is the user's.
    files: ['apps/cli/src/**/*.ts'],
    rules: { 'no-console': 'off', ...allBut(CLOCK) },
  },
  // The one place that reads the machine's clock; the event log and tests take it from there.
  { files: ['**/clock.ts'], rules: allBut(CLOCK) },
  { files: ['**/config.ts'], rules: allBut(ENVIRONMENT) },
  { files: ['libs/db/src/in-transaction.ts'], rules: allBut(TRANSACTION) },
  // The contract's index is a list of files that are lists themselves; all of it is public by definition.
  { files: ['libs/contract/src/index.ts', 'libs/contract/src/wire/index.ts'], rules: allBut(EXPORT_ALL) },
  {
    files: SPECS,
    rules: {
      ...ban(...EVERYWHERE.filter((rule) => rule !== CLOCK && rule !== ENVIRONMENT), TEST_SLEEP),
      // Jest's matchers are `any`, and a spec's assertion fails in the open.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      'ims/reasoned-assertion': 'off',
    },
  },
  {
    // Build and bootstrap scripts run before anything is compiled, so they are plain modules without types.
    files: ['**/*.mjs', '**/*.cjs', '**/*.js'],
    extends: [tseslint.configs.base],
    rules: { eqeqeq: 'error', 'no-unused-vars': ['error', { argsIgnorePattern: '^_' }], 'prefer-const': 'error' },
  },
);
