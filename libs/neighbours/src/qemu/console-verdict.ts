import { waitFor } from '@ims/embedded';
import type { BootCheckResult } from '../boot-check.port';

// What a person wants to see of a console that did not print the expected words.
const EVIDENCE_CHARACTERS = 400;

/** A serial console, as far as it has printed. */
export interface WatchedConsole {
  read(): Promise<string>;
  isRunning(): boolean;
}

/** Watches a console until it has printed what is expected, its machine has ended, or the time is over. Gives all it had printed. */
export async function watchConsole(
  console: WatchedConsole,
  { expect, timeoutMs, signal }: { expect: RegExp; timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<string> {
  let printed = '';
  await waitFor(
    async () => {
      const hasEnded = !console.isRunning();
      printed = await console.read();
      return signal?.aborted === true || matchOf(expect, printed) !== null || hasEnded;
    },
    { deadlineMs: timeoutMs, what: 'the console' },
  ).catch(() => undefined);
  return printed;
}

/** What a console's text says about booting. */
export function verdictOf(expect: RegExp, printed: string): BootCheckResult {
  const found = matchOf(expect, printed);
  if (found !== null) return { verdict: 'boots', evidence: lineAround(printed, found.index) };
  const tail = printed.trim().slice(-EVIDENCE_CHARACTERS);
  return {
    verdict: 'does-not-boot',
    evidence: tail === '' ? 'the serial console printed nothing' : `the serial console ended with: ${tail}`,
  };
}

function matchOf(expect: RegExp, printed: string): RegExpExecArray | null {
  // A global or sticky expression would go on from its last match.
  expect.lastIndex = 0;
  return expect.exec(printed);
}

function lineAround(text: string, index: number): string {
  const start = text.lastIndexOf('\n', index) + 1;
  const end = text.indexOf('\n', index);
  return text
    .slice(start, end < 0 ? undefined : end)
    .trim()
    .slice(0, EVIDENCE_CHARACTERS);
}
