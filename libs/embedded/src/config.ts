/** What the machine says about itself; the only place of this package that reads the environment. */
export interface EmbeddedConfig {
  /** Path of a Temporal CLI binary that goes before all others (IMS_TEMPORAL_BINARY). */
  temporalBinary: string | undefined;
  /** Directories in which programs are looked for. */
  searchPath: string[];
}

export function embeddedConfig(): EmbeddedConfig {
  return {
    temporalBinary: process.env.IMS_TEMPORAL_BINARY || undefined,
    searchPath: (process.env.PATH ?? '').split(':').filter((directory) => directory !== ''),
  };
}
