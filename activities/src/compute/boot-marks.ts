/** How long a machine may take: a system on an emulated processor takes minutes for what takes seconds otherwise. */
export const BOOT_TIMEOUT_MS = 4 * 60_000;

// What usual systems print on a serial console once they run: the kernel's first line, an init system's greeting, a login.
const USUAL_MARKS = /Linux version \d|Welcome to .|login:|Booting Linux|SAC>/;

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** What must be seen on a console: the caller's text as it is, never as a pattern; the marks of usual systems when there is none. */
export const expectedOnConsole = (text: string | null): RegExp =>
  text === null ? USUAL_MARKS : new RegExp(escaped(text));
