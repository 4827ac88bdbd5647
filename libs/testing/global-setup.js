// Once per Jest run, before the first test: compile what has changed, because worker threads, child processes and the workflow bundle
// load compiled files; then listen for tests that ask for servers.
const { execFile } = require('node:child_process');
const { join } = require('node:path');
const { promisify } = require('node:util');

module.exports = async function globalSetup() {
  try {
    await promisify(execFile)(process.execPath, [join(__dirname, '../../infra/build.mjs')]);
  } catch (error) {
    // What does not compile fails in its own tests, with a better message than here.
    process.stderr.write(`\n${error.stderr || error.message}\n`);
  }
  const { TEST_SERVERS_SOCKET } = require('./dist/config');
  const { TestServers } = require('./dist/test-servers');
  globalThis.__imsTestServers = await TestServers.start();
  process.env[TEST_SERVERS_SOCKET] = globalThis.__imsTestServers.socketPath;
};
