import type { DiskDescriptor, DiskReader } from '@ims/image-format';

export interface BootCheckRequest {
  /** Described, or opened already: then it is closed at the end. */
  disk: DiskDescriptor | DiskReader;
  firmware: 'bios' | 'uefi';
  timeoutMs: number;
  /** What the serial console must print. */
  expect: RegExp;
  signal?: AbortSignal;
}

export interface BootCheckResult {
  /** `not-checked` wherever nothing was booted: never a guess. */
  verdict: 'boots' | 'does-not-boot' | 'not-checked';
  /** The line that matched, the end of what the console printed, or why nothing was booted. */
  evidence: string;
}

/** Whether a disk boots, told by its serial console. The disk is not changed. */
export interface BootCheckPort {
  bootCheck(request: BootCheckRequest): Promise<BootCheckResult>;
}
