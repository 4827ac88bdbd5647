// Appends to a staged file without end and says what has become durable, until it is killed: `append-child DATABASE_URL DIRECTORY ID OFFSET`.
import { connect, systemClock } from '@ims/db';
import { createStagedFiles } from '../create-staged-files';

const [databaseUrl = '', directory = '', id = '', offset = '0'] = process.argv.slice(2);
const MIB = 2 ** 20;

/** Byte `n` of the file is a function of `n`, so whoever goes on knows what must be there. */
async function* pattern(from: number): AsyncGenerator<Uint8Array> {
  for (let at = from; ; at += MIB) yield Uint8Array.from({ length: MIB }, (_, index) => ((at + index) * 7 + 3) & 0xff);
}

const staged = createStagedFiles({
  db: connect(databaseUrl, { poolSize: 2 }),
  databaseUrl,
  directory,
  maxProjectBytes: 2 ** 40,
  clock: systemClock,
});
void staged.append(id, Number(offset), pattern(Number(offset)), {
  onDurable: (length) => process.stdout.write(`${length}\n`),
});
