/** Where an AZ lies, as plain data: it crosses into worker threads, which open their own. */
export type AzDescriptor = { driver: 'directory'; name: string; path: string };

/** A pack being written. Nothing of it counts before `seal` has resolved. */
export interface PackSink {
  /** Appends bytes; positions follow from the order of calls. */
  append(parts: readonly Uint8Array[]): Promise<void>;
  /** Resolves once all bytes are durable under the pack's final name. */
  seal(): Promise<void>;
  /** Closes without sealing; what was written stays until `removePack`. Accepts that it is closed already. */
  abandon(): Promise<void>;
}

/** A sealed pack, open for reading. */
export interface PackSource {
  readonly sizeBytes: number;
  /** Fills `target` from `position`. Fails with `StoredBytesDamagedError` when the pack is too short. */
  read(position: number, target: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** What lies in an AZ. */
export type AzObject =
  | { kind: 'pack' | 'open-pack'; packId: string; name: string; sizeBytes: number }
  | { kind: 'manifest' | 'open-manifest'; domainId: string; hash: string; name: string; sizeBytes: number }
  | { kind: 'other'; name: string; sizeBytes: number };

/**
 * One availability zone: packs and manifests as immutable objects. Coding over several AZs is built above this port.
 * Every removal accepts that there is nothing to remove.
 */
export interface AzStore {
  readonly descriptor: AzDescriptor;
  /** Makes the AZ ready for its first use under this identity. Fails with `AzIdentityError` when it holds another one. */
  initialize(storeId: string): Promise<void>;
  /** Fails with `AzIdentityError` unless the AZ carries this identity. */
  checkIdentity(storeId: string): Promise<void>;
  createPack(packId: string): Promise<PackSink>;
  /**
   * Gives a pack that a dead process left open its final name, durable as it is; whether it is whole is for the reader to find out.
   * Nothing happens when there is no such open pack.
   */
  finishPack(packId: string): Promise<void>;
  /** `undefined` when there is no sealed pack of this id. */
  openPack(packId: string): Promise<PackSource | undefined>;
  /** Removes the pack, sealed or open. Resolves with the bytes set free. */
  removePack(packId: string): Promise<number>;
  /** Resolves once the object is durable; writing the same object again is allowed. */
  writeManifest(domainId: string, hash: string, bytes: Uint8Array): Promise<void>;
  /** `undefined` when there is no such object. */
  readManifest(domainId: string, hash: string): Promise<Buffer | undefined>;
  removeManifest(domainId: string, hash: string): Promise<number>;
  list(): AsyncIterable<AzObject>;
  /** As `list`, only of what is being written: open packs and manifests, and what is left of them. */
  listOpen(): AsyncIterable<AzObject>;
  /** Removes what `listOpen` named. Resolves with the bytes set free. */
  removeOpen(name: string): Promise<number>;
}
