import { permits } from './caller';

describe(permits.name, () => {
  const may = (permissions: string[], action: string) => permits({ permissions }, action);

  it.each([
    [['*'], 'ims:images:create', true],
    [['*:*:*'], 'ims:images:create', true],
    [['ims:*:*'], 'ims:images:create', true],
    [['ims:images:*'], 'ims:images:create', true],
    [['ims:*:list*'], 'ims:images:list', true],
    [['ims:*:list*'], 'ims:images:listtags', true],
    [['ims:images:create'], 'ims:images:create', true],
    [['IMS:Images:Create'], 'ims:images:create', true],
    [['ecs:*:*', 'ims:images:get'], 'ims:images:get', true],
    [[], 'ims:images:create', false],
    [['ims:images:get'], 'ims:images:create', false],
    [['ims:images:get'], 'ims:images:getall', false],
    [['ims:images'], 'ims:images:create', false],
    [['ecs:*:*'], 'ims:images:create', false],
    [['ims:*:list*'], 'ims:images:create', false],
    [['ims:images:*create'], 'ims:images:crea', false],
    [['a*a'], 'a', false],
    [['a*ab*b'], 'ab', false],
    [['i.s:*:*'], 'ims:images:create', false],
  ])('%j permits %s: %s', (permissions, action, expected) => {
    expect(may(permissions, action)).toBe(expected);
  });
});
