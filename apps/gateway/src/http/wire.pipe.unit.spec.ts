import { createImageRequest, ImsError } from '@ims/contract';
import { WirePipe } from './wire.pipe';

const body = (text: string) =>
  new WirePipe().transform(Buffer.from(text), { type: 'body', schema: createImageRequest });

describe(WirePipe.name, () => {
  it('drops fields the contract does not know (ims-api 1.1)', async () => {
    await expect(body('{"name":"a","is_config_init":true}')).resolves.toEqual({ name: 'a' });
  });

  it.each([
    ['no body', '', 'IMG.0007'],
    ['a list instead of an object', '[]', 'IMG.0001'],
    ['a name that is no string', '{"name":5}', 'IMG.0013'],
    ['a fraction of a disk', '{"min_disk":1.5}', 'IMG.0055'],
    ['a number beyond every integer', '{"min_disk":1e999}', 'IMG.0055'],
    ['negative memory', '{"min_ram":-1}', 'IMG.0055'],
    ['a tag without a key', '{"image_tags":[{"value":"v"}]}', 'IMG.0115'],
    ['a flag that is text', '{"is_config":"true"}', 'IMG.0001'],
  ])('refuses %s with its code', async (_what, text, code) => {
    const error: unknown = await body(text).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ImsError);
    expect(error).toMatchObject({ code });
  });

  it('passes on parameters without a schema', async () => {
    await expect(new WirePipe().transform('x', { type: 'param' })).resolves.toBe('x');
  });
});
