/**
 * Settings of the allocator and of V8 for gateway and worker processes; they can only be given at the start of a process.
 *
 * Buffers of bytes live outside V8's heap and are freed when the young generation is collected: a small one collects often, at no cost in
 * throughput. Each arena of the C allocator keeps what its thread once used, and there are a dozen threads. Together these are worth a quarter
 * of a worker's peak memory (measured: 425 to 370 MiB on a 1 GiB import).
 */
export const PROCESS_MEMORY: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '2',
  NODE_OPTIONS: '--max-semi-space-size=4',
};
