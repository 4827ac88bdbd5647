module.exports = async function globalTeardown() {
  await globalThis.__imsTestServers?.stop();
};
