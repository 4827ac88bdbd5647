import { errorFamilyOf, renderError } from './error-family';

describe(errorFamilyOf.name, () => {
  it.each([
    ['/', 'glance'],
    ['/versions', 'glance'],
    ['/v2', 'glance'],
    ['/v2.1/', 'glance'],
    ['/v2/images', 'glance'],
    ['/v2/images/a/file', 'glance'],
    ['/v2/schemas/image', 'glance'],
    ['/v2/info/import', 'glance'],
    ['/v1.1/images/detail', 'glance'],
    ['/v2/imagesx', 'extension'],
    ['/v2/cloudimages', 'extension'],
    ['/v2.1/cloudimages/action', 'extension'],
    ['/v1/0123456789abcdef0123456789abcdef/jobs/x', 'extension'],
    ['/v2/0123456789abcdef0123456789abcdef/images/tags', 'extension'],
    ['/v3', 'identity'],
    ['/v3/auth/tokens', 'identity'],
    ['/v3.0/OS-CREDENTIAL/credentials', 'identity'],
    ['/v3/0123456789abcdef0123456789abcdef/backups/x', 'backup'],
    ['/v3/0123456789abcdef0123456789abcdef/checkpoints', 'backup'],
    ['/v1/0123456789abcdef0123456789abcdef/checkpoint_items/x', 'backup'],
    ['/v3/0123456789abcdef0123456789abcdef/traces', 'audit'],
    ['/v1/0123456789abcdef0123456789abcdef/events/stream', 'audit'],
    ['/v1/0123456789abcdef0123456789abcdef/eventsx', 'extension'],
    ['/v3/auth/backups-of-mine', 'identity'],
    ['/v31/x', 'extension'],
    ['/nope', 'extension'],
  ])('%s belongs to the family %s', (path, family) => {
    expect(errorFamilyOf(path)).toBe(family);
  });
});

describe(renderError.name, () => {
  const error = { status: 400, code: 'IMG.0024', message: 'a <b> & "c"', requestId: 'r1' };

  it('has the envelope of the extension API (ims-api 1.5)', () => {
    expect(JSON.parse(renderError('extension', error).body)).toEqual({
      error: { code: 'IMG.0024', message: 'a <b> & "c"' },
    });
  });

  it('has the flat envelope of the API gateway for its own codes', () => {
    expect(JSON.parse(renderError('extension', { ...error, code: 'APIGW.0301', status: 401 }).body)).toEqual({
      error_code: 'APIGW.0301',
      error_msg: 'a <b> & "c"',
      request_id: 'r1',
    });
  });

  it('is flat on the paths of the audit trail (cts-api 5)', () => {
    expect(JSON.parse(renderError('audit', { ...error, code: 'CTS.0300' }).body)).toEqual({
      error_code: 'CTS.0300',
      error_msg: 'a <b> & "c"',
    });
  });

  it('is HTML on OpenStack paths, which crash on flat JSON, with foreign text escaped', () => {
    const { contentType, body } = renderError('glance', { ...error, status: 404 });
    expect(contentType).toMatch(/^text\/html/);
    expect(body).toContain('<h1>404 Not Found</h1>');
    expect(body).toContain('a &lt;b&gt; &amp; &quot;c&quot;');
  });

  it('has code, message and title on identity paths (iam 8.2)', () => {
    expect(JSON.parse(renderError('identity', { ...error, status: 401 }).body)).toEqual({
      error: { code: 401, message: 'a <b> & "c"', title: 'Unauthorized' },
    });
  });
});
