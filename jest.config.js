// Suffix tells the cost: .unit (nothing), .int (Postgres, bucket server), .laws (Temporal), .replay (stored histories), .e2e (whole system).
const suffixes = (process.env.IMS_TEST_SUFFIXES ?? 'unit,int,laws,replay,e2e').split(',').join('|');

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/apps', '<rootDir>/libs', '<rootDir>/workflows', '<rootDir>/activities', '<rootDir>/test'],
  testRegex: `\\.(${suffixes})\\.spec\\.ts$`,
  modulePathIgnorePatterns: ['/dist/'],
  globalSetup: '<rootDir>/libs/testing/global-setup.js',
  globalTeardown: '<rootDir>/libs/testing/global-teardown.js',
  moduleNameMapper: {
    '^@ims/(workflows|activities)$': '<rootDir>/$1/src',
    '^@ims/(gateway|worker|cli)$': '<rootDir>/apps/$1/src',
    '^@ims/([a-z-]+)$': '<rootDir>/libs/$1/src',
  },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2023',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
        },
        module: { type: 'commonjs' },
      },
    ],
  },
  testTimeout: 120_000,
  maxWorkers: 2,
};
