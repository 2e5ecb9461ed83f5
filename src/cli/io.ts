import type { StoppedFacts } from '../api/admin/diagnosis/facts.js'
import type { Config, Settings } from '../config/config.js'
import type { Env, ReadSecretFile } from '../config/secrets.js'
import type { HostPort } from '../config/values.js'
import type { MigrationWorld } from '../migrate/world.js'
import type { Recount } from '../model/buckets/recount.js'
import type { Restored, RestoreSource } from '../node/restore-metadata.js'
import type { AdminClient } from './admin-client.js'
import type { Screen } from './screen.js'
import type { Terminal } from './terminal.js'

/** The node that a command talks to. */
export interface Target {
  /** Its addresses, tried in this order. */
  addresses: readonly HostPort[]
  /** The only node that is accepted; undefined accepts any node that knows the secret. */
  nodeId: string | undefined
  /** rpc_secret, 64 hexadecimal digits. */
  rpcSecret: string
}

export interface ServerOptions {
  singleNode: boolean
  /** Makes a key at the first start. */
  defaultAccessKey: boolean
  /** Makes a bucket and a key at the first start. */
  defaultBucket: boolean
  env: Env
}

/** The part of the world that the command line touches; main.ts makes the real one. */
export interface CliIo {
  env: Env
  nowMs(): number
  /** Writes a text and a line end to stdout. */
  out(text: string): void
  /** Writes a text and a line end to stderr. */
  err(text: string): void
  /** Resolves after that many ms. */
  sleep(ms: number): Promise<void>
  /** The terminal that stderr is; undefined if it is none. */
  terminal: Terminal | undefined
  /** Takes the terminal as a whole screen; undefined if there is none. */
  openScreen(): Screen | undefined
  /** A file's text. Throws an error with `code`, such as ENOENT. */
  readText(path: string): string
  /** All of stdin. @throws CliError if it is too long */
  readStdin(): Promise<string>
  readSecretFile: ReadSecretFile
  /** The node id whose key is in that folder; undefined if there is none, or it must not be read. */
  readNodeId(metadataDir: string): string | undefined
  /** The node id whose key is in that folder; makes the key if there is none. @throws CarportError */
  createNodeId(metadataDir: string): string
  /** Makes the file with a random secret, 64 hexadecimal digits, unless it is there. @throws CarportError */
  createSecret(path: string): void
  /** @throws CarportError, CliError */
  connect(target: Target): Promise<AdminClient>
  /** Runs until the server was stopped. */
  runServer(config: Config, options: ServerOptions): Promise<void>
  /** See repairCounters in node/offline-repair.ts. @throws CarportError */
  repairCounters(config: Config, kind: 'objects' | 'k2v'): Promise<Recount>
  /** See restoreMetadata in node/restore-metadata.ts. @throws CarportError */
  restoreMetadata(settings: Settings, source: RestoreSource): Promise<Restored>
  /** The other store, folders and the journal of a migration. */
  migrationWorld(): Promise<MigrationWorld>
  version(): string
  /** Looks at a node whose server does not answer, and why not, from outside. */
  lookAtStopped(settings: Settings, env: Env, unreachable: string): Promise<StoppedFacts>
}
