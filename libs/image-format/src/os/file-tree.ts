/** Files of one file system on a disk; paths are relative to its root, with slashes. Every reader bounds what it reads and throws `UnreadableError`. */
export interface FileTree {
  /** Such as `ext4`, for the evidence. */
  readonly name: string;
  /** The first `limitBytes` of a file, links followed; `undefined` when there is no such file. */
  readFile(path: string, limitBytes: number): Promise<Buffer | undefined>;
  /** Whether a file or folder is there, links followed. */
  has(path: string): Promise<boolean>;
  /** Names in a folder, links followed, at most as many as a bounded look finds; empty when there is no such folder. */
  list(path: string): Promise<string[]>;
}
