import { GatewayConfig } from './config';

const REQUIRED = {
  IMS_DATABASE_URL: 'postgres://u@h/d',
  IMS_STORE_DIR: '/var/lib/ims',
  IMS_CLOUD_DIR: '/var/lib/cloud',
  IMS_STAGING_DIR: '/var/lib/staging',
  IMS_ROOT_KEY: 'ab'.repeat(32),
};

describe(GatewayConfig.name, () => {
  it('has a default for everything but the database, the store and the key', () => {
    expect(new GatewayConfig(REQUIRED)).toMatchObject({
      region: 'region-1',
      host: '127.0.0.1',
      port: 8080,
      publicUrl: 'http://127.0.0.1:8080',
      temporal: { address: '127.0.0.1:7233', namespace: 'default', uiUrl: undefined },
      logLevel: 'info',
    });
  });

  it('takes the public address without a trailing slash, and an empty one as none', () => {
    expect(new GatewayConfig({ ...REQUIRED, IMS_PUBLIC_URL: 'https://ims.example.test/' }).publicUrl).toBe(
      'https://ims.example.test',
    );
    expect(new GatewayConfig({ ...REQUIRED, IMS_PUBLIC_URL: '' }).publicUrl).toBe('http://127.0.0.1:8080');
  });

  it.each([
    ['IMS_DATABASE_URL', undefined],
    ['IMS_STORE_DIR', undefined],
    ['IMS_CLOUD_DIR', undefined],
    ['IMS_STAGING_DIR', undefined],
    ['IMS_ROOT_KEY', 'too short'],
    ['IMS_GATEWAY_PORT', '70000'],
    ['IMS_PUBLIC_URL', 'ftp://files.example.test'],
    ['IMS_REGION', 'Region 1'],
    ['IMS_LOG_LEVEL', 'loud'],
  ])('names %s when it is %j, and repeats no value', (name, value) => {
    const attempt = () => new GatewayConfig({ ...REQUIRED, [name]: value });
    expect(attempt).toThrow(name);
    expect(attempt).toThrow(expect.not.stringContaining(REQUIRED.IMS_ROOT_KEY));
  });
});
