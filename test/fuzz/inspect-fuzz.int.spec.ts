import { fuzzInspect, makeSeedImages, SEED_NAMES } from './inspect-fuzz';

describe('inspection of mutated real images (A3)', () => {
  let images: Map<string, Buffer>;
  beforeAll(async () => {
    images = await makeSeedImages();
  });

  it.each(SEED_NAMES)('%s: no crash, hang, over-read or wild allocation', async (name) => {
    const image = images.get(name);
    if (image === undefined) throw new Error(`no image ${name}`);
    const { accepted, refused } = await fuzzInspect({ name, image, cases: 150, seed: 20_261_124 });
    // Both ways out must have been taken, else the mutations miss the headers or the image was never sound.
    expect(accepted).toBeGreaterThan(0);
    expect(Object.values(refused).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
  });
});
