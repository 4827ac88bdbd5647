import { temporaryDirectory } from '@ims/testing';
import fc from 'fast-check';
import { GRANULE_BYTES, LayerFile } from './layer-file';

// More than two words of the map, and none of its ends at one.
const GRANULES = 77;

describe(LayerFile.name, () => {
  it('tells runs as its granules one by one do, also past its end', async () => {
    const directory = await temporaryDirectory();
    const end = 100 * GRANULE_BYTES;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(GRANULES - 1), fc.nat(70))), fc.nat(end - 1), async (marks, from) => {
        const geometry = { id: 'runs', sizeBytes: GRANULES * GRANULE_BYTES - 100, granuleBytes: GRANULE_BYTES };
        const file = await LayerFile.create(directory, geometry);
        for (const [first, count] of marks) {
          for (let granule = first; granule < Math.min(GRANULES, first + count); granule += 1)
            file.mark(granule * GRANULE_BYTES);
        }
        for (let at = from; at < end;) {
          const run = file.runAt(at, end);
          expect(run.end).toBeGreaterThan(at);
          for (let one = at; one < run.end; one += GRANULE_BYTES) expect(file.holds(one)).toBe(run.isHeld);
          if (run.end < end) expect(file.holds(run.end)).toBe(!run.isHeld);
          at = run.end;
        }
        await file.close();
      }),
      { numRuns: 50 },
    );
  });
});
