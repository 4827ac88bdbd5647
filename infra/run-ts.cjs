// Runs one TypeScript file outside the packages: `node infra/run-ts.cjs test/fuzz/inspect-fuzz.ts 1000`. Packages must be built.
// Node's own type stripping cannot: it reads the file as ES module, and the compiled packages are CommonJS whose names it cannot see.
const { readFileSync } = require('node:fs');
const { resolve } = require('node:path');
const { transformSync } = require('@swc/core');

require.extensions['.ts'] = (module, filename) => {
  const { code } = transformSync(readFileSync(filename, 'utf8'), {
    filename,
    jsc: { target: 'es2023', parser: { syntax: 'typescript', decorators: true } },
    module: { type: 'commonjs' },
    sourceMaps: 'inline',
  });
  module._compile(code, filename);
};

process.argv.splice(1, 2, resolve(process.argv[2]));
require(process.argv[1]);
