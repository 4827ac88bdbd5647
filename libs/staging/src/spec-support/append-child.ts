// Appends to a staged file without end and says what has become durable, until it is killed: `append-child DATABASE_URL DIRECTORY ID OFFSET`.
import { connect, systemClock } from '@ims/db';
import { createStagedFiles } from '../create-staged-files';

const [databaseUrl = '', directory = '', id = '', offset = '0'] = process.argv.slice(2);
const MIB = 2 ** 20;

/** Byte `n` of the file follows from `n`, so whoever goes on knows what must be there. It repeats itself within a chunk. */
const PATTERN = Buffer.alloc(
  MIB,
  Uint8Array.from({ length: 256 }, (_, n) => (n * 7 + 3) & 0xff),
);

async function* pattern(): AsyncGenerator<Uint8Array> {
  for (;;) yield PATTERN;
}

const staged = createStagedFiles({
  db: connect(databaseUrl, { poolSize: 2 }),
  databaseUrl,
  directory,
  maxProjectBytes: 2 ** 40,
  clock: systemClock,
});
void staged.append(id, Number(offset), pattern(), {
  onDurable: (length) => process.stdout.write(`${length}\n`),
});
