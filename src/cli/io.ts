import type { Config } from '../config/config.js'
import type { Env, ReadSecretFile } from '../config/secrets.js'
import type { HostPort } from '../config/values.js'
import type { AdminClient } from './admin-client.js'

/** Where to find the node that a command talks to. */
export interface Target {
  /** Tried in this order. */
  addresses: readonly HostPort[]
  /** Any other node is refused; undefined: whoever knows the secret. */
  nodeId: string | undefined
  /** 64 hexadecimal digits. */
  rpcSecret: string
}

export interface ServerOptions {
  singleNode: boolean
  defaultBucket: boolean
  env: Env
}

/** What the command line touches of the world; the real one is made in main.ts. */
export interface CliIo {
  env: Env
  nowMs(): number
  /** Writes a text and a line end to stdout. */
  out(text: string): void
  /** The same to stderr. */
  err(text: string): void
  /** A file's text. Throws an error with `code`, such as ENOENT. */
  readText(path: string): string
  readSecretFile: ReadSecretFile
  /** The node id whose key is in that folder; undefined if there is none, or it must not be read. */
  readNodeId(metadataDir: string): string | undefined
  /** The same, making the key if there is none. @throws CarportError */
  createNodeId(metadataDir: string): string
  /** Makes the file with a random secret, 64 hexadecimal digits, unless it is there. @throws CarportError */
  createSecret(path: string): void
  /** @throws CarportError, CliError */
  connect(target: Target): Promise<AdminClient>
  /** Runs until the server was stopped. */
  runServer(config: Config, options: ServerOptions): Promise<void>
  version(): string
}
