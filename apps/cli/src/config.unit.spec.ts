import { resolve } from 'node:path';
import { readConfig } from './config';

describe(readConfig.name, () => {
  it('passes the rate card on by its whole path, and none when the variable is blank', () => {
    const { inherited } = readConfig({ IMS_RATE_CARD: 'cards/mine.json' });
    expect(inherited.IMS_RATE_CARD).toBe(resolve('cards/mine.json'));
    expect(readConfig({ IMS_RATE_CARD: '' }).inherited).not.toHaveProperty('IMS_RATE_CARD');
    expect(readConfig({}).inherited).not.toHaveProperty('IMS_RATE_CARD');
  });
});
