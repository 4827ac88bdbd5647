import { HttpException } from '@nestjs/common';
import { ImsError } from '@ims/contract';
import { refusalFor } from './failure.filter';

const withCode = (code: string, message = 'select secret from /var/lib') => Object.assign(new Error(message), { code });

describe(refusalFor.name, () => {
  it('passes on what is documented already', () => {
    const error = new ImsError('IMG.0024', 'x');
    expect(refusalFor(error)).toBe(error);
  });

  it.each([
    ['a lost connection', withCode('ECONNREFUSED'), 'IMG.0061', 503],
    ['a database that starts', withCode('57P03'), 'IMG.0061', 503],
    ['a full pool', new Error('timeout exceeded when trying to connect'), 'IMG.0061', 503],
    ['the same, wrapped', new Error('list images', { cause: withCode('08006') }), 'IMG.0061', 503],
    ['a bug', new TypeError('x is not a function'), 'IMG.0061', 500],
    ['something thrown that is no error', 'oops', 'IMG.0061', 500],
    ['a constraint', withCode('23505'), 'IMG.0061', 500],
    ['text the database cannot store', withCode('22021'), 'IMG.0001', 400],
    ['an unknown route', new HttpException('Cannot GET /x', 404), 'APIGW.0101', 404],
    ['a body that is too large', Object.assign(new Error('big'), { statusCode: 413 }), 'APIGW.0201', 413],
    ['any other refusal of the framework', Object.assign(new Error('odd'), { statusCode: 400 }), 'APIGW.0201', 400],
  ])('%s becomes a documented code', (_what, error, code, status) => {
    expect(refusalFor(error)).toMatchObject({ code, status });
  });

  it('tells nothing of what went wrong inside', () => {
    for (const error of [withCode('XX000'), withCode('ECONNREFUSED')])
      expect(refusalFor(error).message).not.toMatch(/select|var/);
  });
});
